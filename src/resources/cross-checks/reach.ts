/** Whether a security policy matches anything that the mesh holds now: a policy that acts on nothing looks like one that protects. */
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import type {
  AuthorizationPolicyResource,
  AuthorizationSource,
} from "../authorization-policy/spec.ts";
import { ROOT_NAMESPACE, selects, type Resource } from "../envelope.ts";
import { isKind, type Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import {
  PEER_AUTHENTICATION,
  type PeerAuthenticationResource,
} from "../peer-authentication/schema.ts";
import { error, quote, warning } from "../problems.ts";
import {
  isExternal,
  SERVICE,
  targetPortOf,
  type ServiceResource,
} from "../service/schema.ts";
import { WORKLOAD, type WorkloadResource } from "../workload/schema.ts";

/** What policies can act on: made once, asked for each policy. */
export interface Reach {
  /** False for files, beside which the mesh may hold more: that a namespace is missing says nothing then. */
  readonly complete: boolean;
  /** Undefined: not known, as where files hold no Mesh. */
  readonly trustDomain: string | undefined;
  readonly namespaces: ReadonlyMap<string, Inhabitants>;
}

interface Inhabitants {
  readonly services: readonly ServiceResource[];
  readonly workloads: readonly WorkloadResource[];
  /** By "KEY=VALUE" of their labels: a selector looks at few of many. */
  readonly byLabel: ReadonlyMap<string, readonly WorkloadResource[]>;
}

export function reachOf(
  resources: Iterable<Resource>,
  trustDomain: string | undefined,
  complete: boolean,
): Reach {
  const namespaces = new Map<
    string,
    {
      services: ServiceResource[];
      workloads: WorkloadResource[];
      byLabel: Map<string, WorkloadResource[]>;
    }
  >();
  for (const resource of resources) {
    const service = isKind(SERVICE, resource) && !isExternal(resource.spec);
    if (!service && !isKind(WORKLOAD, resource)) continue;
    const namespace = resource.metadata.namespace ?? "";
    const there = namespaces.get(namespace) ?? {
      services: [],
      workloads: [],
      byLabel: new Map<string, WorkloadResource[]>(),
    };
    namespaces.set(namespace, there);
    if (isKind(SERVICE, resource)) there.services.push(resource);
    else if (isKind(WORKLOAD, resource)) {
      there.workloads.push(resource);
      for (const [key, value] of Object.entries(resource.metadata.labels ?? {}))
        add(there.byLabel, `${key}=${value}`, resource);
    }
  }
  return { complete, trustDomain, namespaces };
}

/** Errors for what can never match in a mesh of this trust domain, warnings for what matches nothing now. */
export function checkReach(resource: Resource, reach: Reach): Problem[] {
  if (isKind(PEER_AUTHENTICATION, resource))
    return ofTargets(resource, reach, portsOfMtls(resource));
  if (!isKind(AUTHORIZATION_POLICY, resource)) return [];
  return [
    ...ofSources(resource, reach),
    ...ofTargets(resource, reach, portsOfRules(resource)),
  ];
}

type Path = readonly Segment[];

interface StatedPort {
  readonly at: Path;
  readonly port: string;
}

function portsOfMtls({ spec }: PeerAuthenticationResource): StatedPort[] {
  return Object.keys(spec.portLevelMtls ?? {}).map((port) => ({
    at: ["spec", "portLevelMtls", port],
    port,
  }));
}

function portsOfRules({ spec }: AuthorizationPolicyResource): StatedPort[] {
  return (spec.rules ?? []).flatMap(({ to }, rule) =>
    (to ?? []).flatMap(({ operation }, entry) =>
      (operation.ports ?? []).map((port, index) => ({
        at: ["spec", "rules", rule, "to", entry, "operation", "ports", index],
        port,
      })),
    ),
  );
}

/** The selector, the namespace and the ports. */
function ofTargets(
  policy: AuthorizationPolicyResource | PeerAuthenticationResource,
  reach: Reach,
  ports: readonly StatedPort[],
): Problem[] {
  const { namespace = "" } = policy.metadata;
  const whole = namespace === ROOT_NAMESPACE;
  const there = [...reach.namespaces]
    .filter(([name]) => whole || name === namespace)
    .map(([, inhabitants]) => inhabitants);
  if (there.length === 0)
    return reach.complete
      ? [
          warning(
            ["metadata", "namespace"],
            `there is no Service and no Workload${whole ? "" : ` in namespace ${namespace}`} now, so the policy acts on nothing`,
          ),
        ]
      : [];
  const labels = policy.spec.selector?.matchLabels;
  const workloads = there.flatMap((each) => selected(each, labels));
  const services = there.flatMap((each) =>
    each.services.filter((service) => maySelect(service, labels)),
  );
  if (labels !== undefined && workloads.length === 0 && services.length === 0)
    return [
      warning(
        ["spec", "selector"],
        `selects nothing that there is now: no Workload${whole ? "" : ` in namespace ${namespace}`} has ${labelsText(labels)}, and no Service selects such`,
      ),
    ];
  if (ports.length === 0) return [];
  const known = portsOf(workloads, services);
  return ports.flatMap(({ at, port }) => {
    if (known.size === 0 || known.has(port)) return [];
    const behind = services.flatMap(({ spec }) =>
      spec.ports.filter((each) => String(each.port) === port),
    )[0];
    return [
      warning(
        at,
        behind === undefined
          ? `no workload that the policy selects has port ${port} now: expected one of ${[...known].join(", ")}`
          : `no workload that the policy selects has port ${port} now: ports are the workload's, and port ${port} of the Service leads to ${targetPortOf(behind)}`,
      ),
    ];
  });
}

function selected(
  { workloads, byLabel }: Inhabitants,
  labels: Readonly<Record<string, string>> | undefined,
): readonly WorkloadResource[] {
  if (labels === undefined) return workloads;
  const lists = Object.entries(labels).map(
    ([key, value]) => byLabel.get(`${key}=${value}`) ?? [],
  );
  const [fewest = []] = lists.sort((left, right) => left.length - right.length);
  return fewest.filter(({ metadata }) => selects(labels, metadata.labels));
}

/** Whether workloads of the Service may carry the labels: they may have more than its selector says, but no other value. */
function maySelect(
  { spec }: ServiceResource,
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  return Object.entries(labels ?? {}).every(
    ([key, value]) => (spec.selector?.[key] ?? value) === value,
  );
}

/** As text; empty where a workload does not say what it listens on and no Service does. */
function portsOf(
  workloads: readonly WorkloadResource[],
  services: readonly ServiceResource[],
): ReadonlySet<string> {
  return new Set(
    [
      ...workloads.flatMap(({ spec }) => Object.values(spec.ports ?? {})),
      ...services.flatMap(({ spec }) => spec.ports.map(targetPortOf)),
    ].map(String),
  );
}

const SOURCES = ["principals", "notPrincipals", "namespaces", "notNamespaces"];

function ofSources(
  { spec }: AuthorizationPolicyResource,
  reach: Reach,
): Problem[] {
  return (spec.rules ?? []).flatMap(({ from }, rule) =>
    (from ?? []).flatMap(({ source }, entry) =>
      Object.entries(source)
        .filter(([field]) => SOURCES.includes(field))
        .flatMap(
          ([field, values]: [string, AuthorizationSource["principals"]]) =>
            (values ?? []).flatMap((value, index) =>
              ofSource(
                value,
                field.toLowerCase().endsWith("principals"),
                ["spec", "rules", rule, "from", entry, "source", field, index],
                reach,
              ),
            ),
        ),
    ),
  );
}

function ofSource(
  value: string,
  isPrincipal: boolean,
  at: Path,
  { complete, trustDomain, namespaces }: Reach,
): Problem[] {
  if (isPrincipal && trustDomain !== undefined && !inDomain(value, trustDomain))
    return [
      error(
        at,
        `${quote(value)} could match nobody: every identity of this mesh begins with ${trustDomain}/ns/`,
      ),
    ];
  const namespace = isPrincipal ? value.split("/")[2] : value;
  if (
    !complete ||
    value.includes("*") ||
    namespace === undefined ||
    namespace === ROOT_NAMESPACE ||
    namespaces.has(namespace)
  )
    return [];
  return [
    warning(
      at,
      `there is no Service and no Workload in namespace ${namespace} now, so ${quote(value)} matches nobody`,
    ),
  ];
}

/** Whether an identity of the trust domain can be what the pattern matches. */
function inDomain(pattern: string, trustDomain: string): boolean {
  const start = `${trustDomain}/ns/`;
  if (pattern.startsWith("*")) {
    const before = pattern.slice(1).split("/ns/");
    // "*.local/ns/shop/sa/web" says how the domain ends; "*/sa/web" does not.
    return before.length < 2 || trustDomain.endsWith(before[0] ?? "");
  }
  if (!pattern.endsWith("*")) return pattern.startsWith(start);
  const prefix = pattern.slice(0, -1);
  return prefix.startsWith(start) || start.startsWith(prefix);
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

function add<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
