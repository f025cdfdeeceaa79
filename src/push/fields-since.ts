/** Which fields a sidecar of an older push schema does not know: the one table of them, and what of it a resource uses. */
import { DRY_RUN } from "../resources/authorization-policy/trial.ts";
import type { Resource } from "../resources/envelope.ts";
import { isKind } from "../resources/kind.ts";
import { isExternal, SERVICE } from "../resources/service/schema.ts";

export interface FieldSince {
  readonly kind: string;
  /** With "[]" for any index and "*" for any key; "" is the kind itself. */
  readonly path: string;
  /** With a path that ends in "*": the key that is meant; absent: any. */
  readonly key?: string;
  /** Values that are new; absent, as `like` is: the field itself is. */
  readonly values?: readonly string[];
  /** What new values look like. */
  readonly like?: RegExp;
  /** The resources of which it is new; absent: all. */
  readonly only?: (resource: Resource) => boolean;
  /** The first schema that knows it. */
  readonly since: number;
  /** "same": a sidecar does the same without it, and gets the rest. "withheld": it does not get the resource. */
  readonly without: "same" | "withheld";
}

/** What a control plane still serves. A sidecar that says no schema is held to be of it. */
export const OLDEST_SCHEMA = 2;

/**
 * A field that is not here has been there since OLDEST_SCHEMA. A new one gets a line here, and SCHEMA_VERSION goes up with the first
 * of a release. Say "same" only of what sidecars do not act on at all: without a match, a condition or a limit a policy means something else.
 */
