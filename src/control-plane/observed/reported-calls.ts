/** Calls that sidecars have seen within the last hour, by sidecar: bounded, kept in memory, and told anew by each sidecar that connects. */
import type { Clock } from "../../core/clock.ts";
import type { Counted } from "../../push/messages.ts";
import { MOST_OBSERVED, OBSERVED_FOR } from "../../push/names.ts";
import type { Peer } from "../push/peer.ts";

/** Rows of all sidecars. */
const MOST_ROWS = 100_000;
/** Characters of a text in a row: what is longer is cut, for it is shown to people. */
const LONGEST = 512;
/** Milliseconds between two walks over all rows for old ones, while there is no room: what comes in does not pay for one each time. */
const SWEEP = 10_000;

/** Control characters (C0, DEL, C1): rows are shown in terminals. */
const CONTROL = /[\0-\x1f\x7f-\x9f]/;

/** The workload beside the sidecar, as its certificate binds it. */
export interface ObservingWorkload {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What a sidecar says of calls of one sort. */
interface Reported {
  readonly count: number;
  /** Milliseconds since the first and the last of them. */
  readonly firstAge: number;
  readonly lastAge: number;
}

/** Wall milliseconds of this control plane. */
export interface Times {
  readonly count: number;
  readonly first: number;
  readonly last: number;
}

/** What calls of one sort are. */
interface Sort<Call, Seen> {
  /** With each text cut. */
  seenOf(call: Call, times: Times): Seen;
  /** It says what a sidecar can have seen. */
  isSound(seen: Seen): boolean;
  /** What tells two of them apart. */
  keyOf(seen: Seen): string;
}

export interface SeenAt<Seen> {
  readonly workload: ObservingWorkload;
  readonly serviceAccount: string;
  readonly calls: readonly Seen[];
  /** Calls that found no room, at the sidecar or here: at most so many, for one that goes on is counted with each report. */
  readonly dropped: number;
}

interface Sidecar<Seen> {
  readonly key: string;
  readonly workload: ObservingWorkload;
  readonly serviceAccount: string;
  readonly rows: Map<string, Seen>;
  dropped: number;
  /** Wall milliseconds at which a call found no room; an hour later none is known of. */
  droppedAt: number;
}

/** A sum that stays a safe integer: what sidecars count is theirs to say. */
export function added(left: number, right: number): number {
  return Math.min(left + right, Number.MAX_SAFE_INTEGER);
}

export class ReportedCalls<Call extends Reported, Seen extends Times> {
  readonly #clock: Pick<Clock, "wall" | "now">;
  readonly #sort: Sort<Call, Seen>;
  /** By "NAMESPACE/NAME IDENTITY": a name is one instance's of its identity alone. */
  readonly #sidecars = new Map<string, Sidecar<Seen>>();
  #rows = 0;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "wall" | "now">, sort: Sort<Call, Seen>) {
    this.#clock = clock;
    this.#sort = sort;
  }

  /** Each call replaces what is known of the same one. What a sidecar says is about its own workload alone. */
  report(
    { namespace, name, labels, serviceAccount, identity }: Peer,
    { calls, dropped }: Counted<Call>,
  ): void {
    const wall = this.#clock.wall();
    const key = `${namespace}/${name} ${identity}`;
    const known = this.#sidecars.get(key);
    const sidecar: Sidecar<Seen> = {
      key,
      workload: { namespace, name, labels },
      serviceAccount,
      rows: known?.rows ?? new Map<string, Seen>(),
      dropped: known?.dropped ?? 0,
      droppedAt: known?.droppedAt ?? wall,
    };
    this.#sidecars.set(key, sidecar);
    this.#forgetOld(sidecar, wall);
    drop(sidecar, dropped, wall);
    for (const call of calls.slice(0, MOST_OBSERVED))
      this.#put(sidecar, call, wall);
    // One with nothing to tell takes no part of the room from the others.
    if (isEmpty(sidecar)) this.#sidecars.delete(key);
  }

