/**
 * Whether a call may reach a workload: DENY before ALLOW before the mesh's default (AuthorizationPolicy of Istio).
 *
 * One ALLOW policy for a workload turns its default into "deny what is not listed" (trap 2); a policy without rules matches
 * nothing, so an empty ALLOW denies everything (trap 1). Every policy that applies counts, they add up (trap 13).
 */
import { memo } from "../core/memo.ts";
import { parseSpiffeId } from "../identity/spiffe.ts";
import type {
  AuthorizationOperation,
  AuthorizationPolicyResource,
  AuthorizationRule,
  AuthorizationSource,
} from "../resources/authorization-policy.ts";
import { formatName, ROOT_NAMESPACE, selects } from "../resources/envelope.ts";
import { MESH_NAME, type DefaultAction } from "../resources/mesh.ts";

/** What is known of a call. Identity comes from the verified peer certificate of its own connection only (law 5, trap 4). */
export interface AuthorizationFacts {
  /** SPIFFE id of the peer, as a URI; undefined on plaintext. */
  readonly peer: string | undefined;
  /** The application's port. */
  readonly port: number;
  /** Undefined for TCP: what only HTTP has is missing then (trap 3). */
  readonly request: AuthorizedRequest | undefined;
}

/** What authorization reads of a request; `RequestFacts` satisfies it. */
export interface AuthorizedRequest {
  readonly method: string;
  /** Lower-case, without port. */
  readonly host: string;
  /** Normalised, without query: the very path that is forwarded (law 6). */
  readonly path: string;
}

export type Verdict =
  | { readonly kind: "allow" }
  | {
      readonly kind: "deny";
      readonly code: "DENIED" | "NOT_ALLOWED";
      /** "NAMESPACE/NAME", or the Mesh's name where its default action decided. */
      readonly policy: string;
      /** Index of the rule that denied; absent where no rule allowed. */
      readonly rule?: number;
    };

export interface Authorizer {
  authorize(facts: AuthorizationFacts): Verdict;
  /** "NAMESPACE/NAME" of the policies that apply, DENY first. */
  readonly policies: readonly string[];
}

export interface AuthorizedWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

const ALLOW: Verdict = { kind: "allow" };

/** The facts with the peer's name taken apart once, for all rules. */
interface Call {
  readonly principal: string | undefined;
  readonly namespace: string | undefined;
  readonly port: string;
  readonly request: AuthorizedRequest | undefined;
}

type Test = (call: Call) => boolean;

interface CompiledPolicy {
  readonly name: string;
  readonly rules: readonly Test[];
  /** One a rule, so that a refusal allocates nothing. */
  readonly denials: readonly Verdict[];
}

export function compileAuthorization(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
  defaultAction: DefaultAction,
): Authorizer {
  const applying = policies
    .filter((policy) => appliesTo(policy, workload))
    .sort((left, right) => (nameOf(left) < nameOf(right) ? -1 : 1));
  const deny = applying
    .filter((policy) => policy.spec.action === "DENY")
    .map(compilePolicy);
  const allow = applying
    .filter((policy) => policy.spec.action !== "DENY")
    .map(compilePolicy);
  const names = [...deny, ...allow].map((policy) => policy.name);
  const otherwise = verdictWithoutMatch(allow, defaultAction);

  if (deny.length === 0 && allow.every((policy) => policy.rules.length === 0))
    return { authorize: () => otherwise, policies: names };
  return {
    policies: names,
    authorize(facts) {
      const call = callOf(facts);
      for (const policy of deny) {
        const rule = policy.rules.findIndex((test) => test(call));
        if (rule >= 0) return policy.denials[rule] ?? otherwise;
      }
      for (const policy of allow)
        if (policy.rules.some((test) => test(call))) return ALLOW;
      return otherwise;
    },
  };
}

/** Root namespace: the whole mesh (trap 17); any other: its own workloads. The selector narrows either (trap 16). */
function appliesTo(
  policy: AuthorizationPolicyResource,
  workload: AuthorizedWorkload,
): boolean {
  const { namespace } = policy.metadata;
  if (namespace !== ROOT_NAMESPACE && namespace !== workload.namespace)
    return false;
  const { selector } = policy.spec;
  return (
    selector === undefined || selects(selector.matchLabels, workload.labels)
  );
}

function verdictWithoutMatch(
  allow: readonly CompiledPolicy[],
  defaultAction: DefaultAction,
): Verdict {
  const [first] = allow;
  if (first !== undefined)
    return { kind: "deny", code: "NOT_ALLOWED", policy: first.name };
  return defaultAction === "ALLOW"
    ? ALLOW
    : { kind: "deny", code: "NOT_ALLOWED", policy: MESH_NAME };
}

function compilePolicy(policy: AuthorizationPolicyResource): CompiledPolicy {
  const name = nameOf(policy);
  const denies = policy.spec.action === "DENY";
  const rules = policy.spec.rules ?? [];
  return {
    name,
    rules: rules.map((rule) => compileRule(rule, denies)),
    denials: rules.map((_rule, index) => ({
      kind: "deny",
      code: "DENIED",
      policy: name,
      rule: index,
    })),
  };
}

function nameOf(policy: AuthorizationPolicyResource): string {
  return formatName(policy.metadata.namespace ?? "", policy.metadata.name);
}

function callOf(facts: AuthorizationFacts): Call {
  const { principal, namespace } =
    facts.peer === undefined ? NOBODY : callerOf(facts.peer);
  return {
    principal,
    namespace,
    port: String(facts.port),
    request: facts.request,
  };
}

