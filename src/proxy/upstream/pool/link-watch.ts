/**
 * Finds links that have become silent while requests are out on them: one is asked by a PING, and is dead where nothing at all comes.
 *
 * ```
 *   request goes out → nothing for 4 × its usual silence, 1 to 2 s → PING → nothing for 1 s ─┬─▶ dead
 *                          ▲                                          ▲                       │ its kernel acknowledges
 *                          │                                          └── for 10 s more ── late
 *                          └──────────── anything that comes: from the beginning
 * ```
 * A host whose kernel acknowledges is there, and the process may merely wait for a core. So what is in flight waits as well, and the owner
 * dials: once the process takes another connection, it would have acknowledged the PING, too.
 *
 * A slow application behind a live link is not hit: its sidecar acknowledges the PING. Nothing is written for a request or a read. Ten times
 * a second, as long as requests are out, each link is compared with what it was at the look before. Time is counted in looks, not in
 * milliseconds: where this process stood still, or the whole machine is late, the other end gets as many chances as ever.
 */
import type { Clock } from "../../../core/clock.ts";
import { Deadlines, type Timed } from "../../../core/deadlines.ts";
import type { ClientConnection } from "../../../wire/exchange.ts";
import { UsualSilence } from "./usual-silence.ts";

/** Milliseconds between two looks. */
export const LOOK = 100;
/** Milliseconds without a sign after which a link is asked at the earliest, and at the latest however silent it usually is. */
export const ASKED_AFTER: { readonly least: number; readonly most: number } = {
  least: 1000,
  most: 2000,
};
/** Milliseconds that an acknowledgement may take. */
export const ANSWER_WITHIN = 1000;
/** Milliseconds that it may take besides where the kernel of the other end acknowledges. gRPC, tonic and Kestrel give a PING 20 s. */
export const LATE_WITHIN = 10_000;
/** Milliseconds in which a link with requests out has been judged. */
export const JUDGED_WITHIN: number =
  ASKED_AFTER.most + ANSWER_WITHIN + LATE_WITHIN;

// The same, in looks.
const SHORTEST = ASKED_AFTER.least / LOOK;
const LONGEST = ASKED_AFTER.most / LOOK;
const ANSWER = ANSWER_WITHIN / LOOK;
/** PINGs to one that is late. */
const MOST_LATE = LATE_WITHIN / ANSWER_WITHIN;
/** A link that is silent for so many times what is usual is asked. */
const UNUSUAL = 4;
/** Milliseconds by which the kernel's count may be off: its clock goes in ticks. It acknowledges at once, so that nothing else is left. */
const TICK = 10;
/** Links that are found late or dead in one look at most: all that is in flight on one that is dead fails at once. The others follow in the next looks. */
export const MOST_DEAD = 8;

type Watched = Pick<
  ClientConnection,
  "active" | "heardAt" | "deaf" | "pendingWrite" | "acknowledgedAgo" | "ping"
>;

/** What its owner hears. `evidence`: what was seen, in words. */
export interface LinkOwner {
  /** Once, and is to end the connection. */
  died(evidence: string): void;
  /** Its host is there, its process says nothing: each second until it does, or is dead. `first`: the first time since it last spoke. */
  late(evidence: string, first: boolean): void;
}

/** One link that is watched, until it leaves. */
export class WatchedLink {
  readonly owner: LinkOwner;
  readonly #watch: LinkWatch;
  readonly #connection: Watched;
  readonly #usual: UsualSilence = new UsualSilence(LONGEST / UNUSUAL);
  #heardAt: number;
  /** The write that the socket had not taken at the last look, and whether it had not at the one before. */
  #pendingWrite: number | undefined;
  #stuck = false;
  /** Looks since the last sign, as long as requests are out. */
  #quiet = 0;
  /** Looks that are left for an acknowledgement; 0 where nothing was asked. */
  #left = 0;
  /** Monotonic milliseconds when it was asked last. */
  #askedAt = 0;
  /** How often it was late since it last spoke. */
  #late = 0;
  #dead = false;

  constructor(watch: LinkWatch, connection: Watched, owner: LinkOwner) {
    this.#watch = watch;
    this.#connection = connection;
    this.owner = owner;
    this.#heardAt = connection.heardAt;
  }

  /** Asks by a PING, whether requests are out or not; not twice before the acknowledgement. */
  ask(): void {
    if (this.#left > 0 || this.#dead) return;
    this.#heardAt = this.#connection.heardAt;
    this.#ask();
    this.#watch.wake();
  }

  #ask(): void {
    this.#left = ANSWER;
    this.#askedAt = this.#watch.now();
    this.#connection.ping().catch(ignore);
  }

