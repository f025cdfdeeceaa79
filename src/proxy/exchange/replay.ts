/** What was read of a request body and may have to be sent again: at most 64 KiB a request, and bounded for the process. */
import { UNBOUNDED, type Buffers } from "../../wire/buffers.ts";
import { ChunkQueue } from "../../wire/chunk-queue.ts";

/** Bytes of one request's body that are kept (law 2); one more commits the attempt. */
export const REPLAY_LIMIT: number = 64 * 1024;

/** Bytes that all requests of the process may keep together (law 10). */
export const REPLAY_TOTAL: number = 32 * 1024 * 1024;

/** How much all replay buffers hold together, and all of the proxy. */
export interface ReplayBudget {
  readonly limit: number;
  held: number;
  readonly buffers: Buffers;
}

export function makeReplayBudget(
  limit: number = REPLAY_TOTAL,
  buffers: Buffers = UNBOUNDED,
): ReplayBudget {
  return { limit, held: 0, buffers };
}

const NOTHING: readonly Buffer[] = [];

export class Replay {
  readonly #budget: ReplayBudget;
  #kept: ChunkQueue | undefined;
  #bytes = 0;
  /** False once something was let go of: the request cannot be sent again. */
  complete = true;

  constructor(budget: ReplayBudget) {
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get chunks(): readonly Buffer[] {
    return this.#kept?.chunks ?? NOTHING;
  }

  /** Keeps `chunk`; false where the limits do not allow it (then nothing more can be repeated, and `release` is due). */
  keep(chunk: Buffer): boolean {
    if (
      !this.complete ||
      this.#bytes + chunk.length > REPLAY_LIMIT ||
      this.#budget.held + chunk.length > this.#budget.limit ||
      !this.#budget.buffers.roomy
    )
      return false;
    this.hold(chunk);
    return true;
  }

  /** Keeps `chunk` whatever the limits: it has not been sent anywhere yet. The caller has stopped the flow. */
  hold(chunk: Buffer): void {
    const { buffers } = this.#budget;
    (this.#kept ??= new ChunkQueue()).push(chunk, buffers.waste);
    this.#bytes += chunk.length;
    this.#budget.held += chunk.length;
    buffers.change(chunk.length);
  }

  /** Lets go of everything. */
  release(): void {
    this.#budget.held -= this.#bytes;
    this.#budget.buffers.change(-this.#bytes);
    this.#bytes = 0;
    this.#kept = undefined;
    this.complete = false;
  }
}
