/** What is expected of a token's claims beside its signature and its time, and how they are read without either. */
import type { ClaimSet } from "./claims.ts";
import { decodePart, readToken } from "./token.ts";

/** Any of the audiences; where none is asked for, any will do. */
export function isForAny(aud: unknown, audiences: readonly string[]): boolean {
  return (
    audiences.length === 0 ||
    [aud].flat().some((each) => audiences.some((one) => one === each))
  );
}

/** Unverified: for an explanation alone. Undefined where the token could not be accepted. */
export function claimsOf(text: string): ClaimSet | undefined {
  return readToken(text).ok ? decodePart(text.split(".")[1] ?? "") : undefined;
}
