/** AuthorizationPolicy as it is written: who may call a workload, and how (Istio). */
import type { Resource } from "../envelope.ts";
import type { PolicyTargets } from "../policy-targets.ts";

export type AuthorizationPolicyResource = Resource<AuthorizationPolicySpec>;

export interface AuthorizationPolicySpec extends PolicyTargets {
  /** Absent: ALLOW. */
  readonly action?: "ALLOW" | "DENY" | "AUDIT" | "CUSTOM";
  /** With CUSTOM alone: what is asked about requests that a rule matches, by its name in the Mesh. */
  readonly provider?: { readonly name: string };
  /** Any of these. Absent: no request matches, so ALLOW denies all and DENY does nothing; `[{}]`: every request matches (trap 1). */
  readonly rules?: readonly AuthorizationRule[];
}

/** All of what is there. */
export interface AuthorizationRule {
  /** Any of these. */
  readonly from?: readonly { readonly source: AuthorizationSource }[];
  /** Any of these. */
  readonly to?: readonly { readonly operation: AuthorizationOperation }[];
  /** All of these. */
  readonly when?: readonly AuthorizationCondition[];
}

/**
 * Each list: any of its values; the lists together: all. Values are exact, "abc*", "*abc", or "*" for present and not empty;
 * a `not` list matches where the value is missing (trap 5). Only a verified peer certificate gives identities (trap 4).
 */
export interface AuthorizationSource {
  /** "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT", without "spiffe://". */
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  /** "ISSUER/SUBJECT" of a verified token; over TCP nobody has one. */
  readonly requestPrincipals?: readonly string[];
  readonly notRequestPrincipals?: readonly string[];
  readonly namespaces?: readonly string[];
  readonly notNamespaces?: readonly string[];
  /** "NAMESPACE/ACCOUNT", or "ACCOUNT" in the policy's own namespace; exact. */
  readonly serviceAccounts?: readonly string[];
  readonly notServiceAccounts?: readonly string[];
  readonly trustDomains?: readonly string[];
  readonly notTrustDomains?: readonly string[];
  /** Addresses and CIDR ranges: of the connection's other end. */
  readonly ipBlocks?: readonly string[];
  readonly notIpBlocks?: readonly string[];
  /** By X-Forwarded-For, as far as the Mesh's trusted hops vouch for it. */
  readonly remoteIpBlocks?: readonly string[];
  readonly notRemoteIpBlocks?: readonly string[];
}

export interface AuthorizationOperation {
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  /** Also templates: "{*}" is one element, "{**}" any number. */
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
  /** Without port, compared without regard to case. */
  readonly hosts?: readonly string[];
  readonly notHosts?: readonly string[];
  /** Numbers of the workload's ports, as text. */
  readonly ports?: readonly string[];
  readonly notPorts?: readonly string[];
}

/** Any of `values`, and none of `notValues`. */
export interface AuthorizationCondition {
  /** One of `CONDITION_KEYS`, `request.headers[NAME]`, or `request.auth.claims[NAME]` with a further name for each level. */
  readonly key: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}
