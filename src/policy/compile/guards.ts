/** What guards a port, callers and tokens: one set for all ports of a workload, and another where a Service leads that policies name. */
import { pieces, type Steps } from "../../core/slices.ts";
import { serviceHost } from "../../mesh/service-key.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import type { PolicyTargets } from "../../resources/policy-targets.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { RequestAuthenticationResource } from "../../resources/request-authentication/spec.ts";
import { compileAuthorization } from "../authorization/authorization.ts";
import { compileCustom } from "../authorization/custom.ts";
import { compileShadow } from "../authorization/shadow.ts";
import type { InboundPort } from "../snapshot.ts";
import { compileTokenRules } from "../tokens/token-rules.ts";
import type { Frame } from "./frame.ts";

type Guards = Pick<
  InboundPort,
  "authorize" | "explain" | "custom" | "shadow" | "tokens"
> & {
  /** Names of the headers that they read. */
  readonly headers: readonly string[];
};

interface GuardInput {
  readonly frame: Pick<Frame, "self" | "mesh">;
  readonly authorizations: readonly AuthorizationPolicyResource[];
  readonly authentications: readonly RequestAuthenticationResource[];
}

/**
 * The ports with their guards. Callers choose the names by which they call, so a policy for a Service guards the application's port
 * that the Service leads to, and with it every other way there (decision 075).
 */
export function* guardPorts<
  P extends Pick<InboundPort, "service" | "targetPort">,
>(input: GuardInput, ports: readonly P[]): Steps<(P & Guards)[]> {
  const { namespace } = input.frame.self;
  const hosts = new Map<string, string>();
  for (const name of yield* targetedIn(input))
    hosts.set(serviceHost(name, namespace), name);
  const leading = new Map<number, Set<string>>();
  for (const { service, targetPort } of ports) {
    const names = leading.get(targetPort) ?? new Set();
    leading.set(targetPort, names);
    const name = hosts.get(service);
    if (name !== undefined) names.add(name);
  }
  const made = new Map<string, Guards>();
  const guarded: (P & Guards)[] = [];
  for (const port of ports) {
    const names = leading.get(port.targetPort) ?? new Set();
    const key = [...names].sort().join(" ");
    const guards = made.get(key) ?? (yield* guardsOf(input, names));
    made.set(key, guards);
    guarded.push({ ...port, ...guards });
  }
  return guarded;
}

/** Names of the Services of the workload's namespace that a policy is for. */
function* targetedIn({
  frame,
  authorizations,
  authentications,
}: GuardInput): Steps<ReadonlySet<string>> {
  const names = new Set<string>();
  const { namespace } = frame.self;
  const policies: readonly (readonly Resource<PolicyTargets>[])[] = [
    authorizations,
    authentications,
  ];
  for (const list of policies)
    for (const piece of pieces(list)) {
      yield;
      for (const { metadata, spec } of piece)
        if (metadata.namespace === namespace)
          for (const { name } of spec.targetRefs ?? []) names.add(name);
    }
  return names;
}

function* guardsOf(
  { frame: { self, mesh }, authorizations, authentications }: GuardInput,
  services: ReadonlySet<string>,
): Steps<Guards> {
  const { namespace, labels } = self;
  const workload = { namespace, labels, services };
  const authorizer = yield* compileAuthorization(
    authorizations,
    workload,
    mesh,
  );
  const custom = yield* compileCustom(authorizations, workload, mesh);
  const shadow = yield* compileShadow(authorizations, workload, mesh);
  yield;
  const tokens = compileTokenRules(authentications, workload);
  return {
    tokens,
    headers: [
      ...authorizer.headers,
      ...(custom?.headers ?? []),
      ...(tokens?.rules ?? []).flatMap(({ headers }) =>
        headers.map(({ name }) => name),
      ),
    ],
    custom,
    shadow,
    authorize: (facts) => authorizer.authorize(facts),
    explain: (facts, notGiven) => authorizer.explain(facts, notGiven),
  };
}
