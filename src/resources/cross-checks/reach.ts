/** Whether a security policy matches anything that the mesh holds now: a policy that acts on nothing looks like one that protects. */
import type { Steps } from "../../core/slices.ts";
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../authorization-policy/spec.ts";
import { fits } from "../authorization-policy/values.ts";
import { ROOT_NAMESPACE, selects, type Resource } from "../envelope.ts";
import { Grounds, type Inhabitants } from "./grounds.ts";
import { statedIn, type Stated } from "./stated.ts";
import { isKind, type Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import {
  PEER_AUTHENTICATION,
  type PeerAuthenticationResource,
} from "../peer-authentication/schema.ts";
import { targetsOf } from "../policy-targets.ts";
import { error, quote, warning } from "../problems.ts";
import { REQUEST_AUTHENTICATION } from "../request-authentication/schema.ts";
import type { RequestAuthenticationResource } from "../request-authentication/spec.ts";
import {
  isExternal,
  SERVICE,
  targetPortOf,
  type ServiceResource,
} from "../service/schema.ts";
import { TELEMETRY } from "../telemetry/schema.ts";
import type { TelemetryResource } from "../telemetry/spec.ts";
import { WORKLOAD, type WorkloadResource } from "../workload/schema.ts";

export type { Inhabitants } from "./grounds.ts";

/** What policies can act on: made once, asked for each policy. */
export interface Reach {
  /** False for files, beside which the mesh may hold more: that a namespace is missing says nothing then. */
  readonly complete: boolean;
  /** Undefined: not known, as where files hold no Mesh. */
  readonly trustDomains: readonly string[] | undefined;
  /** Those that have something in them. */
  namespaces(): Iterable<string>;
  /** Undefined where there is nothing. */
  inhabitants(namespace: string): Inhabitants | undefined;
}

/** May pause at each `yield`. */
export function* reachOf(
  resources: Iterable<Resource>,
  trustDomains: readonly string[] | undefined,
  complete: boolean,
): Steps<Reach> {
  const namespaces = new Map<string, Listed>();
  for (const resource of resources) {
    yield;
    const service = isKind(SERVICE, resource) && !isExternal(resource.spec);
    if (!service && !isKind(WORKLOAD, resource)) continue;
    const namespace = resource.metadata.namespace ?? "";
    const there = namespaces.get(namespace) ?? new Listed();
    namespaces.set(namespace, there);
    if (isKind(SERVICE, resource)) there.addService(resource);
    else if (isKind(WORKLOAD, resource)) there.addWorkload(resource);
  }
  return {
    complete,
    trustDomains,
    namespaces: () => namespaces.keys(),
    inhabitants: (namespace) => namespaces.get(namespace),
  };
}

/** Found once, by a look at all resources. */
class Listed implements Inhabitants {
  readonly #services: ServiceResource[] = [];
  readonly #workloads: WorkloadResource[] = [];
  /** By "KEY=VALUE" of their labels: a selector looks at few of many. */
  readonly #byLabel = new Map<string, WorkloadResource[]>();

  addService(service: ServiceResource): void {
    this.#services.push(service);
  }

  addWorkload(workload: WorkloadResource): void {
    this.#workloads.push(workload);
    for (const [key, value] of Object.entries(workload.metadata.labels ?? {}))
      add(this.#byLabel, `${key}=${value}`, workload);
  }

  services(): readonly ServiceResource[] {
    return this.#services;
  }

  workloads(
    labels: Readonly<Record<string, string>> | undefined,
  ): readonly WorkloadResource[] {
    if (labels === undefined) return this.#workloads;
    const lists = Object.entries(labels).map(
      ([key, value]) => this.#byLabel.get(`${key}=${value}`) ?? [],
    );
    const [fewest = []] = lists.sort(
      (left, right) => left.length - right.length,
    );
    return fewest.filter(({ metadata }) => selects(labels, metadata.labels));
  }
}

/**
 * Errors for what can never match in a mesh of this trust domain, warnings for what matches nothing now. What is looked at for one
 * policy is known for the next.
 */
export function reachChecker(reach: Reach): (resource: Resource) => Problem[] {
  const known = new Map<string, Grounds>();
  const groundsOf = (namespace: string): Grounds => {
    const found = known.get(namespace);
    if (found !== undefined) return found;
    const whole = namespace === ROOT_NAMESPACE;
    const made = new Grounds(
      (whole ? [...reach.namespaces()] : [namespace]).flatMap(
        (name) => reach.inhabitants(name) ?? [],
      ),
    );
    known.set(namespace, made);
    return made;
  };
  return (resource) => {
    const { namespace = "" } = resource.metadata;
    const targetsOf = (
      policy: SelectingPolicy,
      ports: readonly StatedPort[],
    ): Problem[] =>
      ofTargets(policy, groundsOf(namespace), reach.complete, ports);
    if (isKind(PEER_AUTHENTICATION, resource))
      return targetsOf(resource, portsOfMtls(resource));
    if (isKind(REQUEST_AUTHENTICATION, resource) || isKind(TELEMETRY, resource))
      return targetsOf(resource, []);
    if (!isKind(AUTHORIZATION_POLICY, resource)) return [];
    return [
      ...ofSources(resource, reach),
      ...targetsOf(resource, portsOfRules(resource)),
    ];
  };
}

type Path = readonly Segment[];

type SelectingPolicy =
  | AuthorizationPolicyResource
  | PeerAuthenticationResource
  | RequestAuthenticationResource
  | TelemetryResource;

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
  return statedIn(spec.rules, false)
    .filter(({ subject }) => PORTS.includes(subject))
    .map(({ at, value }) => ({ at, port: value }));
}

const PORTS = ["ports", "destination.port"];

/** The selector, the namespace and the ports. */
function ofTargets(
  policy: SelectingPolicy,
  grounds: Grounds,
  complete: boolean,
  ports: readonly StatedPort[],
): Problem[] {
  const { namespace = "" } = policy.metadata;
  const where =
    namespace === ROOT_NAMESPACE ? "" : ` in namespace ${namespace}`;
  if (grounds.isEmpty)
    return complete
      ? [
          warning(
            ["metadata", "namespace"],
            `there is no Service and no Workload${where} now, so the policy acts on nothing`,
          ),
        ]
      : [];
  const labels = policy.spec.selector?.matchLabels;
  if (labels !== undefined && !grounds.holds(labels))
    return [
      warning(
        ["spec", "selector"],
        `selects nothing that there is now: no Workload${where} has ${labelsText(labels)}, and no Service selects such`,
      ),
    ];
  if (ports.length === 0) return [];
  if (policy.kind !== PEER_AUTHENTICATION.kind) {
    const targets = targetsOf(policy);
    if (targets.length > 0) return ofTargetPorts(targets, grounds, ports);
  }
  const known = grounds.portsOf(labels);
  return ports.flatMap(({ at, port }) => {
    if (known.size === 0 || known.has(port)) return [];
    const [behind] = grounds
      .servicePorts(labels)
      .filter((each) => String(each.port) === port)
      .map(targetPortOf)
      .sort(byNumber);
    return [
      warning(
        at,
        behind === undefined
          ? `no workload that the policy selects has port ${port} now: expected one of ${[...known].sort(byNumber).join(", ")}`
          : `no workload that the policy selects has port ${port} now: ports are the workload's, and port ${port} of the Service leads to ${behind}`,
      ),
    ];
  });
}

/** Where a policy names Services, their ports alone are what it can mean. */
function ofTargetPorts(
  targets: readonly string[],
  grounds: Grounds,
  ports: readonly StatedPort[],
): Problem[] {
  const known = new Set(
    targets.flatMap((path) => [...grounds.portsBehind(path)]),
  );
  if (known.size === 0) return [];
  return ports.flatMap(({ at, port }) =>
    known.has(port)
      ? []
      : [
          warning(
            at,
            `no Service that the policy names leads to port ${port} of a workload now: expected one of ${[...known].sort(byNumber).join(", ")}`,
          ),
        ],
  );
}

function byNumber(left: string | number, right: string | number): number {
  return Number(left) - Number(right);
}

/** What a value says of callers, by its subject. */
const SOURCES: Readonly<
  Record<string, "principal" | "namespace" | "account" | "trust domain">
> = {
  principals: "principal",
  namespaces: "namespace",
  serviceAccounts: "account",
  trustDomains: "trust domain",
  "source.principal": "principal",
  "source.namespace": "namespace",
  "source.serviceAccount": "account",
  "source.trustDomain": "trust domain",
};

function ofSources(
  { spec }: AuthorizationPolicyResource,
  reach: Reach,
): Problem[] {
  return statedIn(spec.rules, true).flatMap((stated) => {
    switch (SOURCES[stated.subject]) {
      case "principal":
        return ofPrincipal(stated, reach);
      case "namespace":
        return ofNamespace(stated, stated.value, reach);
      case "account":
        // One without a namespace is of the policy's own.
        return stated.value.includes("/")
          ? ofNamespace(stated, stated.value.split("/")[0], reach)
          : [];
      case "trust domain":
        return ofTrustDomain(stated, reach);
      default:
        return [];
    }
  });
}

function ofPrincipal(stated: Stated, reach: Reach): Problem[] {
  const { at, value } = stated;
  const { trustDomains } = reach;
  if (
    !isLocal(value) &&
    trustDomains?.some((each) => inDomain(value, each)) === false
  )
    return [
      error(
        at,
        `${quote(value)} could match nobody: every identity of this mesh begins with ${trustDomains.map((each) => `${each}/ns/`).join(" or ")}`,
      ),
    ];
  return ofNamespace(stated, value.split("/")[2], reach);
}

function ofNamespace(
  { at, value }: Stated,
  namespace: string | undefined,
  reach: Reach,
): Problem[] {
  if (
    !reach.complete ||
    value.includes("*") ||
    namespace === undefined ||
    namespace === ROOT_NAMESPACE ||
    reach.inhabitants(namespace) !== undefined
  )
    return [];
  return [
    warning(
      at,
      `there is no Service and no Workload in namespace ${namespace} now, so ${quote(value)} matches nobody`,
    ),
  ];
}

function ofTrustDomain(
  { at, value }: Stated,
  { trustDomains }: Reach,
): Problem[] {
  return trustDomains?.some((each) => fits(each, value)) === false
    ? [
        // No error: files of Istio's users name the domains of meshes that are federated with theirs.
        warning(
          at,
          `${quote(value)} matches nobody: the trust domain of this mesh is ${trustDomains.join(" or ")}`,
        ),
      ]
    : [];
}

/** Whether the principal means this mesh: "cluster.local" is its trust domain, whatever that is called (`policy/authorization/aliases.ts`). */
function isLocal(pattern: string): boolean {
  return pattern.startsWith("cluster.local/");
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
