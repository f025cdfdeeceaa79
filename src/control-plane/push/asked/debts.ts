/** How much of the control plane's time each instance has taken by what it asks for, and how long it waits until it may take more. */
import type { Clock } from "../../../core/clock.ts";
import { networkOf } from "../../../core/text/network.ts";
import type { MonotonicMs } from "../../../core/units.ts";
import { threadCpu } from "../../../runtime/thread-cpu.ts";
import type { Peer } from "../peer.ts";

type Instance = Pick<Peer, "namespace" | "name" | "identity" | "source">;

/** The part of the time that goes by. */
export const SHARE = 0.05;
/** Milliseconds of work at once: what a sidecar with thousands of Services takes as it comes, and comes again. */
export const AT_ONCE = 1000;
/** Milliseconds: whatever it took. */
export const LONGEST_DEBT = 10_000;
/** Instances that are remembered; the one that took something longest ago makes room. */
const MOST_INSTANCES = 20_000;

export class Debts {
  readonly #clock: Pick<Clock, "now">;
  /** When each has taken no more than its share again. */
  readonly #paid = new Map<string, MonotonicMs>();

  readonly #cpu: () => number;

  /** `cpu`: milliseconds that this thread has worked; on a busy machine, others' work is not the instance's. */
  constructor(clock: Pick<Clock, "now">, cpu: () => number = threadCpu) {
    this.#clock = clock;
    this.#cpu = cpu;
  }

  /** Milliseconds; 0: it may take more now. */
  wait(peer: Instance): number {
    const paid = this.#paid.get(instanceOf(peer)) ?? -Infinity;
    return Math.max(0, paid - AT_ONCE / SHARE - this.#clock.now());
  }

  /** Runs it for the instance, which owes the time that it takes. */
  run(peer: Instance, work: () => void): void {
    const before = this.#cpu();
    try {
      work();
    } finally {
      this.#owe(instanceOf(peer), this.#cpu() - before);
    }
  }

  #owe(instance: string, ms: number): void {
    const now = this.#clock.now();
    const paid = Math.max(this.#paid.get(instance) ?? now, now) + ms / SHARE;
    this.#paid.delete(instance);
    this.#paid.set(
      instance,
      Math.min(paid, now + AT_ONCE / SHARE + LONGEST_DEBT),
    );
    const [oldest] = this.#paid.keys();
    if (this.#paid.size > MOST_INSTANCES && oldest !== undefined)
      this.#paid.delete(oldest);
  }
}

/** A copy of the certificate elsewhere takes nothing from it. */
function instanceOf({ namespace, name, identity, source }: Instance): string {
  return `${namespace}/${name} ${identity} ${networkOf(source)}`;
}