export const FIELDS_SINCE: readonly FieldSince[] = [
  // A sidecar that does not know the kind goes on with connections that others end: `status` names it.
  { kind: "Revocation", path: "", since: 5, without: "withheld" },
  // The control plane alone renews certificates.
  {
    kind: "Mesh",
    path: "spec.mtls.renewExpiredFor",
    since: 3,
    without: "same",
  },
  // Read for remote.ip alone, which these sidecars do not have.
  { kind: "Mesh", path: "spec.trustedHops", since: 4, without: "same" },
  // What is added to a request for tracers: without it the trace goes on in W3C's form.
  {
    kind: "Mesh",
    path: "spec.defaults.tracing.propagators",
    since: 5,
    without: "same",
  },
  // These sidecars refuse certificates of other trust domains.
  { kind: "Mesh", path: "spec.trustDomainAliases", since: 5, without: "same" },
  // These sidecars go by the age of claims alone. The control plane takes no new claim against it.
  { kind: "Mesh", path: "spec.hostClaims", since: 5, without: "same" },
  // The policies that name a provider are withheld.
  {
    kind: "Mesh",
    path: "spec.authorization.providers",
    since: 5,
    without: "same",
  },
  {
    kind: "AuthorizationPolicy",
    path: "spec.action",
    values: ["CUSTOM"],
    since: 5,
    without: "withheld",
  },
  {
    kind: "AuthorizationPolicy",
    path: "spec.provider",
    since: 5,
    without: "withheld",
  },
  ...[
    "when",
    "from[].source.serviceAccounts",
    "from[].source.notServiceAccounts",
    "from[].source.trustDomains",
    "from[].source.notTrustDomains",
    "from[].source.ipBlocks",
    "from[].source.notIpBlocks",
    "from[].source.remoteIpBlocks",
    "from[].source.notRemoteIpBlocks",
  ].map((path) => ruleField(path)),
  ...["paths", "notPaths"].map((path) =>
    ruleField(`to[].operation.${path}`, /\{\*\*\}\//),
  ),
  ...["hosts", "notHosts"].map((path) =>
    ruleField(`to[].operation.${path}`, /:\*$/),
  ),
  // Neither changes a verdict, and an older sidecar would enforce the one and could not read the other.
  {
    kind: "AuthorizationPolicy",
    path: "spec.action",
    values: ["AUDIT"],
    since: 5,
    without: "withheld",
  },
  {
    kind: "AuthorizationPolicy",
    path: "metadata.annotations.*",
    key: DRY_RUN,
    like: /^true$/,
    since: 5,
    without: "withheld",
  },
  // These sidecars would speak plaintext: `guarded-services.ts` closes the Services as well.
  { kind: "TrafficPolicy", path: "spec.tls", since: 5, without: "withheld" },
  {
    kind: "TrafficPolicy",
    path: "spec.applicationTls",
    since: 5,
    without: "withheld",
  },
  {
    kind: "Service",
    path: "spec.ports[].targetPort",
    only: (resource) => isKind(SERVICE, resource) && isExternal(resource.spec),
    since: 5,
    without: "withheld",
  },
  // These sidecars read no wildcard, and there is no name by which the Service could be closed to them.
  {
    kind: "Service",
    path: "spec.hosts",
    like: /^\*\./,
    since: 5,
    without: "withheld",
  },
  { kind: "Telemetry", path: "", since: 5, without: "withheld" },
  { kind: "RequestAuthentication", path: "", since: 5, without: "withheld" },
  {
    kind: "AuthorizationPolicy",
    path: "spec.targetRefs",
    since: 5,
    without: "withheld",
  },
  // These sidecars call such a port, and its own sidecar says what is wrong.
  { kind: "Workload", path: "spec.unreadyPorts", since: 5, without: "same" },
  // Read for the keys of a RequestAuthentication alone, which these sidecars do not have.
  { kind: "Mesh", path: "spec.privateFetch", since: 5, without: "same" },
  ...["requestPrincipals", "notRequestPrincipals"].map((name) =>
    ruleField(`from[].source.${name}`, undefined, 5),
  ),
  ruleField("when[].key", /^request\.auth\./, 5),
  ruleField("when[].key", /^connection\.sni$/, 5),
  ruleField("when[].key", /^source\.trustDomain$/, 5),
  ...["key", "routes[].key"].map((path): FieldSince => ({
    kind: "TrafficPolicy",
    path: `spec.rateLimit.${path}`,
    like: /^request\.auth\./,
    since: 5,
    without: "withheld",
  })),
];

/** A field of an AuthorizationPolicy's rule. */
function ruleField(path: string, like?: RegExp, since = 4): FieldSince {
  return {
    kind: "AuthorizationPolicy",
    path: `spec.rules[].${path}`,
    since,
    without: "withheld",
    ...(like === undefined ? {} : { like }),
  };
}

/** What of the table the resource uses. */
export function usedOf(
  resource: Resource,
  table: readonly FieldSince[],
): readonly FieldSince[] {
  return table.filter((field) => {
    if (field.kind !== resource.kind || field.only?.(resource) === false)
      return false;
    let isUsed = field.path === "";
    visit(resource, field.path, (parent, key) => {
      isUsed ||= isMeant(field, key) && isNew(field, parent[key]);
    });
    return isUsed;
  });
}

/** A copy without these fields, or without their new values. */
export function withoutFields(
  resource: Resource,
  fields: readonly Pick<FieldSince, "path" | "key" | "values" | "like">[],
): Resource {
  const rest = structuredClone(resource);
  for (const field of fields)
    visit(rest, field.path, (parent, key) => {
      if (isMeant(field, key) && isNew(field, parent[key]))
        Reflect.deleteProperty(parent, key);
    });
  return rest;
}

function isMeant({ key }: Pick<FieldSince, "key">, found: string): boolean {
  return key === undefined || key === found;
}

function isNew(
  { values, like }: Pick<FieldSince, "values" | "like">,
  value: unknown,
): boolean {
  if (values === undefined && like === undefined) return true;
  return [value]
    .flat()
    .some(
      (each) =>
        values?.some((known) => known === each) === true ||
        (typeof each === "string" && like?.test(each) === true),
    );
}

type Found = (parent: Record<string, unknown>, key: string) => void;

/** Calls `found` for each place that has the path. */
function visit(root: object, path: string, found: Found): void {
  if (path !== "") visitIn(root, path.split("."), found);
}

function visitIn(
  value: unknown,
  [first = "", ...rest]: readonly string[],
  found: Found,
): void {
  if (typeof value !== "object" || value === null) return;
  const parent = value as Record<string, unknown>;
  const name = first.replace("[]", "");
  for (const key of name === "*" ? Object.keys(parent) : [name]) {
    if (!Object.hasOwn(parent, key)) continue;
    if (rest.length === 0) found(parent, key);
    else if (first.endsWith("[]"))
      for (const item of listOf(parent[key])) visitIn(item, rest, found);
    else visitIn(parent[key], rest, found);
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
