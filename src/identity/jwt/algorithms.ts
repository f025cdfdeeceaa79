/** The signature algorithms that a token may have: all of them by key pairs, so no public key can serve as a secret (RFC 8725 3.1, 3.2). */

/** What a key of the algorithm looks like (RFC 7518 6, RFC 8037 2). */
export interface KeyShape {
  readonly kty: "RSA" | "EC" | "OKP";
  /** Undefined for RSA. */
  readonly crv: string | undefined;
}

const RSA: KeyShape = { kty: "RSA", crv: undefined };
const ED25519: KeyShape = { kty: "OKP", crv: "Ed25519" };

/** "none" and the symmetric ones are absent, so nothing selects them. */
const SHAPES: ReadonlyMap<string, KeyShape> = new Map([
  ["RS256", RSA],
  ["RS384", RSA],
  ["RS512", RSA],
  ["PS256", RSA],
  ["PS384", RSA],
  ["PS512", RSA],
  ["ES256", { kty: "EC", crv: "P-256" }],
  ["ES384", { kty: "EC", crv: "P-384" }],
  ["ES512", { kty: "EC", crv: "P-521" }],
  ["EdDSA", ED25519],
  ["Ed25519", ED25519],
]);

/** Undefined for an algorithm that is not accepted. */
export function keyShapeOf(algorithm: string): KeyShape | undefined {
  return SHAPES.get(algorithm);
}
