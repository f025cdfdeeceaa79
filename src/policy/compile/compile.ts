/** Makes the snapshot of the resources that one proxy has, out of the one before: what did not change is shared with it. */
import { isDeepStrictEqual } from "node:util";
import type { GroupsEdit } from "../../core/persistent/groups.ts";
import type { MapEdit } from "../../core/persistent/map.ts";
import { atOnce, type Steps } from "../../core/slices.ts";
import type { Revoked } from "../../identity/revoked.ts";
import { formatKey, type Resource } from "../../resources/envelope.ts";
import {
  MESH,
  MESH_NAME,
  trustDomainsOf,
} from "../../resources/mesh/schema.ts";
import { isExportedTo, SERVICE } from "../../resources/service/schema.ts";
import { WORKLOAD } from "../../resources/workload/schema.ts";
import type {
  Cluster,
  SelfDescription,
  Snapshot,
  SnapshotVersion,
} from "../snapshot.ts";
import { compilePorts, type ServedPort, type ServedPorts } from "./clusters.ts";
import { NamesEdit } from "./destinations.ts";
import { frameOf, type Frame } from "./frame.ts";
import { isHeld, namespaceOf, type Held } from "./held/held.ts";
import { ALL, IndexEdit, isRevocation } from "./held/indexes.ts";
import {
  StockTaking,
  type Change,
  type Difference,
  type Stock,
  type StockOptions,
  type Taken,
} from "./held/stock.ts";
import { compileInbound, type Inbound, type InboundInput } from "./inbound.ts";
import { NOTHING, type CompiledParts, type Parts } from "./kept.ts";
import { revokedOf } from "./revoked.ts";
import type { ServedRoutes } from "./routes.ts";
import { keptOf, snapshotOf } from "./snapshots.ts";
import { compileRecording, type Recording } from "./own/telemetry.ts";
import { compileUnit, type Unit } from "./unit.ts";

/** Why a set of resources was refused as a whole; the proxy keeps the snapshot that it has. */
export class CompileError extends Error {
  override readonly name = "CompileError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `the configuration cannot be used: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? `; and ${problems.length - 5} more` : ""}`,
    );
    this.problems = problems;
  }
}

export interface CompileOptions extends StockOptions {
  /** The snapshot in force: what did not change is taken over from it. It is not touched. */
  readonly previous?: Snapshot | undefined;
}

export interface Compiled {
  readonly snapshot: Snapshot;
  /** What its resources have that those of the previous one had not, and the other way round. */
  readonly difference: Difference;
}

/**
 * Compiles all that one proxy knows into what it serves from. Throws `CompileError` where any of it cannot be used: a part
 * of a policy does not protect, so a set is taken whole or not at all. Nothing that the caller may still change is kept.
 */
export function compileSnapshot(
  resources: readonly Resource[],
  self: SelfDescription,
  version: SnapshotVersion,
  options: CompileOptions = {},
): Snapshot {
  return atOnce(compileSteps(resources, self, version, options)).snapshot;
}

/** The same by steps. A resource that is the same object as in the set that `previous` was compiled from is the same resource. */
export function* compileSteps(
  resources: Iterable<Resource>,
  self: SelfDescription,
  version: SnapshotVersion,
  options: CompileOptions = {},
): Steps<Compiled> {
  const compilation = new Compilation(options);
  const taken = yield* compilation.stock.all(resources);
  return yield* compilation.run(taken, self, version);
}

/** The same of what makes the resources of those that `previous` was compiled from. */
export function* compileDifference(
  difference: Difference,
  self: SelfDescription,
  version: SnapshotVersion,
  options: CompileOptions = {},
): Steps<Compiled> {
  const compilation = new Compilation(options);
  const taken = yield* compilation.stock.difference(difference);
  return yield* compilation.run(taken, self, version);
}

