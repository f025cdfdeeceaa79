/**
 * What becomes of a workload whose lease has run out: callers prefer others from then on, are heard, and it goes or is confirmed again.
 *
 * ```
 *   lease ─ttl without a sign─▶ unconfirmed ─5 s, and spared by nothing─▶ marked ─callers cannot reach it, or 10 min─▶ removed
 *     ▲                                                                     │
 *     └──────────────────────── a stream, a registration ───────────────────┘
 * ```
 */
import {
  parseTimestamp,
  timestamp,
  type Cancel,
  type Clock,
} from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import { inSlices, pauses, pieces, type Steps } from "../../core/slices.ts";
import type { WallMs } from "../../core/units.ts";
import type { ReportRequest } from "../../push/messages.ts";
import { MOST_REPORTED } from "../../push/names.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { KeyedQueue } from "../keyed-queue.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import type { Store } from "../store/store.ts";
import type { LeaseState, Unconfirmed } from "./lease.ts";
import { writeMark } from "./marks.ts";
import { Preservation, type Serving, type Verdict } from "./preservation.ts";
import { removeRegistered } from "./registered-workload.ts";
import { Reports } from "./reports.ts";

/** Milliseconds after which an unconfirmed workload goes though callers reach it, or say nothing of it. */
export const LONGEST_UNCONFIRMED = 600_000;

/** Milliseconds until what could not be written is tried again. */
const RETRY = 5000;

/** What the registry must know of the mesh. */
export interface MeshAround {
  serving(): Serving;
  /** Resolves once `serving` says all that the store holds at the call, or cannot. */
  caughtUp(): Promise<unknown>;
  /** How many connected sidecars have the workload among their endpoints. */
  callersOf(workload: string): number;
}

export const ALONE: MeshAround = {
  serving: () => ({ servicesOf: () => [], endpointsOf: () => [] }),
  caughtUp: () => Promise.resolve(),
  callersOf: () => 0,
};

export interface ExpiryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds after the start in which nothing goes; GRACE where absent. */
  readonly grace?: number;
  /** By "NAMESPACE/NAME". */
  readonly leases: ReadonlyMap<string, LeaseState>;
  /** Orders the work on each workload. */
  readonly queue: KeyedQueue;
  /** The workload was removed; `left`: what is in its place. */
  readonly onGone: (workload: string, left: Resource | undefined) => void;
}

export class Expiry {
  mesh: MeshAround = ALONE;
  readonly #options: ExpiryOptions;
  readonly #preservation: Preservation;
  readonly #reports: Reports;
  /** Those whose marks could not be written. */
  readonly #untold = new Set<string>();
  #cancelRetry: Cancel | undefined;
  #closed = false;

