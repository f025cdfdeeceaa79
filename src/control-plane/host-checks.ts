/** Checks of hosts when they are written: names of the mesh's own, hosts that the Mesh gives to others, and those that another Service has. */
import { inSlices, type Pause, type Steps } from "../core/slices.ts";
import { hostConflicts } from "../resources/cross-checks/conflicts.ts";
import { formatKey, keyOf } from "../resources/envelope.ts";
import type { Problem } from "../resources/kind.ts";
import { MESH } from "../resources/mesh/schema.ts";
import {
  checkHosts,
  claimableHosts,
  type HostRules,
} from "../resources/ownership/host-owners.ts";
import { warning } from "../resources/problems.ts";
import {
  isExternal,
  SERVICE,
  type ServiceSpec,
} from "../resources/service/schema.ts";
import { WORKLOAD } from "../resources/workload/schema.ts";
import {
  indexOf,
  meshOnceWritten,
  resourcesOf,
  type Kin,
  type Prospect,
} from "./prospect.ts";

export interface HostTask {
  readonly prospect: Prospect;
  readonly trustDomain: string;
  readonly pause: Pause;
  readonly report: (index: number, ...problems: readonly Problem[]) => void;
}

/** Services that a warning names; the others are counted. */
const MOST_NAMED = 5;

const NONE: Kin<never> = { others: [], written: [] };

/** Hosts that shadow the mesh's own names are refused; those that another Service has already are warned of. */
export async function checkExternalHosts(task: HostTask): Promise<void> {
  const { prospect, trustDomain, pause, report } = task;
  const external = prospect
    .ofKind(SERVICE)
    .filter(({ resource }) => isExternal(resource.spec));
  const meshes = prospect.ofKind(MESH);
  if (external.length + meshes.length === 0) return;
  const services = await prospect.kin(SERVICE);
  const { hostClaims } = await meshOnceWritten(prospect);
  const rules = { trustDomain, hostClaims };
  for (const { index } of meshes)
    report(index, ...(await inSlices(vainClaims(services, rules), pause)));
  if (external.length === 0) return;
  const all = resourcesOf(services);
  const counts = new Map<string, number>();
  for (const { metadata } of all) {
    const namespace = metadata.namespace ?? "";
    counts.set(namespace, (counts.get(namespace) ?? 0) + 1);
  }
  for (const { index, resource } of external) {
    const own = resource.metadata.namespace;
    // A Service does not compete with itself.
    const hasOthers = (namespace: string): boolean =>
      (counts.get(namespace) ?? 0) > (namespace === own ? 1 : 0);
    report(index, ...checkHosts(resource, hasOthers, rules));
    await pause();
  }
  // Only a fixed address can be that of a workload.
  const workloads = external.some(
    ({ resource }) => resource.spec.resolution === "STATIC",
  )
    ? await prospect.kin(WORKLOAD)
    : NONE;
  const index = indexOf(services.written);
  // Claims that the Mesh does not let be are refused above.
  const losses = hostConflicts([...all, ...resourcesOf(workloads)], {
    ...{ trustDomain, hostClaims: [] },
  });
  for (const { loser, path, message } of await inSlices(losses, pause)) {
    const at = index.get(loser);
    if (at !== undefined) report(at, { path, message, severity: "warning" });
  }
}

/** Services that are there already, and lose hosts by the Mesh as it is written. */
function* vainClaims(
  { others }: Kin<ServiceSpec>,
  rules: HostRules,
): Steps<Problem[]> {
  const losers: string[] = [];
  for (const service of others) {
    yield;
    const { hosts = [] } = service.spec;
    const kept = claimableHosts(service, rules).length;
    if (isExternal(service.spec) && kept < hosts.length)
      losers.push(formatKey(keyOf(service)));
  }
  if (losers.length === 0) return [];
  const more = losers.length - MOST_NAMED;
  return [
    warning(
      ["spec", "hostClaims"],
      `takes hosts from ${losers.slice(0, MOST_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}: calls to these hosts do not go there any more`,
    ),
  ];
}
