/** Whether a token is an issuer's, for this audience, and of this time: the cryptography is jose's (RFC 7515, RFC 7519 7.2). */
import type { jwtVerify } from "jose";
import { dateOf } from "../../core/clock.ts";
import type { PublicKey } from "../../core/text/key-set.ts";
import type { WallMs } from "../../core/units.ts";
import type { ClaimSet } from "./claims.ts";
import { isForAny, LEEWAY_SECONDS } from "./expected.ts";
import type { UnverifiedToken } from "./token.ts";
import { late } from "../../runtime/late.ts";

export interface Expectation {
  readonly issuer: string;
  /** Any of them; empty: whatever audience it is for. */
  readonly audiences: readonly string[];
}

export type VerifyResult =
  | {
      readonly kind: "verified";
      readonly claims: ClaimSet;
      /** Undefined: the token never ends. */
      readonly expiresAt: WallMs | undefined;
    }
  | {
      /** "audience": the token is genuine, and for somebody else. */
      readonly kind: "invalid" | "audience";
      readonly why: string;
    };

/** Where tokens are expected, jose is loaded before the first one comes: most sidecars verify none. */
export function loadJwt(): Promise<{ readonly jwtVerify: typeof jwtVerify }> {
  return late(() => import("jose"));
}

/** By the first of the keys that verifies the signature. `now`: wall milliseconds. */
export async function verifyToken(
  { text, algorithm }: UnverifiedToken,
  keys: readonly PublicKey[],
  { issuer, audiences }: Expectation,
  now: WallMs,
): Promise<VerifyResult> {
  const { jwtVerify } = await loadJwt();
  let failure = invalid("no key of the issuer fits the token");
  for (const key of keys) {
    try {
      const { payload } = await jwtVerify(text, key, {
        algorithms: [algorithm],
        issuer,
        clockTolerance: LEEWAY_SECONDS,
        currentDate: dateOf(now),
      });
      if (!isForAny(payload.aud, audiences))
        return { kind: "audience", why: "the token is for another audience" };
      return {
        kind: "verified",
        claims: payload,
        expiresAt:
          payload.exp === undefined
            ? undefined
            : (payload.exp + LEEWAY_SECONDS) * 1000,
      };
    } catch (error) {
      failure = invalid(failureText(error));
      // The signature was right, so no other key can do better.
      if (codeOf(error).startsWith("ERR_JWT_")) return failure;
    }
  }
  return failure;
}

function invalid(why: string): VerifyResult & { readonly kind: "invalid" } {
  return { kind: "invalid", why };
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** In words of our own: the library's say parts of the token, and change with its version. */
function failureText(error: unknown): string {
  const claim =
    error instanceof Error && "claim" in error ? String(error.claim) : "";
  switch (codeOf(error)) {
    case "ERR_JWT_EXPIRED":
      return "the token has expired";
    case "ERR_JWT_CLAIM_VALIDATION_FAILED":
      return claim === "nbf"
        ? "the token is not valid yet"
        : `the token's claim ${claim} is not as expected`;
    case "ERR_JWS_SIGNATURE_VERIFICATION_FAILED":
      return "the token's signature is not the issuer's";
    default:
      return "the token cannot be verified";
  }
}
