/** Open streams by instance and by key: an instance may have one that goes and one that comes. */
import type { SpiffeUri } from "../../core/units.ts";
import { workloadOf, type Peer } from "../push/peer.ts";

export class OpenStreams {
  readonly #byInstance = new Map<string, Map<string, number>>();

  open(peer: Peer): void {
    const instance = instanceOf(workloadOf(peer), peer.identity);
    const counts = this.#byInstance.get(instance) ?? new Map<string, number>();
    this.#byInstance.set(instance, counts);
    counts.set(peer.key, (counts.get(peer.key) ?? 0) + 1);
  }

  close(peer: Peer): void {
    const instance = instanceOf(workloadOf(peer), peer.identity);
    const counts = this.#byInstance.get(instance);
    if (counts === undefined) return;
    const left = (counts.get(peer.key) ?? 1) - 1;
    if (left > 0) counts.set(peer.key, left);
    else counts.delete(peer.key);
    if (counts.size === 0) this.#byInstance.delete(instance);
  }

  /** A stream of another identity that bears the same name holds nothing. */
  isHeld(workload: string, identity: SpiffeUri): boolean {
    return this.#byInstance.has(instanceOf(workload, identity));
  }

  /** Keys of the instance's open streams. */
  keysOf(workload: string, identity: SpiffeUri): readonly string[] {
    return [
      ...(this.#byInstance.get(instanceOf(workload, identity))?.keys() ?? []),
    ];
  }
}

function instanceOf(workload: string, identity: SpiffeUri): string {
  return `${workload} ${identity}`;
}