/** One compile: what was kept is edited as a copy, which becomes what is kept where all of it succeeds. */
class Compilation {
  readonly stock: StockTaking;
  readonly #problems: string[] = [];
  readonly #kept: CompiledParts | undefined;
  readonly #before: Parts;
  readonly #index: IndexEdit;
  readonly #units: MapEdit<Unit>;
  readonly #ports: MapEdit<ServedPort>;
  readonly #referrers: GroupsEdit<string>;
  readonly #names: NamesEdit;
  /** Keys of the clusters that are new, gone, or other objects than before. */
  readonly #moved = new Set<string>();

  constructor({ previous, ...options }: CompileOptions) {
    this.#kept = keptOf(previous);
    this.#before = this.#kept ?? NOTHING;
    const { stock, indexes, units, ports, referrers, names } = this.#before;
    this.stock = new StockTaking(stock, options, this.#problems);
    this.#index = new IndexEdit(indexes);
    this.#units = units.edit();
    this.#ports = ports.edit();
    this.#referrers = referrers.edit();
    this.#names = new NamesEdit(names);
  }

  *run(
    { stock, changes }: Taken,
    self: SelfDescription,
    version: SnapshotVersion,
  ): Steps<Compiled> {
    this.#refuse();
    const mesh = stock.byKey.get(
      formatKey({ kind: MESH.kind, namespace: "", name: MESH_NAME }),
    );
    const { namespace, name } = self;
    const own = stock.byKey.get(
      formatKey({ kind: WORKLOAD.kind, namespace, name }),
    );
    const workload = isHeld(WORKLOAD, own) ? own.resource : undefined;
    const frame = frameOf(
      self,
      isHeld(MESH, mesh) ? mesh.resource : undefined,
      workload,
      this.#kept?.frame,
    );
    yield* this.#index.apply(changes);
    yield* this.#bind(yield* this.#serve(frame, stock));
    yield* this.#referrers.settle();
    yield* this.#names.settle();
    const inbound = yield* this.#inbound(
      frame,
      workload === undefined ? undefined : (workload.spec.ports ?? {}),
    );
    const recording = yield* this.#recording(frame);
    this.#refuse();
    const kept: CompiledParts = {
      ...{ stock, frame, inbound, recording },
      revoked: this.#revoked(changes, frame),
      indexes: this.#index.done(),
      units: this.#units.done(),
      ports: this.#ports.done(),
      referrers: this.#referrers.done(),
      names: this.#names.done(),
    };
    return {
      snapshot: snapshotOf(kept, version),
      difference: differenceOf(changes),
    };
  }

  /** The same object where neither a Revocation nor a trust domain has changed. */
  #revoked(changes: readonly Change[], { mesh }: Frame): Revoked {
    const trustDomains = trustDomainsOf(mesh);
    const moved = changes.some(
      (change) => isRevocation(change.before) || isRevocation(change.after),
    );
    if (
      this.#kept !== undefined &&
      !moved &&
      isDeepStrictEqual(trustDomains, trustDomainsOf(this.#kept.frame.mesh))
    )
      return this.#kept.revoked;
    const all = this.#index.revocations.get(ALL);
    return revokedOf(
      all.map(({ resource }) => resource),
      trustDomains,
    );
  }

  #refuse(): void {
    if (this.#problems.length > 0) throw new CompileError(this.#problems);
  }

  /** The clusters of the Services that changes concern; of all where the frame is another. */
  *#serve(frame: Frame, { byKey }: Stock): Steps<Map<string, ServedPorts>> {
    const { concerned, services } = this.#index;
    const names =
      frame === this.#kept?.frame
        ? concerned
        : new Set([...services.get(ALL).map(({ name }) => name), ...concerned]);
    const served = new Map<string, ServedPorts>();
    for (const name of names) {
      yield;
      const before = this.#units.get(name);
      const held = byKey.get(`${SERVICE.kind} ${name}`);
      const after = yield* this.#portsOf(held, frame);
      yield* this.#exchange(before?.served, after);
      if (after !== undefined) served.set(name, after);
      else if (before !== undefined) {
        this.#units.delete(name);
        this.#refer(name, before.routes, undefined);
      }
    }
    return served;
  }