  /** What those workloads have seen that are meant. */
  at(
    isMeant: (workload: ObservingWorkload) => boolean,
  ): readonly SeenAt<Seen>[] {
    this.#forgetAllOld();
    return [...this.#sidecars.values()]
      .filter(({ workload }) => isMeant(workload))
      .map(({ workload, serviceAccount, rows, dropped }) => ({
        ...{ workload, serviceAccount },
        calls: [...rows.values()],
        dropped,
      }));
  }

  #put(sidecar: Sidecar<Seen>, call: Call, wall: number): void {
    const seen = this.#sort.seenOf(call, timesOf(call, wall));
    if (hasControls(seen) || !this.#sort.isSound(seen)) {
      drop(sidecar, call.count, wall);
      return;
    }
    const key = this.#sort.keyOf(seen);
    if (!sidecar.rows.has(key)) {
      if (
        sidecar.rows.size >= MOST_OBSERVED ||
        call.lastAge >= OBSERVED_FOR ||
        !this.#makeRoom(sidecar, wall)
      ) {
        drop(sidecar, call.count, wall);
        return;
      }
      this.#rows += 1;
    }
    sidecar.rows.set(key, seen);
  }

  /** Where all is full, a sidecar may still hold its share, at the cost of the one that holds most. */
  #makeRoom(sidecar: Sidecar<Seen>, wall: number): boolean {
    if (this.#rows < MOST_ROWS) return true;
    if (this.#clock.now() >= this.#sweptAt + SWEEP) {
      this.#forgetAllOld();
      // It was empty, perhaps, and so forgotten.
      this.#sidecars.set(sidecar.key, sidecar);
      if (this.#rows < MOST_ROWS) return true;
    }
    const share = Math.floor(MOST_ROWS / this.#sidecars.size);
    if (sidecar.rows.size >= share) return false;
    // A report looks for one no more often than its share is large: in all at no more sidecars than there may be rows.
    let fullest = sidecar;
    for (const each of this.#sidecars.values())
      if (each.rows.size > fullest.rows.size) fullest = each;
    const [oldest] = fullest.rows;
    if (oldest === undefined || fullest === sidecar) return false;
    const [key, { count }] = oldest;
    fullest.rows.delete(key);
    this.#rows -= 1;
    drop(fullest, count, wall);
    return true;
  }

  #forgetAllOld(): void {
    this.#sweptAt = this.#clock.now();
    const wall = this.#clock.wall();
    for (const [key, sidecar] of this.#sidecars) {
      this.#forgetOld(sidecar, wall);
      if (isEmpty(sidecar)) this.#sidecars.delete(key);
    }
  }

  #forgetOld(sidecar: Sidecar<Seen>, wall: number): void {
    if (sidecar.droppedAt <= wall - OBSERVED_FOR) sidecar.dropped = 0;
    for (const [key, { last }] of sidecar.rows)
      if (last <= wall - OBSERVED_FOR) {
        sidecar.rows.delete(key);
        this.#rows -= 1;
      }
  }
}

function isEmpty<Seen>({ rows, dropped }: Sidecar<Seen>): boolean {
  return rows.size === 0 && dropped === 0;
}

function drop<Seen>(sidecar: Sidecar<Seen>, count: number, wall: number): void {
  if (count <= 0) return;
  sidecar.dropped = added(sidecar.dropped, count);
  sidecar.droppedAt = wall;
}

/** Bounded, whatever its sidecar says. */
function timesOf({ count, firstAge, lastAge }: Reported, wall: number): Times {
  const ago = (age: number): number =>
    wall - Math.min(Math.max(age, 0), OBSERVED_FOR);
  return { count: added(count, 0), first: ago(firstAge), last: ago(lastAge) };
}

/** A text as it is kept. */
export function cut(text: string): string {
  return text.slice(0, LONGEST);
}

function hasControls(seen: object): boolean {
  return Object.values(seen).some(
    (value) => typeof value === "string" && CONTROL.test(value),
  );
}
