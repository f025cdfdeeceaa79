/** The clusters of the snapshot in force, each with its state: known ones are updated, those that are gone are forgotten. */
import type { Cluster, Snapshot } from "../../../policy/snapshot.ts";
import { startRotation } from "./breaker.ts";
import type { HostPort } from "../pool/pools.ts";

import { ClusterState, type ClustersOptions } from "./cluster-state.ts";
import { placeOf } from "./places.ts";
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
  return {
    of(cluster) {
      let state = states.get(cluster.key);
      if (state === undefined) {
        state = new ClusterState(options, rotation, cluster);
        states.set(cluster.key, state);
      }
      return state;
    },
    apply(snapshot) {
      const present = new Set<string>();
      const places: HostPort[] = [];
      for (const cluster of snapshot.clusters) {
        present.add(cluster.key);
        // A request that goes on with an older snapshot uses the newest state, never the other way round.
        const state = states.get(cluster.key);
        if (state !== undefined && state.cluster !== cluster)
          state.update(cluster);
        for (const endpoint of cluster.endpoints)
          places.push(placeOf(cluster, endpoint));
      }
      for (const [key, state] of states) {
        if (present.has(key)) continue;
        state.close();
        states.delete(key);
      }
      options.pools.retain(places);
    },
    all: () => states.values(),
    close() {
      for (const state of states.values()) state.close();
      states.clear();
      rotation.close();
    },
  };
}