  constructor(options: ExpiryOptions) {
    const { clock, grace, leases } = options;
    this.#options = options;
    this.#reports = new Reports(clock);
    this.#preservation = new Preservation({
      clock,
      grace,
      leases: () => leases.size,
      serving: () => this.mesh.serving(),
      whyWaits: (workload) => this.#whyWaits(workload),
      onJudged: (workload, verdict) => this.#judged(workload, verdict),
    });
  }

  /** There is a sign of its sidecar: the lease begins anew, and runs out unless a stream holds it. */
  run(workload: string, lease: LeaseState, held: boolean): void {
    const { clock, logger } = this.#options;
    lease.cancelExpiry();
    lease.cancelExpiry = () => undefined;
    lease.keptFor = undefined;
    lease.ranOutAt = undefined;
    this.forget(workload);
    this.#tell(workload, lease, undefined);
    if (held || this.#closed) return;
    const left = Math.max(lease.ttl, this.#preservation.until - clock.now());
    lease.cancelExpiry = clock.after(left, () => {
      logger.warn(
        { workload },
        "the lease has run out without a sign of its sidecar",
      );
      this.#ranOut(workload, lease);
    });
  }

  /**
   * It was marked before this control plane started: `since` in wall milliseconds. Its 10 minutes begin anew: how much of them passed only
   * the clock of then and the clock of now could say, and either may have been wrong (law 17).
   */
  goOn(workload: string, lease: LeaseState, since: WallMs): void {
    lease.mark = timestamp(since);
    lease.stored = lease.mark;
    this.#ranOut(workload, lease);
  }

  /** What a caller has seen, of those that it has; of a confirmed one, and of itself, nothing is kept. */
  report(
    peer: Peer,
    { reached, unreached }: ReportRequest,
    has: (workload: string) => boolean,
  ): void {
    const self = workloadOf(peer);
    const add = (workload: string, isReached: boolean): void => {
      if (workload !== self && this.isUnconfirmed(workload) && has(workload))
        this.#reports.add(workload, `${self} ${peer.identity}`, isReached);
    };
    for (const each of unreached.slice(0, MOST_REPORTED)) add(each, false);
    for (const each of reached.slice(0, MOST_REPORTED)) add(each, true);
  }

  isUnconfirmed(workload: string): boolean {
    return this.#preservation.isUnconfirmed(workload);
  }

  /** Undefined where it is confirmed. */
  unconfirmed(workload: string, lease: LeaseState): Unconfirmed | undefined {
    const { clock } = this.#options;
    if (!this.isUnconfirmed(workload)) return undefined;
    const { ranOutAt = clock.now(), mark } = lease;
    const since = clock.wall() - (clock.now() - ranOutAt);
    return {
      since: mark === undefined ? Math.round(since) : parseTimestamp(mark),
      why: lease.keptFor ?? "it is judged within seconds",
      ...this.#reports.count(workload),
    };
  }

  get counts(): { readonly unconfirmed: number; readonly preserved: boolean } {
    const { unconfirmed, until } = this.#preservation;
    return { unconfirmed, preserved: this.#options.clock.now() < until };
  }

  /** Where they are many, others have their turn in between. */
  all(): Promise<readonly (readonly [string, Unconfirmed])[]> {
    return inSlices(this.#allSteps(), pauses(this.#options.clock));
  }

  *#allSteps(): Steps<readonly (readonly [string, Unconfirmed])[]> {
    const { leases } = this.#options;
    const all: (readonly [string, Unconfirmed])[] = [];
    for (const piece of pieces(this.#preservation.all())) {
      yield;
      for (const workload of piece) {
        const lease = leases.get(workload);
        const unconfirmed = lease && this.unconfirmed(workload, lease);
        if (unconfirmed !== undefined) all.push([workload, unconfirmed]);
      }
    }
    return all;
  }

  /** It is gone. */
  forget(workload: string): void {
    this.#preservation.forget(workload);
    this.#reports.forget(workload);
  }

  close(): void {
    this.#closed = true;
    this.#preservation.close();
    this.#cancelRetry?.();
  }

  #ranOut(workload: string, lease: LeaseState): void {
    lease.ranOutAt = this.#options.clock.now();
    this.#preservation.ranOut(workload);
  }

  #whyWaits(workload: string): string | undefined {
    const { clock, leases } = this.#options;
    const { ranOutAt = clock.now(), mark } = leases.get(workload) ?? {};
    if (clock.now() - ranOutAt >= LONGEST_UNCONFIRMED) return undefined;
    const { reached } = this.#reports.count(workload);
    if (reached > 0) return "callers reach it";
    // Before they were told they could not say, and one that reaches it may be slower to say so.
    return mark !== undefined &&
      this.#reports.agree(workload, this.mesh.callersOf(workload))
      ? undefined
      : "too few callers have said that they cannot reach it";
  }

  #judged(workload: string, verdict: Verdict): void {
    const { clock, logger, leases, queue } = this.#options;
    const lease = leases.get(workload);
    if (lease === undefined || this.#closed) return;
    if (verdict.kind === "goes") {
      queue
        .run(workload, () => this.#expire(workload, lease))
        .catch(defectIn(logger, "the removal of an expired workload"));
      return;
    }
    const { why } = verdict;
    if (why !== lease.keptFor)
      logger.warn({ workload, why }, "the workload is kept");
    lease.keptFor = why;
    if (verdict.kind === "preserved") return;
    const lasted = clock.now() - (lease.ranOutAt ?? clock.now());
    this.#tell(workload, lease, lease.mark ?? timestamp(clock.wall() - lasted));
  }

  /** Brings the mark that callers see to what it should be. */
  #tell(workload: string, lease: LeaseState, mark: string | undefined): void {
    const { store, logger, queue } = this.#options;
    this.#untold.delete(workload);
    lease.mark = mark;
    if (mark === lease.stored || this.#closed) return;
    queue
      .run(workload, () => writeMark(store, lease))
      .catch((thrown: unknown) => {
        logger.warn(
          { workload, reason: messageOf(thrown) },
          "callers cannot be told whether the workload is confirmed; trying again",
        );
        this.#tellLater(workload);
      });
  }

  #tellLater(workload: string): void {
    const { clock, leases } = this.#options;
    this.#untold.add(workload);
    if (this.#closed) return;
    this.#cancelRetry ??= clock.after(RETRY, () => {
      this.#cancelRetry = undefined;
      const untold = [...this.#untold];
      this.#untold.clear();
      for (const each of untold) {
        const lease = leases.get(each);
        if (lease !== undefined) this.#tell(each, lease, lease.mark);
      }
    });
  }

  /** Removes a workload whose lease has run out; where that fails, it is judged again. */
  async #expire(workload: string, lease: LeaseState): Promise<void> {
    const { store, logger, onGone } = this.#options;
    // What could serve in its place may have left meanwhile.
    await this.mesh.caughtUp();
    if (
      this.#options.leases.get(workload) !== lease ||
      !this.isUnconfirmed(workload) ||
      this.#preservation.isLast(workload) ||
      this.#closed
    )
      return;
    try {
      onGone(workload, await removeRegistered(store, lease));
      logger.warn({ workload }, "the workload is removed");
    } catch (thrown) {
      logger.error(
        { workload, reason: messageOf(thrown) },
        "an expired workload cannot be removed; trying again",
      );
    }
  }
}