  /** The process has taken another connection since: it runs, and this one is not late for much longer. */
  outdone(): void {
    if (this.#late > 0) this.#late = MOST_LATE;
  }

  /** `mayDie`: otherwise one that is late or dead is so at the next look. */
  look(mayDie: boolean): "idle" | "alive" | "late" | "dead" {
    const { active, deaf } = this.#connection;
    const taken = this.#hasTaken();
    const heard = this.#hasSpoken() || taken || deaf === true;
    if (heard) {
      this.#usual.add(this.#quiet);
      this.#quiet = 0;
      this.#left = 0;
      this.#late = 0;
    } else if (active > 0) this.#quiet += 1;
    if (this.#left > 0) {
      if (this.#left === 1 && !mayDie) return "alive";
      this.#left -= 1;
      return this.#left > 0 ? "alive" : this.#judge();
    }
    if (active === 0) {
      this.#quiet = 0;
      return "idle";
    }
    if (this.#quiet >= SHORTEST && this.#quiet >= this.#patience) this.ask();
    return "alive";
  }

  #judge(): "late" | "dead" {
    const [connection, askedAt] = [this.#connection, this.#askedAt];
    if (this.#late < MOST_LATE && isThere(connection, this.#watch, askedAt)) {
      this.#late += 1;
      this.#ask();
      return "late";
    }
    this.#dead = true;
    return "dead";
  }

  get firstLate(): boolean {
    return this.#late === 1;
  }

  /** What was seen of one that is late or dead. */
  get evidence(): string {
    const { active } = this.#connection;
    const silent = (this.#quiet * LOOK) / 1000;
    const requests = active === 1 ? "1 request" : `${active} requests`;
    const before =
      this.#quiet === 0
        ? ""
        : `silent for ${silent} s with ${requests} in flight, `;
    const asked = this.#dead ? this.#late + 1 : this.#late;
    return `${before}no acknowledgement of a PING within ${(asked * ANSWER_WITHIN) / 1000} s`;
  }

  #hasSpoken(): boolean {
    const { heardAt } = this.#connection;
    const spoken = heardAt !== this.#heardAt;
    this.#heardAt = heardAt;
    return spoken;
  }

  /**
   * A write that waited from one look to the next has been taken, as with a long upload that fills the way. What the kernel takes at once
   * proves nothing: it takes it for a host that is gone as well.
   */
  #hasTaken(): boolean {
    const { pendingWrite } = this.#connection;
    const same = pendingWrite === this.#pendingWrite;
    const taken = this.#stuck && !same;
    this.#stuck = same && pendingWrite !== undefined;
    this.#pendingWrite = pendingWrite;
    return taken;
  }

  get #patience(): number {
    return Math.min(LONGEST, UNUSUAL * this.#usual.longest);
  }
}

export class LinkWatch implements Timed {
  dueAt = 0;
  dueSlot: number | undefined;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  readonly #turn: (run: () => void) => void;
  readonly #links = new Set<WatchedLink>();
  #awake = false;
  /** What had arrived by the last look has been heard. */
  #heard = true;

  /** `deadlines`: absent, a timer of its own. `turn`: runs it once the event loop has heard what has arrived. */
  constructor(
    clock: Clock,
    deadlines: Deadlines = new Deadlines(clock),
    turn: (run: () => void) => void = setImmediate,
  ) {
    this.#clock = clock;
    this.#deadlines = deadlines;
    this.#turn = turn;
  }

  now(): number {
    return this.#clock.now();
  }

  enter(connection: Watched, owner: LinkOwner): WatchedLink {
    const link = new WatchedLink(this, connection, owner);
    this.#links.add(link);
    return link;
  }

  leave(link: WatchedLink): void {
    this.#links.delete(link);
    if (this.#links.size === 0) this.close();
  }

  /** A request goes out on one of the links: called for each, so it does nothing while there are looks anyway. */
  wake(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#deadlines.set(this, this.#clock.now() + LOOK);
  }

  due(now: number): void {
    if (!this.#heard) {
      this.#deadlines.set(this, now + LOOK);
      return;
    }
    this.#heard = false;
    this.#turn(() => (this.#heard = true));
    const dead: WatchedLink[] = [];
    const late: WatchedLink[] = [];
    let idle = true;
    for (const link of this.#links) {
      const state = link.look(dead.length + late.length < MOST_DEAD);
      if (state === "dead") dead.push(link);
      if (state === "late") late.push(link);
      if (state !== "idle") idle = false;
    }
    this.#awake = !idle;
    if (!idle) this.#deadlines.set(this, now + LOOK);
    for (const link of dead)
      // What was told before may have ended it.
      if (this.#links.delete(link)) link.owner.died(link.evidence);
    for (const link of late)
      if (this.#links.has(link)) link.owner.late(link.evidence, link.firstLate);
  }

  close(): void {
    this.#awake = false;
    this.#deadlines.leave(this);
  }
}

/** The other end's kernel has acknowledged something since it was asked. */
export function isThere(
  connection: Pick<ClientConnection, "acknowledgedAgo">,
  clock: Pick<Clock, "now">,
  askedAt: number,
): boolean {
  const ago = connection.acknowledgedAgo?.();
  return ago !== undefined && ago < clock.now() - askedAt + TICK;
}

function ignore(): void {
  // The connection has ended, which its owner hears by itself.
}
