/**
 * AuthorizationPolicy, word for word and slowly, from Istio's reference: what the product's evaluator is compared with.
 * Nothing of the product is used here, so that nobody makes one mistake twice. Values are read anew at each question.
 */
import { tokenValues, type OracleToken } from "./token-oracle.ts";

type Values = readonly string[] | undefined;
type Lists = Readonly<Record<string, Values>>;

export interface OracleRule {
  readonly from?: readonly { readonly source: Lists }[];
  readonly to?: readonly { readonly operation: Lists }[];
  readonly when?: readonly {
    readonly key: string;
    readonly values?: Values;
    readonly notValues?: Values;
  }[];
}

export interface OraclePolicy {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly action: string;
  /** With CUSTOM. */
  readonly provider?: string | undefined;
  readonly dryRun?: boolean;
  readonly rules?: readonly OracleRule[] | undefined;
}

export interface OracleMesh {
  readonly rootNamespace: string;
  readonly trustDomains: readonly string[];
  readonly trustedHops: number;
  readonly defaultAction: "ALLOW" | "DENY";
}

export interface OracleWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface OracleCall {
  /** Undefined: without mutual TLS. */
  readonly peer:
    | {
        readonly domain: string;
        readonly namespace: string;
        readonly account: string;
      }
    | undefined;
  readonly port: number;
  readonly source: string | undefined;
  readonly destination: string | undefined;
  /** The host that TLS names. */
  readonly sni?: string | undefined;
  /** Undefined: TCP. */
  readonly http:
    | {
        readonly method: string;
        readonly host: string;
        readonly path: string;
        /** A list has a value for each line. */
        readonly headers: Readonly<Record<string, string | readonly string[]>>;
      }
    | undefined;
  /** Claims of its verified token; undefined where it has none. */
  readonly token: OracleToken | undefined;
}

/** "allow", "deny by POLICY rule N", or "not allowed". */
export function oracle(
  policies: readonly OraclePolicy[],
  workload: OracleWorkload,
  mesh: OracleMesh,
  call: OracleCall,
): string {
  const acting = actingOf(policies, workload, mesh).filter(
    ({ dryRun }) => dryRun !== true,
  );
  // "If there are any DENY policies that match the request, deny the request."
  for (const policy of acting)
    if (policy.action === "DENY") {
      const index = ruleThatMatches(policy, mesh, call);
      if (index >= 0) return `deny by ${fullName(policy)} rule ${index}`;
    }
  // "If there are no ALLOW policies for the workload, allow the request."
  const allows = acting.filter(({ action }) => action === "ALLOW");
  if (allows.length === 0)
    return mesh.defaultAction === "ALLOW" ? "allow" : "not allowed";
  // "If any of the ALLOW policies match the request, allow the request. Deny the request."
  for (const policy of allows)
    if (ruleThatMatches(policy, mesh, call) >= 0) return "allow";
  return "not allowed";
}

/** Those that act on the workload, by name. */
export function actingOf(
  policies: readonly OraclePolicy[],
  workload: OracleWorkload,
  mesh: OracleMesh,
): readonly OraclePolicy[] {
  return policies
    .filter((policy) => acts(policy, workload, mesh))
    .sort((left, right) => (fullName(left) < fullName(right) ? -1 : 1));
}

/** Index of the first one; -1 where none does. */
export function ruleThatMatches(
  policy: OraclePolicy,
  mesh: OracleMesh,
  call: OracleCall,
): number {
  return (policy.rules ?? []).findIndex((rule) =>
    matches(rule, policy, mesh, call),
  );
}

export function fullName({ namespace, name }: OraclePolicy): string {
  return `${namespace}/${name}`;
}

function acts(
  { namespace, labels }: OraclePolicy,
  workload: OracleWorkload,
  { rootNamespace }: OracleMesh,
): boolean {
  if (namespace !== rootNamespace && namespace !== workload.namespace)
    return false;
  for (const key of Object.keys(labels ?? {}))
    if (workload.labels[key] !== labels?.[key]) return false;
  return true;
}

const HTTP_ONLY = [
  "methods",
  "notMethods",
  "hosts",
  "notHosts",
  "paths",
  "notPaths",
];

