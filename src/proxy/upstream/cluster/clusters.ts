/** The clusters of the snapshot in force, each with its state: known ones are updated, those that are gone are forgotten. */
import { MOST_HOSTS } from "../../../policy/compile/outside/below-wildcards.ts";
import type { Cluster, Snapshot } from "../../../policy/snapshot.ts";
import { Deadlines } from "../../../core/deadlines.ts";
import { startRotation } from "./breaker.ts";
import type { HostPort } from "../pool/pools.ts";

import { ClusterState, type ClustersOptions } from "./cluster-state.ts";
import { placeOf } from "./places.ts";
import { StallTicks } from "./stall-ticks.ts";

const MADE_ROOM_FOR = 64;

/** The states of all clusters. */
export interface Clusters {
  of(cluster: Cluster): ClusterState;
  /** Goes over to a snapshot: known clusters are updated, those that are gone are forgotten, and so are their pools. */
  apply(snapshot: Snapshot): void;
  all(): Iterable<ClusterState>;
  close(): void;
}

export function makeClusters(options: ClustersOptions): Clusters {
  const states = new Map<string, ClusterState>();
  const rotation = startRotation(options.clock);
  // A list of its own: its tick must not look through the time-outs of all requests.
  const ticks = new StallTicks(new Deadlines(options.clock));
  const below = new LatelyUsed((state) => {
    state.close();
    states.delete(state.key);
  });
  return {
    of(cluster) {
      let state = states.get(cluster.key);
      if (state === undefined) {
        state = new ClusterState(options, { rotation, ticks }, cluster);
        states.set(cluster.key, state);
      }
      if (cluster.belowWildcard === true) below.use(state);
      return state;
    },
    apply(snapshot) {
      let changed = false;
      for (const [key, state] of states) {
        const cluster = snapshot.cluster(key);
        if (cluster === state.cluster) continue;
        changed = true;
        if (cluster === undefined) {
          state.close();
          states.delete(key);
          below.delete(state);
        } else {
          // A request that goes on with an older snapshot uses the newest state, never the other way round.
          state.update(cluster);
        }
      }
      // Only clusters that were called have pools, so nobody else's endpoints are looked at.
      if (changed) options.pools.retain(placesOf(states.values()));
    },
    all: () => states.values(),
    close() {
      for (const state of states.values()) state.close();
      states.clear();
      rotation.close();
      ticks.close();
    },
  };
}

function* placesOf(states: Iterable<ClusterState>): Generator<HostPort> {
  for (const { cluster } of states)
    for (const endpoint of cluster.endpoints) yield placeOf(cluster, endpoint);
}

/** The states of hosts below wildcards, in each worker, of which callers may name any number: those without a call that were used the longest ago make room. */
class LatelyUsed {
  readonly #states = new Set<ClusterState>();
  readonly #forget: (state: ClusterState) => void;

  constructor(forget: (state: ClusterState) => void) {
    this.#forget = forget;
  }

  use(state: ClusterState): void {
    this.#states.delete(state);
    this.#states.add(state);
    if (this.#states.size > MOST_HOSTS) this.#makeRoom(state);
  }

  delete(state: ClusterState): void {
    this.#states.delete(state);
  }

  /** Some at once, so that not every call looks for one. What is in flight is bounded by itself. */
  #makeRoom(used: ClusterState): void {
    let left = MADE_ROOM_FOR;
    for (const state of this.#states) {
      if (left === 0) return;
      if (state === used || state.poolLimits.active > 0) continue;
      this.#states.delete(state);
      this.#forget(state);
      left -= 1;
    }
  }
}
