/** The calls that sidecars have seen come in within the last hour, by sidecar: bounded, kept in memory, and told anew by each sidecar that connects. */
import type { Clock } from "../../core/clock.ts";
import type { Observed, ObservedCall } from "../../push/messages.ts";
import { MOST_OBSERVED, OBSERVED_FOR } from "../../push/names.ts";
import type { Peer } from "../push/peer.ts";

/** Rows of all sidecars. */
const MOST_ROWS = 100_000;
/** Characters of a text in a row: what is longer is cut, for it is shown to people. */
const LONGEST = 512;

/** The workload that got the calls, as its certificate binds it. */
export interface ObservingWorkload {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Times are wall milliseconds of this control plane. */
export interface SeenCall extends Omit<ObservedCall, "firstAge" | "lastAge"> {
  readonly first: number;
  readonly last: number;
}

export interface SeenAt {
  readonly workload: ObservingWorkload;
  readonly calls: readonly SeenCall[];
  /** Calls that found no room, at the sidecar or here. */
  readonly dropped: number;
}

interface Sidecar {
  readonly workload: ObservingWorkload;
  readonly rows: Map<string, SeenCall>;
  dropped: number;
}

export class ObservedCalls {
  readonly #clock: Pick<Clock, "wall">;
  /** By "NAMESPACE/NAME". */
  readonly #sidecars = new Map<string, Sidecar>();
  #rows = 0;

  constructor(clock: Pick<Clock, "wall">) {
    this.#clock = clock;
  }

  /** Each call replaces what is known of the same one. What a sidecar says is about its own workload alone. */
  report(
    { namespace, name, labels }: Peer,
    { calls, dropped }: Observed,
  ): void {
    const wall = this.#clock.wall();
    const key = `${namespace}/${name}`;
    const sidecar: Sidecar = {
      workload: { namespace, name, labels },
      rows: this.#sidecars.get(key)?.rows ?? new Map<string, SeenCall>(),
      dropped: (this.#sidecars.get(key)?.dropped ?? 0) + dropped,
    };
    this.#sidecars.set(key, sidecar);
    this.#forgetOld(sidecar, wall);
    for (const call of calls.slice(0, MOST_OBSERVED))
      this.#put(sidecar, call, wall);
  }

  /** What those workloads got that are meant. */
  at(isMeant: (workload: ObservingWorkload) => boolean): readonly SeenAt[] {
    this.#forgetAllOld();
    return [...this.#sidecars.values()]
      .filter(({ workload }) => isMeant(workload))
      .map(({ workload, rows, dropped }) => ({
        workload,
        calls: [...rows.values()],
        dropped,
      }));
  }

  #put(sidecar: Sidecar, call: ObservedCall, wall: number): void {
    const { firstAge, lastAge, ...rest } = call;
    const cut = (text: string): string => text.slice(0, LONGEST);
    const seen: SeenCall = {
      ...rest,
      policy: cut(rest.policy),
      effect: cut(rest.effect),
      peer: cut(rest.peer),
      address: cut(rest.address),
      method: cut(rest.method),
      host: cut(rest.host),
      path: cut(rest.path),
      first: wall - firstAge,
      last: wall - lastAge,
    };
    const { policy, effect, peer, address, port, method, path } = seen;
    const key = [policy, effect, peer, address, port, method, path].join(" ");
    if (!sidecar.rows.has(key)) {
      if (this.#rows >= MOST_ROWS) this.#forgetAllOld();
      if (
        this.#rows >= MOST_ROWS ||
        sidecar.rows.size >= MOST_OBSERVED ||
        lastAge >= OBSERVED_FOR
      ) {
        sidecar.dropped += call.count;
        return;
      }
      this.#rows += 1;
    }
    sidecar.rows.set(key, seen);
  }

  #forgetAllOld(): void {
    const wall = this.#clock.wall();
    for (const [key, sidecar] of this.#sidecars) {
      this.#forgetOld(sidecar, wall);
      if (sidecar.rows.size === 0) this.#sidecars.delete(key);
    }
  }

  #forgetOld({ rows }: Sidecar, wall: number): void {
    for (const [key, { last }] of rows)
      if (last <= wall - OBSERVED_FOR) {
        rows.delete(key);
        this.#rows -= 1;
      }
  }
}