function matches(
  rule: OracleRule,
  policy: OraclePolicy,
  mesh: OracleMesh,
  call: OracleCall,
): boolean {
  if (call.http === undefined && policy.action === "ALLOW") {
    // "The ALLOW rule is invalid and ignored because it uses HTTP-only fields."
    for (const { source } of rule.from ?? [])
      if (source["requestPrincipals"] ?? source["notRequestPrincipals"])
        return false;
    for (const { operation } of rule.to ?? [])
      for (const field of HTTP_ONLY) if (operation[field]) return false;
    for (const { key } of rule.when ?? [])
      if (key.startsWith("request.")) return false;
  }
  const ignoresHttp = call.http === undefined;
  if (
    rule.from !== undefined &&
    !rule.from.some(({ source }) => sourceMatches(source, policy, mesh, call))
  )
    return false;
  if (
    rule.to !== undefined &&
    !rule.to.some(({ operation }) =>
      operationMatches(operation, ignoresHttp, call),
    )
  )
    return false;
  for (const { key, values, notValues } of rule.when ?? []) {
    if (ignoresHttp && key.startsWith("request.")) continue;
    const header = /^request\.headers\[(.*)\]$/.exec(key)?.[1]?.toLowerCase();
    const refuses = policy.action !== "ALLOW";
    if (
      header === undefined
        ? !listMatches(values, notValues, (value) =>
            has(key, value, policy, mesh, call),
          )
        : !headerMatches(call.http?.headers[header], values, notValues, refuses)
    )
      return false;
  }
  return true;
}

/** Values: one of them; notValues: none of them. */
function listMatches(
  values: Values,
  notValues: Values,
  isIt: (value: string) => boolean,
): boolean {
  if (values !== undefined && !values.some(isIt)) return false;
  return notValues === undefined || !notValues.some(isIt);
}

const SOURCE_KEYS: readonly (readonly [string, string, string])[] = [
  ["principals", "notPrincipals", "source.principal"],
  ["namespaces", "notNamespaces", "source.namespace"],
  ["serviceAccounts", "notServiceAccounts", "source.serviceAccount"],
  ["trustDomains", "notTrustDomains", "source.trustDomain"],
  ["ipBlocks", "notIpBlocks", "source.ip"],
  ["remoteIpBlocks", "notRemoteIpBlocks", "remote.ip"],
  ["requestPrincipals", "notRequestPrincipals", "request.auth.principal"],
];

function sourceMatches(
  source: Lists,
  policy: OraclePolicy,
  mesh: OracleMesh,
  call: OracleCall,
): boolean {
  return SOURCE_KEYS.every(
    ([field, not, key]) =>
      (call.http === undefined && key.startsWith("request.")) ||
      listMatches(source[field], source[not], (value) =>
        has(key, value, policy, mesh, call),
      ),
  );
}

function operationMatches(
  operation: Lists,
  ignoresHttp: boolean,
  { port, http }: OracleCall,
): boolean {
  const isPort = (value: string): boolean => Number(value) === port;
  if (!listMatches(operation["ports"], operation["notPorts"], isPort))
    return false;
  if (ignoresHttp || http === undefined) return true;
  return (
    listMatches(operation["methods"], operation["notMethods"], (value) =>
      textMatches(value, http.method),
    ) &&
    listMatches(operation["hosts"], operation["notHosts"], (value) =>
      textMatches(value.toLowerCase().replace(/:\*$/, ""), http.host),
    ) &&
    listMatches(operation["paths"], operation["notPaths"], (value) =>
      pathMatches(value, http.path),
    )
  );
}

/** Whether what the call has under the key is the value of a policy. */
function has(
  key: string,
  value: string,
  policy: OraclePolicy,
  mesh: OracleMesh,
  call: OracleCall,
): boolean {
  const { peer, token } = call;
  if (key.startsWith("request.auth."))
    return tokenValues(token, key).some((said) => textMatches(value, said));
  switch (key) {
    case "source.principal":
      return peer !== undefined && principalMatches(value, peer, mesh);
    case "source.namespace":
      return peer !== undefined && textMatches(value, peer.namespace);
    case "source.serviceAccount": {
      const [namespace, account] = value.includes("/")
        ? value.split("/")
        : [policy.namespace, value];
      return peer?.namespace === namespace && peer?.account === account;
    }
    case "source.trustDomain":
      return (
        peer !== undefined &&
        (textMatches(value, peer.domain) ||
          (mesh.trustDomains.includes(value) &&
            mesh.trustDomains.includes(peer.domain)))
      );
    case "source.ip":
      return isInBlock(call.source, value);
    case "remote.ip":
      return isInBlock(remoteOf(call, mesh), value);
    case "destination.ip":
      return isInBlock(call.destination, value);
    case "destination.port":
      return Number(value) === call.port;
    case "connection.sni":
      return (
        call.sni !== undefined && textMatches(value.toLowerCase(), call.sni)
      );
  }
  throw new Error(`no key ${key}`);
}

/**
 * A header in several lines is several things to several applications. What refuses matches by any of them; what allows has to hold for
 * each line, and for the lines as one.
 */
