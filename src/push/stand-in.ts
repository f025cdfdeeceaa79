/** What acts in the place of a resource that a sidecar cannot read whole: never more open than the resource that is meant. */
import { isWildcard } from "../core/text/wildcards.ts";
import type { AuthorizationPolicySpec } from "../resources/authorization-policy/spec.ts";
import { isInForce } from "../resources/authorization-policy/trial.ts";
import { AUTHORIZATION_POLICY } from "../resources/authorization-policy/schema.ts";
import type { Resource } from "../resources/envelope.ts";
import { isKind } from "../resources/kind.ts";
import { FAULT_INJECTION } from "../resources/fault-injection/schema.ts";
import { MESH, type MeshSpec } from "../resources/mesh/schema.ts";
import {
  PEER_AUTHENTICATION,
  type PeerAuthenticationSpec,
} from "../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../resources/request-authentication/schema.ts";
import type { RequestAuthenticationSpec } from "../resources/request-authentication/spec.ts";
import type { PolicyTargets } from "../resources/policy-targets.ts";
import {
  isExternal,
  SERVICE,
  type ServiceSpec,
} from "../resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../resources/traffic-policy/schema.ts";
import type {
  TrafficPolicyResource,
  TrafficPolicySpec,
} from "../resources/traffic-policy/settings.ts";
import { WORKLOAD } from "../resources/workload/schema.ts";

/** "older": the version that the sidecar has. "closed": a resource that lets nothing through. "rest": all but what it does not know. */
export type Instead = (typeof INSTEAD)[number];

export const INSTEAD = ["older", "closed", "rest", "nothing"] as const;

const NO_KEYS = '{"keys":[]}';

/** Resources that are named, and fields of each; the others are counted. */
export const MOST_UNREAD_NAMED = 20;

/** What a sidecar does not know of a resource. */
export interface Unread {
  /** By their paths, "[]" for any index; a value as "PATH=VALUE". */
  readonly fields: readonly string[];
  /** What acts in its place. */
  readonly instead: Instead;
}

/**
 * Whether an older version goes on. Not an older Workload: it would be called at an address that it may have left. Nor an older fault:
 * it would be injected where nobody means it any more. Nor an older policy for calls in plaintext, where they are to be over TLS. Nor the older version of a policy that is to change no verdict.
 */
export function keepsOlder(resource: Resource): boolean {
  const { kind } = resource;
  if (kind === WORKLOAD.kind || kind === FAULT_INJECTION.kind) return false;
  if (isKind(TRAFFIC_POLICY, resource)) return !hasTls(resource);
  return !isKind(AUTHORIZATION_POLICY, resource) || isInForce(resource);
}

/**
 * Where there is no older version: what lets nothing through that the resource would not. `unknown`: paths of what the sidecar does not
 * know. Undefined of what protects nothing: it is left out.
 */
export function closedForm(
  resource: Resource,
  unknown: readonly string[],
): Resource | undefined {
  const { apiVersion, kind, metadata } = resource;
  const head = { apiVersion, kind, metadata };
  if (isKind(AUTHORIZATION_POLICY, resource))
    return isInForce(resource)
      ? { ...head, spec: closedPolicy(resource.spec, unknown) }
      : undefined;
  if (isKind(PEER_AUTHENTICATION, resource)) {
    const spec: PeerAuthenticationSpec = {
      ...targetsOf(resource.spec, unknown),
      mtls: { mode: "STRICT" },
    };
    return { ...head, spec };
  }
  if (isKind(REQUEST_AUTHENTICATION, resource))
    return { ...head, spec: closedTokens(resource.spec, unknown) };
  if (isKind(TRAFFIC_POLICY, resource))
    return hasTls(resource)
      ? { ...head, spec: closedTraffic(resource.spec) }
      : undefined;
  if (isKind(SERVICE, resource))
    return isExternal(resource.spec) && namedHosts(resource.spec).length > 0
      ? { ...head, spec: closedService(resource.spec) }
      : undefined;
  if (isKind(MESH, resource))
    return { ...head, spec: closedMesh(resource.spec, unknown) };
  return undefined;
}

/** Its calls go over TLS or not at all. A policy without TLS protects nothing. */
export function hasTls({ spec }: TrafficPolicyResource): boolean {
  return spec.tls !== undefined && spec.tls.mode !== "DISABLE";
}

/** No server can prove the name (RFC 6761). */
function closedTraffic({ targetRefs }: TrafficPolicySpec): TrafficPolicySpec {
  return {
    targetRefs,
    tls: { mode: "SIMPLE", subjectAltNames: ["closed.invalid"] },
  };
}

/** Callers know its hosts, and the kernel connects nobody to where they lead: without them calls would pass through. */
function closedService(spec: ServiceSpec): ServiceSpec {
  return {
    ...spec,
    hosts: namedHosts(spec),
    resolution: "STATIC",
    endpoints: [{ address: "255.255.255.255" }],
  };
}

/** Hosts below a wildcard have no fixed address, and lead nowhere else. */
function namedHosts({ hosts = [] }: ServiceSpec): readonly string[] {
  return hosts.filter((host) => !isWildcard(host));
}

/**
 * It holds the trust domain and what all else stands on: the rest of it acts, and calls that no policy allows are refused. Where the
 * value of a switch is what is not known, it is at its closed end: a weaker normalisation than is meant is a way around a DENY.
 */
function closedMesh(spec: MeshSpec, unknown: readonly string[]): MeshSpec {
  const isUnknown = (field: string): boolean =>
    unknown.some((path) => path.split("=")[0] === `spec.${field}`);
  return {
    ...spec,
    authorization: { defaultAction: "DENY" },
    ...(isUnknown("pathNormalization")
      ? { pathNormalization: "DECODE_AND_MERGE_SLASHES" }
      : {}),
    ...(isUnknown("outboundTrafficPolicy")
      ? { outboundTrafficPolicy: "REGISTRY_ONLY" }
      : {}),
    ...(isUnknown("mtls.mode")
      ? { mtls: { ...spec.mtls, mode: "STRICT" } }
      : {}),
  };
}

/** DENY matches every request; ALLOW, and any action that is not known, allows none. */
function closedPolicy(
  spec: AuthorizationPolicySpec,
  unknown: readonly string[],
): AuthorizationPolicySpec {
  const targets = targetsOf(spec, unknown);
  return spec.action === "DENY"
    ? { ...targets, action: "DENY", rules: [{}] }
    : { ...targets, action: "ALLOW" };
}

/**
 * No token is accepted: its rules have no keys, and nobody is a principal. What they look at and set goes on as far as it is known, so
 * that callers cannot set it in their place.
 */
function closedTokens(
  spec: RequestAuthenticationSpec,
  unknown: readonly string[],
): RequestAuthenticationSpec {
  const jwtRules = (spec.jwtRules ?? []).map(
    ({ jwksUri: _address, ...rule }) => ({ ...rule, jwks: NO_KEYS }),
  );
  return {
    ...targetsOf(spec, unknown),
    ...(jwtRules.length === 0 ? {} : { jwtRules }),
  };
}

/** What the policy is for; nothing where that is what is not known: it is for the whole namespace then. */
function targetsOf(
  { selector, targetRefs }: PolicyTargets,
  unknown: readonly string[],
): PolicyTargets {
  const isKnown = !unknown.some(
    (path) =>
      path.startsWith("spec.selector") || path.startsWith("spec.targetRefs"),
  );
  if (!isKnown) return {};
  if (targetRefs !== undefined) return { targetRefs };
  return selector === undefined ? {} : { selector };
}
