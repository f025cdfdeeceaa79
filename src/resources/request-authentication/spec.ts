/** RequestAuthentication as it is written: whose tokens a workload accepts, and where they are in a request (Istio). */
import type { Resource } from "../envelope.ts";
import type { PolicyTargets } from "../policy-targets.ts";

export type RequestAuthenticationResource = Resource<RequestAuthenticationSpec>;

export interface RequestAuthenticationSpec extends PolicyTargets {
  /** A token has to satisfy one of them; a request without a token passes (trap 6). */
  readonly jwtRules?: readonly JwtRule[];
}

export interface JwtRule {
  /** The claim `iss`, exactly. */
  readonly issuer: string;
  /** One of them has to be in the claim `aud`. Absent: any audience. */
  readonly audiences?: readonly string[];
  /** Where the issuer's keys are. Absent, as `jwks`: the issuer's OpenID document says where. */
  readonly jwksUri?: string;
  /** The keys themselves, as JSON. */
  readonly jwks?: string;
  /** Without any of the three: `Authorization: Bearer`, and the query parameter `access_token`. */
  readonly fromHeaders?: readonly JwtHeader[];
  readonly fromParams?: readonly string[];
  readonly fromCookies?: readonly string[];
  /** Gets the token's payload in base64url. */
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders?: readonly ClaimToHeader[];
  /** Absent: the token is taken out of the request. */
  readonly forwardOriginalToken?: boolean;
  /** Besides `scope` and `permission`. */
  readonly spaceDelimitedClaims?: readonly string[];
  /** For a fetch of the keys. */
  readonly timeout?: string;
}

export interface JwtHeader {
  readonly name: string;
  /** Stands before the token, exactly. */
  readonly prefix?: string;
}

export interface ClaimToHeader {
  readonly header: string;
  /** A name, or names with dots between them for a claim in claims. */
  readonly claim: string;
}

/** In force where a rule says nothing. */
export const JWT_TIMEOUT = "5s";
