/**
 * Whether a call may reach a workload: DENY before ALLOW before the mesh's default (AuthorizationPolicy of Istio).
 *
 * One ALLOW policy for a workload turns its default into "deny what is not listed" (trap 2); a policy without rules matches
 * nothing, so an empty ALLOW denies everything (trap 1). Every policy that applies counts, they add up (trap 13).
 */
import { memo } from "../../core/memo.ts";
import {
  filterSteps,
  pieces,
  sortSteps,
  type Steps,
} from "../../core/slices.ts";
import type { SpiffeUri } from "../../core/units.ts";
import { parseSpiffeId } from "../../identity/spiffe.ts";
import type {
  AuthorizationOperation,
  AuthorizationPolicyResource,
  AuthorizationRule,
  AuthorizationSource,
} from "../../resources/authorization-policy/spec.ts";
import { MESH_NAME, type DefaultAction } from "../../resources/mesh/schema.ts";
import {
  applies,
  nameOf,
  passedOverOf,
  type AuthorizedWorkload,
} from "./applies.ts";
import {
  matchHost,
  matchPath,
  matchText,
  type CompilePattern,
} from "./patterns.ts";

/** What is known of a call. Identity comes from the verified peer certificate of its own connection only (law 5, trap 4). */
export interface AuthorizationFacts {
  /** SPIFFE id of the peer, as a URI; undefined on plaintext. */
  readonly peer: SpiffeUri | undefined;
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
  /** How `authorize` came to its verdict, by the same tests. */
  explain(facts: AuthorizationFacts): AuthorizationTrace;
  /** "NAMESPACE/NAME" of the policies that apply, DENY first. */
  readonly policies: readonly string[];
}

export interface AuthorizationTrace {
  readonly verdict: Verdict;
  /** In the order in which they were asked; the last one matched if one did. */
  readonly considered: readonly ConsideredRule[];
  /** "NAMESPACE/NAME" of the policies that were given and do not apply to this workload, and why. */
  readonly passedOver: readonly {
    readonly policy: string;
    readonly why: string;
  }[];
}

export interface ConsideredRule {
  /** "NAMESPACE/NAME" */
  readonly policy: string;
  readonly action: "DENY" | "ALLOW";
  /** Undefined for a policy without rules. */
  readonly rule: number | undefined;
  /** Why it did not match; undefined where it did. */
  readonly why: string | undefined;
}

const ALLOW: Verdict = { kind: "allow" };

/** The facts with the peer's name taken apart once, for all rules. */
interface Call {
  readonly principal: string | undefined;
  readonly namespace: string | undefined;
  readonly port: string;
  readonly request: AuthorizedRequest | undefined;
}

interface Test {
  readonly meets: (call: Call) => boolean;
  /** What in a call does not meet it, found by `meets` itself. */
  readonly why: (call: Call) => string;
}

interface CompiledPolicy {
  readonly name: string;
  readonly action: "DENY" | "ALLOW";
  readonly rules: readonly Test[];
  /** One a rule, so that a refusal allocates nothing. */
  readonly denials: readonly Verdict[];
}

/** By steps: a mesh may have thousands of policies, for one workload or for all of them. */
export function* compileAuthorization(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
  defaultAction: DefaultAction,
): Steps<Authorizer> {
  const applying = yield* filterSteps(policies, (policy) =>
    applies(policy, workload),
  );
  const named: (readonly [string, AuthorizationPolicyResource])[] = [];
  for (const piece of pieces(applying)) {
    yield;
    for (const policy of piece) named.push([nameOf(policy), policy]);
  }
  const sorted = yield* sortSteps(named, ([left], [right]) =>
    left < right ? -1 : 1,
  );
  const deny: CompiledPolicy[] = [];
  const allow: CompiledPolicy[] = [];
  for (const [, policy] of sorted) {
    yield;
    const list = policy.spec.action === "DENY" ? deny : allow;
    list.push(compilePolicy(policy));
  }
  const names = [...deny, ...allow].map((policy) => policy.name);
  // Asked for by `explain` alone: the mesh may have thousands of them.
  let notApplying: AuthorizationTrace["passedOver"] | undefined;
  const passedOver = (): AuthorizationTrace["passedOver"] =>
    (notApplying ??= passedOverOf(policies, workload));
  const otherwise = verdictWithoutMatch(allow, defaultAction);

  const authorize = (facts: AuthorizationFacts): Verdict => {
    const call = callOf(facts);
    for (const policy of deny) {
      const rule = policy.rules.findIndex((test) => test.meets(call));
      if (rule >= 0) return policy.denials[rule] ?? otherwise;
    }
    for (const policy of allow)
      if (policy.rules.some((test) => test.meets(call))) return ALLOW;
    return otherwise;
  };
  return {
    policies: names,
    authorize:
      deny.length === 0 && allow.every((policy) => policy.rules.length === 0)
        ? () => otherwise
        : authorize,
    explain: (facts) => ({
      verdict: authorize(facts),
      considered: considered([...deny, ...allow], callOf(facts)),
      passedOver: passedOver(),
    }),
  };
}