  *#portsOf(
    held: Held | undefined,
    frame: Frame,
  ): Steps<ServedPorts | undefined> {
    if (!isHeld(SERVICE, held)) return undefined;
    const { resource, name } = held;
    const { namespace: caller } = frame.self;
    if (!isExportedTo(resource.spec, namespaceOf(resource), caller))
      return undefined;
    return yield* compilePorts(
      {
        frame,
        service: held,
        policies: this.#index.trafficPolicies.get(name),
        workloads: this.#index.selected.get(name),
      },
      this.#units.get(name)?.served,
    );
  }

  /** What one Service's clusters were gives way to what they are. */
  *#exchange(
    before: ServedPorts | undefined,
    after: ServedPorts | undefined,
  ): Steps<void> {
    if (before === after) return;
    yield* this.#names.swap(before, after);
    const gone = new Set(before?.ports.map(({ cluster }) => cluster.key));
    for (const port of after?.ports ?? []) {
      const { key } = port.cluster;
      gone.delete(key);
      if (this.#ports.get(key)?.cluster !== port.cluster) this.#moved.add(key);
      this.#ports.set(key, port);
    }
    for (const key of gone) {
      this.#ports.delete(key);
      this.#moved.add(key);
    }
  }

  /** The destinations of those Services, and of those whose routes lead to a cluster that is another object now. */
  *#bind(served: ReadonlyMap<string, ServedPorts>): Steps<void> {
    const names = new Set(served.keys());
    for (const key of this.#moved) {
      yield;
      for (const name of this.#before.referrers.get(key)) names.add(name);
    }
    const clusterOf = (key: string): Cluster | undefined =>
      this.#ports.get(key)?.cluster;
    for (const name of names) {
      yield;
      const before = this.#units.get(name);
      const ports = served.get(name) ?? before?.served;
      if (ports === undefined) continue;
      const unit = yield* compileUnit(
        {
          served: ports,
          routes: this.#index.routes.get(name),
          faults: this.#index.faults.get(name),
        },
        clusterOf,
        before,
        this.#problems,
      );
      this.#refer(name, before?.routes, unit.routes);
      this.#units.set(name, unit);
    }
  }

  #refer(
    name: string,
    before: ServedRoutes | undefined,
    after: ServedRoutes | undefined,
  ): void {
    if (before === after) return;
    for (const key of before?.backends ?? []) this.#referrers.remove(key, name);
    for (const key of after?.backends ?? []) this.#referrers.add(key, name);
  }

  #recording(frame: Frame): Steps<Recording> {
    const index = this.#index;
    return compileRecording(
      {
        frame,
        telemetries: index.telemetries.get(ALL),
        requestAuthentications: index.requestAuthentications.get(ALL),
      },
      this.#kept?.recording,
    );
  }

  *#inbound(
    frame: Frame,
    registered: InboundInput["registered"],
  ): Steps<Inbound> {
    const { namespace, labels } = frame.self;
    const index = this.#index;
    const services = index.servicesOf(namespace, labels);
    return yield* compileInbound(
      {
        ...{ frame, services, registered },
        policies: services.map(({ name }) => index.trafficPolicies.get(name)),
        peerAuthentications: index.peerAuthentications.get(ALL),
        requestAuthentications: index.requestAuthentications.get(ALL),
        authorizationPolicies: index.authorizationPolicies.get(ALL),
      },
      this.#kept?.inbound,
    );
  }
}

function differenceOf(changes: readonly Change[]): Difference {
  return {
    changed: changes.flatMap(({ after }) => after?.resource ?? []),
    removed: changes.flatMap(({ before, after }) =>
      before === undefined || after !== undefined ? [] : [before.key],
    ),
  };
}
