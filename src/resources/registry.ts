/** Every kind there is, and how to find one by what people and clients call it. */
import { AUTHORIZATION_POLICY } from "./authorization-policy/schema.ts";
import { FAULT_INJECTION } from "./fault-injection/schema.ts";
import { GRPC_ROUTE } from "./grpc-route/schema.ts";
import { HTTP_ROUTE } from "./http-route/schema.ts";
import type { KindDefinition } from "./kind.ts";
import { MESH } from "./mesh/schema.ts";
import { PEER_AUTHENTICATION } from "./peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "./request-authentication/schema.ts";
import { REVOCATION } from "./revocation/schema.ts";
import { SERVICE } from "./service/schema.ts";
import { TELEMETRY } from "./telemetry/schema.ts";
import { TRAFFIC_POLICY } from "./traffic-policy/schema.ts";
import { WORKLOAD } from "./workload/schema.ts";

export type { KindDefinition } from "./kind.ts";

/** In the order in which they are best applied and shown. */
export const KINDS: readonly KindDefinition[] = [
  MESH,
  SERVICE,
  WORKLOAD,
  HTTP_ROUTE,
  GRPC_ROUTE,
  TRAFFIC_POLICY,
  FAULT_INJECTION,
  PEER_AUTHENTICATION,
  REQUEST_AUTHENTICATION,
  AUTHORIZATION_POLICY,
  TELEMETRY,
  REVOCATION,
];

export function kindOf(
  apiVersion: string,
  kind: string,
): KindDefinition | undefined {
  return KINDS.find(
    (definition) =>
      definition.apiVersion === apiVersion && definition.kind === kind,
  );
}

/** By the kind's name alone; names are unique over the groups. */
export function kindNamed(kind: string): KindDefinition | undefined {
  return KINDS.find((definition) => definition.kind === kind);
}

/** By what a person types: plural, singular, short name or kind, in any case, optionally with ".GROUP". */
export function kindByAlias(alias: string): KindDefinition | undefined {
  const wanted = alias.toLowerCase();
  const dot = wanted.indexOf(".");
  const name = dot < 0 ? wanted : wanted.slice(0, dot);
  const group = dot < 0 ? undefined : wanted.slice(dot + 1);
  return KINDS.find(
    (definition) =>
      (group === undefined || definition.group === group) &&
      (definition.plural === name ||
        definition.singular === name ||
        definition.shortNames.includes(name)),
  );
}
