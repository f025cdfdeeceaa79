/** Makes the snapshot of the resources that one proxy has. */
import { addressOwners } from "../../resources/ownership/address-owners.ts";
import { meshSettings } from "../../resources/mesh/schema.ts";
import type { Resource } from "../../resources/envelope.ts";
import type {
  SelfDescription,
  Snapshot,
  SnapshotVersion,
} from "../snapshot.ts";
import { sortResources } from "./sort.ts";
import { routing } from "./routes.ts";
import { compileInbound } from "./inbound.ts";
import { compileFaults } from "./faults.ts";
import { compileDestinations } from "./destinations.ts";
import { compileClusters } from "./clusters.ts";

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

export interface CompileOptions {
  /** The snapshot in force: clusters that did not change are taken over from it. */
  readonly previous?: Snapshot | undefined;
  /** Each resource by itself has been validated by this version of the program already. */
  readonly validated?: boolean;
}

/**
 * Compiles all that one proxy knows into what it serves from. Throws `CompileError` where any of it cannot be used: a part
 * of a policy is no policy, so a set is taken whole or not at all. Nothing of the input is kept.
 */

export function compileSnapshot(
  resources: readonly Resource[],
  self: SelfDescription,
  version: SnapshotVersion,
  options: CompileOptions = {},
): Snapshot {
  const problems: string[] = [];
  const warnings: string[] = [];
  const own = structuredClone(self);
  const sorted = sortResources(resources, options.validated === true, problems);
  if (problems.length > 0) throw new CompileError(problems);

  const mesh = meshSettings(sorted.mesh?.spec);
  const served = compileClusters(
    sorted,
    own,
    mesh,
    options.previous?.clusters ?? [],
    warnings,
  );
  const destinations = compileDestinations(
    served.values(),
    routing(
      [...sorted.routes, ...sorted.grpcRoutes],
      served,
      own.namespace,
      mesh,
      problems,
      warnings,
    ),
    compileFaults(sorted.faults, own),
    own.namespace,
    mesh.trustDomain,
    addressOwners(sorted.workloads),
    warnings,
  );
  const inbound = compileInbound(sorted, own, mesh, warnings);
  if (problems.length > 0) throw new CompileError(problems);

  return {
    version: { ...version },
    self: own,
    mesh,
    destination: (host, port) => destinations.byHost(host, port),
    destinationByAddress: (address, port) =>
      destinations.byAddress(address, port),
    destinations: destinations.all,
    clusters: [...served.values()].flatMap(({ cluster, byEndpoint }) => [
      cluster,
      ...byEndpoint.values(),
    ]),
    inbound,
    warnings: [...new Set(warnings)],
  };
}
