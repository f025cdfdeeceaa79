/** The snapshot that is served from, made of all that was compiled; and the way back, from a snapshot to what it was made of. */
import type { Cluster, Snapshot, SnapshotVersion } from "../snapshot.ts";
import { byAddress, byRequest } from "./captured.ts";
import { clusterAlone } from "./clusters.ts";
import { byHost } from "./destinations.ts";
import type { CompiledParts } from "./kept.ts";
import {
  clustersOf,
  destinationsOf,
  faultyOf,
  warningsOf,
} from "./listings.ts";
import type { Unit } from "./unit.ts";

const known = new WeakMap<Snapshot, CompiledParts>();

/** Undefined for what was not compiled here. */
export function keptOf(
  snapshot: Snapshot | undefined,
): CompiledParts | undefined {
  return snapshot === undefined ? undefined : known.get(snapshot);
}

export function snapshotOf(
  kept: CompiledParts,
  version: SnapshotVersion,
): Snapshot {
  const { frame, units, names, indexes, inbound, revoked, recording } = kept;
  const unitOf = (name: string): Unit | undefined => units.get(name);
  const clusters = once(() => clustersOf(kept));
  const destinations = once(() => destinationsOf(kept));
  const faulty = once(() => faultyOf(kept));
  const warnings = once(() => warningsOf(kept));
  const snapshot: Snapshot = {
    version: { ...version },
    self: frame.self,
    mesh: frame.mesh,
    destination: (host, port) => byHost(names, unitOf, host, port),
    destinationByAddress: (address, port, host) =>
      byAddress({ names, indexes, unitOf }, address, port, host),
    destinationOfCaptured: (address, port, named) =>
      byRequest({ names, indexes, unitOf }, address, port, named),
    cluster: (key) => clusterOf(kept, key),
    inbound: inbound.policy,
    revoked,
    telemetry: recording.telemetry,
    get destinations() {
      return destinations();
    },
    get faulty() {
      return faulty();
    },
    get clusters() {
      return clusters();
    },
    get warnings() {
      return warnings();
    },
  };
  known.set(snapshot, kept);
  return snapshot;
}

/** "orders.shop:80", or "db.shop:5432@shop/db-1:5432" for one endpoint by itself. */
function clusterOf({ ports }: CompiledParts, key: string): Cluster | undefined {
  const at = key.indexOf("@");
  if (at < 0) return ports.get(key)?.cluster;
  const port = ports.get(key.slice(0, at));
  return port && clusterAlone(port, key.slice(at + 1));
}

/** Most snapshots are never asked for their lists. */
function once<T>(make: () => readonly T[]): () => readonly T[] {
  let made: readonly T[] | undefined;
  return () => (made ??= make());
}
