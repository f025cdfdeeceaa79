/** Which of an issuer's keys may have signed a token. */
import type { KeySet, PublicKey } from "../../core/text/key-set.ts";
import { keyShapeOf } from "./algorithms.ts";
import type { UnverifiedToken } from "./token.ts";

/** Keys that a token without a key ID is tried with: each costs a verification. */
const MOST_TRIED = 8;

/**
 * Those that may have signed the token: of its algorithm's shape, and of its key ID where both have one. A key without an ID stands
 * for any, as in Envoy.
 */
export function keysFor(
  { keys }: KeySet,
  { algorithm, keyId }: UnverifiedToken,
): readonly PublicKey[] {
  const shape = keyShapeOf(algorithm);
  if (shape === undefined) return [];
  const fits = keys.filter(
    (key) =>
      key.jwk.kty === shape.kty &&
      key.jwk["crv"] === shape.crv &&
      (key.algorithm === undefined || key.algorithm === algorithm) &&
      (key.id === undefined || keyId === undefined || key.id === keyId),
  );
  const named = fits.filter(({ id }) => id !== undefined && id === keyId);
  return (named.length > 0 ? named : fits)
    .slice(0, MOST_TRIED)
    .map(({ jwk }) => jwk);
}