/** The rules in turn, to the first that matches. */
function considered(
  policies: readonly CompiledPolicy[],
  call: Call,
): ConsideredRule[] {
  const asked: ConsideredRule[] = [];
  for (const { name: policy, action, rules } of policies) {
    if (rules.length === 0)
      asked.push({
        policy,
        action,
        rule: undefined,
        why: "it has no rules, so it matches nothing",
      });
    for (const [rule, test] of rules.entries()) {
      const matches = test.meets(call);
      const why = matches ? undefined : test.why(call);
      asked.push({ policy, action, rule, why });
      if (matches) return asked;
    }
  }
  return asked;
}

/**
 * Why the policy is not for the workload; undefined where it is. Root namespace: the whole mesh (trap 17); any other: its own
 * workloads. The selector narrows either (trap 16).
 */
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
    action: denies ? "DENY" : "ALLOW",
    rules: rules.map((rule) => compileRule(rule, denies)),
    denials: rules.map((_rule, index) => ({
      kind: "deny",
      code: "DENIED",
      policy: name,
      rule: index,
    })),
  };
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
const callerOf: (peer: SpiffeUri) => Caller = memo((peer) => {
  const id = parseSpiffeId(peer);
  // Nobody has a name that is not an identity of a mesh.
  if (id === undefined) return NOBODY;
  return {
    principal: peer.slice("spiffe://".length),
    namespace: id.namespace,
  };
});

function compileRule(rule: AuthorizationRule, denies: boolean): Test {
  const parts = [
    any(
      "from",
      rule.from?.map(({ source }) => compileSource(source)),
    ),
    any(
      "to",
      rule.to?.map(({ operation }) => compileOperation(operation, denies)),
    ),
  ];
  return all(parts);
}

function compileSource(source: AuthorizationSource): Test {
  const principal = (call: Call): string | undefined => call.principal;
  const namespace = (call: Call): string | undefined => call.namespace;
  return all([
    positive("principal", source.principals, matchText, principal),
    negative("principal", source.notPrincipals, matchText, principal),
    positive("namespace", source.namespaces, matchText, namespace),
    negative("namespace", source.notNamespaces, matchText, namespace),
  ]);
}

function compileOperation(
  operation: AuthorizationOperation,
  denies: boolean,
): Test {
  const method = (call: Call): string | undefined => call.request?.method;
  const host = (call: Call): string | undefined => call.request?.host;
  const path = (call: Call): string | undefined => call.request?.path;
  const port = (call: Call): string => call.port;
  const ports = [
    positive("port", operation.ports, matchText, port),
    negative("port", operation.notPorts, matchText, port),
  ];
  const http = [
    positive("method", operation.methods, matchText, method),
    negative("method", operation.notMethods, matchText, method),
    positive("host", operation.hosts, matchHost, host),
    negative("host", operation.notHosts, matchHost, host),
    positive("path", operation.paths, matchPath, path),
    negative("path", operation.notPaths, matchPath, path),
  ].filter((test) => test !== undefined);
  return http.length === 0
    ? all(ports)
    : all([...ports, ofHttp(all(http), denies)]);
}

/** On TCP the attributes are missing: a DENY takes the whole port, an ALLOW gives nothing (trap 3). */
function ofHttp(test: Test, denies: boolean): Test {
  return {
    meets: (call) => (call.request === undefined ? denies : test.meets(call)),
    why: (call) =>
      call.request === undefined
        ? "not an HTTP request, so the rule's HTTP fields cannot match"
        : test.why(call),
  };
}

function all(tests: readonly (Test | undefined)[]): Test {
  const present = tests.filter((test) => test !== undefined);
  const [only] = present;
  if (present.length === 1 && only !== undefined) return only;
  return {
    meets: (call) => present.every((test) => test.meets(call)),
    why: (call) => present.find((test) => !test.meets(call))?.why(call) ?? "",
  };
}

/** One of the list is enough. */
function any(
  what: string,
  tests: readonly Test[] | undefined,
): Test | undefined {
  return tests === undefined
    ? undefined
    : {
        meets: (call) => tests.some((test) => test.meets(call)),
        why: (call) =>
          tests
            .map((test, index) => `${what}[${index}]: ${test.why(call)}`)
            .join("; "),
      };
}

type Read = (call: Call) => string | undefined;

function positive(
  of: string,
  patterns: readonly string[] | undefined,
  compile: CompilePattern,
  read: Read,
): Test | undefined {
  if (patterns === undefined) return undefined;
  const tests = patterns.map(compile);
  return {
    meets(call) {
      const value = read(call);
      return value !== undefined && tests.some((test) => test(value));
    },
    why(call) {
      const value = read(call);
      return value === undefined
        ? `the call has no ${of}, which comes from its caller's certificate`
        : `${of} ${JSON.stringify(value)} is not among ${patterns.join(", ")}`;
    },
  };
}

/** `notX`: true where the value is missing (trap 5). */
function negative(
  of: string,
  patterns: readonly string[] | undefined,
  compile: CompilePattern,
  read: Read,
): Test | undefined {
  const test = positive(of, patterns, compile, read);
  return test === undefined
    ? undefined
    : {
        meets: (call) => !test.meets(call),
        why: (call) =>
          `${of} ${JSON.stringify(read(call))} is one that is left out (${patterns?.join(", ") ?? ""})`,
      };
}
