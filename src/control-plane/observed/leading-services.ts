/** Which Services that policies are for lead to the workloads that sidecars speak of: as the sidecars themselves find it (decision 075). */
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import { namespaceOf, pathOf } from "../../resources/cross-checks/relations.ts";
import { selects } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import { targetsOf } from "../../resources/policy-targets.ts";
import {
  SERVICE,
  targetPortOf,
  type ServicePort,
  type ServiceResource,
} from "../../resources/service/schema.ts";
import {
  applicationPort,
  WORKLOAD,
  type WorkloadSpec,
} from "../../resources/workload/schema.ts";
import type { MeshView } from "../push/catalogue/mesh-view.ts";
import type { LeadingServices } from "./observed-calls.ts";
import { add } from "./views.ts";

const NONE: ReadonlySet<string> = new Set();

export const NO_SERVICES: LeadingServices = () => NONE;

/** `written`: Services that are to be in the place of what the mesh has. */
export function leadingServices(
  mesh: Pick<MeshView, "find">,
  policies: Iterable<AuthorizationPolicyResource>,
  written: readonly ServiceResource[] = [],
): LeadingServices {
  const named = new Map<string, ServiceResource[]>();
  const byPath = new Map(written.map((service) => [pathOf(service), service]));
  const paths = new Set<string>();
  for (const policy of policies)
    for (const path of targetsOf(policy)) paths.add(path);
  for (const path of paths) {
    const service = byPath.get(path) ?? serviceAt(path, mesh);
    if (service === undefined) continue;
    add(named, namespaceOf(service)).push(service);
  }
  if (named.size === 0) return NO_SERVICES;
  return (workload, port) => {
    const { namespace, name, labels } = workload;
    const selecting = (named.get(namespace) ?? []).filter(({ spec }) =>
      selects(spec.selector ?? {}, labels),
    );
    if (selecting.length === 0) return NONE;
    const found = mesh.find({ kind: WORKLOAD.kind, namespace, name });
    const spec =
      found !== undefined && isKind(WORKLOAD, found) ? found.spec : undefined;
    return new Set(
      selecting
        .filter(
          (service) =>
            port === undefined ||
            service.spec.ports.some((each) => portAt(spec, each) === port),
        )
        .map(({ metadata }) => metadata.name),
    );
  };
}

function portAt(
  spec: WorkloadSpec | undefined,
  port: ServicePort,
): number | undefined {
  return spec?.ports === undefined
    ? targetPortOf(port)
    : applicationPort(spec, port);
}

function serviceAt(
  path: string,
  mesh: Pick<MeshView, "find">,
): ServiceResource | undefined {
  const [namespace = "", name = ""] = path.split("/");
  const found = mesh.find({ kind: SERVICE.kind, namespace, name });
  return found !== undefined && isKind(SERVICE, found) ? found : undefined;
}
