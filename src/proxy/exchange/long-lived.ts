/**
 * The exchanges without an end of their own that callers outside the mesh hold: tunnels, WebSockets, event streams, gRPC calls without
 * a deadline. They cost nothing to hold, so they have a share of all exchanges, and an address has a part of it: the rest is for requests.
 */
import { MeshError } from "../../mesh/errors.ts";

/** Parts of the exchanges that may be in flight. */
export const LONG_LIVED = { inAll: 0.5, perAddress: 0.25 } as const;

export class LongLived {
  readonly #most: number;
  readonly #mostFromOne: number;
  readonly #open = new Map<string, number>();
  #total = 0;

  /** `requests`: exchanges in flight at most, of all kinds. */
  constructor(requests: number) {
    this.#most = Math.ceil(requests * LONG_LIVED.inAll);
    this.#mostFromOne = Math.ceil(requests * LONG_LIVED.perAddress);
  }

  /** Counts one more of `source` until it leaves, or says why it may not be. */
  enter(source: string): MeshError | undefined {
    const own = this.#open.get(source) ?? 0;
    if (this.#total >= this.#most) return excess(this.#total, "");
    if (own >= this.#mostFromOne) return excess(own, ` of ${source}`);
    this.#total += 1;
    this.#open.set(source, own + 1);
    return undefined;
  }

  leave(source: string): void {
    const own = (this.#open.get(source) ?? 0) - 1;
    this.#total -= 1;
    if (own > 0) this.#open.set(source, own);
    else this.#open.delete(source);
  }
}

function excess(open: number, whose: string): MeshError {
  return new MeshError(
    "OVERLOADED",
    `${open} WebSockets, tunnels and streams${whose} are open from outside the mesh, and no more are taken`,
    { source: "proxy" },
  );
}