function headerMatches(
  said: string | readonly string[] | undefined,
  values: Values,
  notValues: Values,
  refuses: boolean,
): boolean {
  const lines = said === undefined ? [] : [said].flat();
  const whole =
    lines.length < 2 ? lines : [...lines, lines.join(", "), lines.join(",")];
  const parts = lines.flatMap((line) =>
    line.split(",").map((part) => part.trim()),
  );
  const isOneOf = (patterns: readonly string[], text: string): boolean =>
    patterns.some((pattern) => textMatches(pattern, text));
  const isOnceIn = (patterns: readonly string[]): boolean =>
    [...whole, ...parts].some((text) => isOneOf(patterns, text));
  const isAlwaysIn = (patterns: readonly string[]): boolean =>
    whole.length > 0 && whole.every((text) => isOneOf(patterns, text));
  const isIn = refuses ? isOnceIn : isAlwaysIn;
  const isNotOut = refuses ? isAlwaysIn : isOnceIn;
  if (values !== undefined && !isIn(values)) return false;
  return notValues === undefined || !isNotOut(notValues);
}

/** "Exact match, prefix match, suffix match and presence match." */
function textMatches(pattern: string, text: string): boolean {
  if (pattern === "*") return text.length > 0;
  if (pattern[pattern.length - 1] === "*")
    return text.slice(0, pattern.length - 1) === pattern.slice(0, -1);
  if (pattern[0] === "*") {
    const end = pattern.slice(1);
    return (
      text.length >= end.length && text.slice(text.length - end.length) === end
    );
  }
  return pattern === text;
}

/** "Any service with the identity td1/…, td2/… or td3/… will be treated the same." A written cluster.local is the mesh's. */
function principalMatches(
  pattern: string,
  peer: NonNullable<OracleCall["peer"]>,
  { trustDomains }: OracleMesh,
): boolean {
  const rest = `/ns/${peer.namespace}/sa/${peer.account}`;
  const [first = ""] = pattern.split("/");
  const names = trustDomains.includes(peer.domain)
    ? trustDomains
    : [peer.domain];
  if (!pattern.includes("/") || first === "*")
    return textMatches(pattern, peer.domain + rest);
  if (first === "cluster.local")
    return (
      trustDomains.includes(peer.domain) &&
      textMatches(pattern, `cluster.local${rest}`)
    );
  return names.some((name) => textMatches(pattern, name + rest));
}

/** {*}: one element that is not empty; {**}: anything. */
function pathMatches(pattern: string, path: string): boolean {
  if (!pattern.includes("{")) return textMatches(pattern, path);
  const expression = pattern
    .split(/(\{\*\*?\})/)
    .map((part) =>
      part === "{*}"
        ? "[^/]+"
        : part === "{**}"
          ? ".*"
          : part.replace(/[.*+?^$()|[\]\\]/g, "\\$&"),
    )
    .join("");
  return new RegExp(`^${expression}$`).test(path);
}

/** Behind so many proxies as the mesh trusts; the connection's own where the field does not say it. */
function remoteOf(
  { http, source }: OracleCall,
  { trustedHops }: OracleMesh,
): string | undefined {
  const field = http?.headers["x-forwarded-for"];
  if (trustedHops === 0 || typeof field !== "string") return source;
  const hops = field.split(",").map((hop) => hop.trim());
  const said = hops[hops.length - trustedHops];
  return said === undefined || bitsOf(said) === undefined ? source : said;
}

function isInBlock(address: string | undefined, block: string): boolean {
  const [network = "", length] = block.split("/");
  const bits = address === undefined ? undefined : bitsOf(address);
  const wanted = bitsOf(network);
  if (bits === undefined || wanted === undefined) return false;
  if (bits.length !== wanted.length) return false;
  const count = length === undefined ? bits.length : Number(length);
  for (let index = 0; index < count; index += 1)
    if (bits[index] !== wanted[index]) return false;
  return true;
}

/** The address as a list of bits: 32 of them, or 128. */
function bitsOf(address: string): readonly boolean[] | undefined {
  const bits = (value: number, count: number): boolean[] =>
    Array.from(
      { length: count },
      (_bit, index) => Math.floor(value / 2 ** (count - 1 - index)) % 2 === 1,
    );
  const bytes = address.split(".");
  if (bytes.length === 4 && bytes.every((byte) => /^\d+$/.test(byte)))
    return bytes.flatMap((byte) => bits(Number(byte), 8));
  if (!/^[0-9a-f:]+$/.test(address)) return undefined;
  const [front = "", back] = address.split("::");
  const groups = (text: string): string[] =>
    text === "" ? [] : text.split(":");
  const end = back === undefined ? [] : groups(back);
  const zeros = 8 - groups(front).length - end.length;
  return [
    ...groups(front),
    ...Array.from({ length: Math.max(0, zeros) }, () => "0"),
    ...end,
  ].flatMap((group) => bits(Number.parseInt(group, 16), 16));
}
