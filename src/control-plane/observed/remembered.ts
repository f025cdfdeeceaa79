/** A call as it is remembered, for the evaluator of the sidecars, and which rules read what is not remembered of it. */
import type { AuthorizationFacts } from "../../policy/authorization/call.ts";
import type { ConditionKey } from "../../resources/authorization-policy/conditions.ts";
import type {
  AuthorizationPolicyResource,
  AuthorizationRule,
  AuthorizationSource,
} from "../../resources/authorization-policy/spec.ts";
import type { SeenCall } from "./observed-calls.ts";

/** Fields of a source that the identity of a caller decides, or that it has none. */
const SOURCE: ReadonlySet<string> = new Set<keyof AuthorizationSource>([
  ...(["principals", "notPrincipals"] as const),
  ...(["namespaces", "notNamespaces"] as const),
  ...(["serviceAccounts", "notServiceAccounts"] as const),
  ...(["trustDomains", "notTrustDomains"] as const),
]);

const CONDITIONS: ReadonlySet<string> = new Set<ConditionKey>([
  ...(["source.namespace", "source.principal"] as const),
  ...(["source.serviceAccount", "destination.port"] as const),
]);

/** Header fields, tokens, and the addresses of the workload and of callers with an identity are not remembered: a rule that asks for one finds none. */
export function factsOf({
  peer,
  address,
  port,
  method,
  host,
  path,
}: SeenCall): AuthorizationFacts {
  return {
    peer: peer === "" ? undefined : peer,
    port,
    connection: {
      remoteAddress: address === "" ? undefined : address,
      localAddress: undefined,
    },
    request:
      method === ""
        ? undefined
        : {
            method,
            host,
            path,
            header: () => undefined,
            lines: () => undefined,
          },
  };
}

/** A rule of it reads what is not remembered, so that remembered calls may fare otherwise than new ones. */
export function readsForgotten({ spec }: AuthorizationPolicyResource): boolean {
  return (spec.rules ?? []).some(ruleReadsForgotten);
}

function ruleReadsForgotten({
  from = [],
  when = [],
}: AuthorizationRule): boolean {
  return (
    from.some(({ source }) =>
      Object.keys(source).some((field) => !SOURCE.has(field)),
    ) || when.some(({ key }) => !CONDITIONS.has(key))
  );
}
