/** The Workloads of resource files, and those that stand for instances of which the files say nothing. */
import { selects, type Resource } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import {
  isExternal,
  SERVICE,
  targetPortOf,
  type ServiceResource,
} from "../../resources/service/schema.ts";
import {
  WORKLOAD,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";

export function workloadsOf(
  resources: readonly Resource[],
): WorkloadResource[] {
  return resources.flatMap((resource) =>
    isKind(WORKLOAD, resource) ? [resource] : [],
  );
}

/** What serves a Service in files that say nothing of its instances: they register themselves, where the mesh runs. */
const ASSUMED = {
  // A name: nobody knows the address, and no rule is to be judged by one that was made up (RFC 6761).
  address: "assumed.invalid",
  link: { port: 15008 },
} as const;

/** The resources, and for each Service of the mesh without a Workload one that has exactly the labels of its selector. */
export function withAssumedWorkloads(
  resources: readonly Resource[],
): readonly Resource[] {
  const stated = workloadsOf(resources);
  const assumed = resources.flatMap((resource) =>
    isKind(SERVICE, resource) &&
    !isExternal(resource.spec) &&
    !stated.some(
      ({ metadata }) =>
        metadata.namespace === resource.metadata.namespace &&
        selects(resource.spec.selector ?? {}, metadata.labels),
    )
      ? [assumedFor(resource)]
      : [],
  );
  return [...resources, ...assumed];
}

function assumedFor({ metadata, spec }: ServiceResource): WorkloadResource {
  const { namespace } = metadata;
  return {
    apiVersion: WORKLOAD.apiVersion,
    kind: WORKLOAD.kind,
    metadata: {
      name: `${metadata.name}-assumed`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: spec.selector ?? {},
    },
    spec: {
      ...ASSUMED,
      serviceAccount: metadata.name,
      ports: Object.fromEntries(
        spec.ports.map((port) => [
          port.name ?? `port-${port.port}`,
          targetPortOf(port),
        ]),
      ),
    },
  };
}
