/** What is expected of a token's claims beside its signature and its time, and how they are read without either. */
import type { WallMs } from "../../core/units.ts";
import type { ClaimSet } from "./claims.ts";
import { decodePart, readToken } from "./token.ts";

/** Any of the audiences; where none is asked for, any will do. */
export function isForAny(aud: unknown, audiences: readonly string[]): boolean {
  return (
    audiences.length === 0 ||
    [aud].flat().some((each) => audiences.some((one) => one === each))
  );
}

/** Clocks of issuers and ours differ; Envoy allows as much. */
export const LEEWAY_SECONDS = 60;

/** Why a token of these claims is not of this time; undefined where it is. As `verify.ts` has it of a genuine one. */
export function whyNotNow(
  { exp, nbf }: ClaimSet,
  now: WallMs,
): string | undefined {
  const seconds = Math.floor(now / 1000);
  if (
    nbf !== undefined &&
    (typeof nbf !== "number" || nbf > seconds + LEEWAY_SECONDS)
  )
    return "the token is not valid yet";
  if (exp !== undefined && typeof exp !== "number")
    return "the token's claim exp is not as expected";
  return exp !== undefined && exp <= seconds - LEEWAY_SECONDS
    ? "the token has expired"
    : undefined;
}

/** Unverified: for an explanation alone. Undefined where the token could not be accepted. */
export function claimsOf(text: string): ClaimSet | undefined {
  return readToken(text).ok ? decodePart(text.split(".")[1] ?? "") : undefined;
}