/** A peer's name taken apart. */
type Caller = Pick<Call, "principal" | "namespace">;

const NOBODY: Caller = { principal: undefined, namespace: undefined };

/** All requests of a connection have the same peer, and to take its name apart is most of what a simple policy costs. */
const callerOf: (peer: string) => Caller = memo((peer) => {
  const id = parseSpiffeId(peer);
  // A name that is no identity of a mesh is nobody's.
  if (id === undefined) return NOBODY;
  return {
    principal: peer.slice("spiffe://".length),
    namespace: id.namespace,
  };
});

function compileRule(rule: AuthorizationRule, denies: boolean): Test {
  const from = rule.from?.map(({ source }) => compileSource(source));
  const to = rule.to?.map(({ operation }) =>
    compileOperation(operation, denies),
  );
  return (call) =>
    (from === undefined || from.some((test) => test(call))) &&
    (to === undefined || to.some((test) => test(call)));
}

function compileSource(source: AuthorizationSource): Test {
  return all([
    positive(source.principals, matchText, (call) => call.principal),
    negative(source.notPrincipals, matchText, (call) => call.principal),
    positive(source.namespaces, matchText, (call) => call.namespace),
    negative(source.notNamespaces, matchText, (call) => call.namespace),
  ]);
}

function compileOperation(
  operation: AuthorizationOperation,
  denies: boolean,
): Test {
  const method = (call: Call): string | undefined => call.request?.method;
  const host = (call: Call): string | undefined => call.request?.host;
  const path = (call: Call): string | undefined => call.request?.path;
  const ports = all([
    positive(operation.ports, matchText, (call) => call.port),
    negative(operation.notPorts, matchText, (call) => call.port),
  ]);
  const http = [
    positive(operation.methods, matchText, method),
    negative(operation.notMethods, matchText, method),
    positive(operation.hosts, matchHost, host),
    negative(operation.notHosts, matchHost, host),
    positive(operation.paths, matchPath, path),
    negative(operation.notPaths, matchPath, path),
  ].filter((test) => test !== undefined);
  if (http.length === 0) return ports;
  const request = all(http);
  // On TCP the attributes are missing: a DENY takes the whole port, an ALLOW gives nothing (trap 3).
  return (call) =>
    ports(call) && (call.request === undefined ? denies : request(call));
}

function all(tests: readonly (Test | undefined)[]): Test {
  const present = tests.filter((test) => test !== undefined);
  const [only] = present;
  if (present.length === 1 && only !== undefined) return only;
  return (call) => present.every((test) => test(call));
}

type Pattern = (pattern: string) => (value: string) => boolean;
type Read = (call: Call) => string | undefined;

function positive(
  patterns: readonly string[] | undefined,
  compile: Pattern,
  read: Read,
): Test | undefined {
  if (patterns === undefined) return undefined;
  const tests = patterns.map(compile);
  return (call) => {
    const value = read(call);
    return value !== undefined && tests.some((test) => test(value));
  };
}

/** `notX`: true where the value is missing (trap 5). */
function negative(
  patterns: readonly string[] | undefined,
  compile: Pattern,
  read: Read,
): Test | undefined {
  const test = positive(patterns, compile, read);
  return test === undefined ? undefined : (call) => !test(call);
}

/** Exact, "abc*", "*abc", or "*" for present and not empty (trap 5). */
function matchText(pattern: string): (value: string) => boolean {
  if (pattern === "*") return (value) => value !== "";
  if (pattern.endsWith("*")) {
    const prefix = pattern.slice(0, -1);
    return (value) => value.startsWith(prefix);
  }
  if (pattern.startsWith("*")) {
    const suffix = pattern.slice(1);
    return (value) => value.endsWith(suffix);
  }
  return (value) => value === pattern;
}

/** Hosts: without port and without regard to case. */
function matchHost(pattern: string): (value: string) => boolean {
  return matchText(pattern.toLowerCase().replace(/:([0-9]+|\*)$/, ""));
}

function matchPath(pattern: string): (value: string) => boolean {
  const canonical = upperEscapes(pattern);
  const test = pattern.includes("{")
    ? matchTemplate(canonical)
    : matchText(canonical);
  // "%c3" and "%C3" are one octet to the application (RFC 3986 6.2.2.1), so they are to the pattern.
  return (value) => test(value.includes("%") ? upperEscapes(value) : value);
}

function upperEscapes(text: string): string {
  return text.replace(/%[0-9a-fA-F]{2}/g, (escape) => escape.toUpperCase());
}

/** "{*}" is one element that is not empty, "{**}" the rest of the path or any part of it, slashes and all. */
function matchTemplate(template: string): (value: string) => boolean {
  const wanted = template.split("/");
  const open = wanted.indexOf("{**}");
  const head = open < 0 ? wanted : wanted.slice(0, open);
  const tail = open < 0 ? [] : wanted.slice(open + 1);
  return (value) => {
    const elements = value.split("/");
    if (open < 0 && elements.length !== wanted.length) return false;
    // "{**}" stands for one element at least, which may be empty: "/a/{**}" takes "/a/" and not "/a".
    if (open >= 0 && elements.length < head.length + 1 + tail.length)
      return false;
    const offset = elements.length - tail.length;
    return (
      head.every((want, index) => takes(want, elements[index])) &&
      tail.every((want, index) => takes(want, elements[offset + index]))
    );
  };
}

function takes(want: string, element: string | undefined): boolean {
  return want === "{*}" ? element !== "" : want === element;
}
