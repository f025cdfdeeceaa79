/** The snapshot that is served from, made of all that was compiled; and the way back, from a snapshot to what it was made of. */
import type {
  CalledName,
  Cluster,
  Destination,
  Snapshot,
  SnapshotVersion,
} from "../snapshot.ts";
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
  const snapshot = new CompiledSnapshot(kept, version);
  known.set(snapshot, kept);
  return snapshot;
}

/**
 * A class, since each request reads several of its fields: V8 keeps an object literal that has getters as a dictionary, in which
 * nothing is found without a search. Most snapshots are never asked for their lists, which are made once they are.
 */
class CompiledSnapshot implements Snapshot {
  readonly version: SnapshotVersion;
  readonly self: Snapshot["self"];
  readonly mesh: Snapshot["mesh"];
  readonly inbound: Snapshot["inbound"];
  readonly revoked: Snapshot["revoked"];
  readonly telemetry: Snapshot["telemetry"];
  readonly #kept: CompiledParts;
  readonly #unitOf: (name: string) => Unit | undefined;
  #destinations: Snapshot["destinations"] | undefined;
  #faulty: Snapshot["faulty"] | undefined;
  #clusters: Snapshot["clusters"] | undefined;
  #warnings: Snapshot["warnings"] | undefined;

  constructor(kept: CompiledParts, version: SnapshotVersion) {
    const { frame, units, inbound, revoked, recording } = kept;
    this.version = { ...version };
    this.self = frame.self;
    this.mesh = frame.mesh;
    this.inbound = inbound.policy;
    this.revoked = revoked;
    this.telemetry = recording.telemetry;
    this.#kept = kept;
    this.#unitOf = (name) => units.get(name);
  }

  destination(host: string, port: number | undefined): Destination | undefined {
    return byHost(this.#kept.names, this.#unitOf, host, port);
  }

  destinationByAddress(
    address: string,
    port: number,
    host?: string,
  ): Destination | undefined {
    return byAddress(this.#places(), address, port, host);
  }

  destinationOfCaptured(
    address: string,
    port: number,
    named: CalledName | undefined,
  ): Destination | undefined {
    return byRequest(this.#places(), address, port, named);
  }

  cluster(key: string): Cluster | undefined {
    return clusterOf(this.#kept, key);
  }

  get destinations(): Snapshot["destinations"] {
    return (this.#destinations ??= destinationsOf(this.#kept));
  }

  get faulty(): Snapshot["faulty"] {
    return (this.#faulty ??= faultyOf(this.#kept));
  }

  get clusters(): Snapshot["clusters"] {
    return (this.#clusters ??= clustersOf(this.#kept));
  }

  get warnings(): Snapshot["warnings"] {
    return (this.#warnings ??= warningsOf(this.#kept));
  }

  #places(): Parameters<typeof byAddress>[0] {
    const { names, indexes } = this.#kept;
    return { names, indexes, unitOf: this.#unitOf };
  }
}

/** "orders.shop:80", or "db.shop:5432@shop/db-1:5432" for one endpoint by itself. */
function clusterOf({ ports }: CompiledParts, key: string): Cluster | undefined {
  const at = key.indexOf("@");
  if (at < 0) return ports.get(key)?.cluster;
  const port = ports.get(key.slice(0, at));
  return port && clusterAlone(port, key.slice(at + 1));
}
