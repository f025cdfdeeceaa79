/** An issuer of tokens for tests: keys of every algorithm, tokens of any form, good and bad. */
import { createHmac } from "node:crypto";
import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
} from "jose";

export const ISSUER = "https://idp.example.com";

export interface TestKey {
  readonly id: string;
  readonly algorithm: string;
  readonly secret: CryptoKey;
  /** With `kid`, `alg` and `use`. */
  readonly jwk: JWK;
  /** As PEM, which an attacker may take for a secret. */
  readonly pem: string;
}

export async function testKey(algorithm: string, id: string): Promise<TestKey> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, {
    extractable: true,
  });
  return {
    id,
    algorithm,
    secret: privateKey,
    jwk: {
      ...(await exportJWK(publicKey)),
      kid: id,
      alg: algorithm,
      use: "sig",
    },
    pem: await exportSPKI(publicKey),
  };
}

export function keySetText(...keys: readonly (TestKey | JWK)[]): string {
  return JSON.stringify({
    keys: keys.map((key) => ("jwk" in key ? key.jwk : key)),
  });
}

export type Claims = Readonly<Record<string, unknown>>;

/** Seconds from now. */
export function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

export interface TokenForm {
  /** Over `iss`, `sub` and `exp`; undefined takes one out. */
  readonly claims?: Claims;
  /** Over `alg` and `kid`; undefined takes one out. */
  readonly header?: Readonly<Record<string, unknown>>;
}

/** A token of the key, good unless told otherwise. */
export async function token(
  key: TestKey,
  { claims, header }: TokenForm = {},
): Promise<string> {
  const payload = defined({
    iss: ISSUER,
    sub: "alice",
    exp: inSeconds(600),
    ...claims,
  });
  const head = defined({ alg: key.algorithm, kid: key.id, ...header });
  if (head["crit"] !== undefined || head["alg"] !== key.algorithm)
    return forged(head, payload, await signatureOf(key, head, payload));
  return new SignJWT(payload)
    .setProtectedHeader(head as { alg: string })
    .sign(key.secret);
}

/** Any header and payload with any signature. */
export function forged(
  header: unknown,
  payload: unknown,
  signature: string,
): string {
  return `${part(header)}.${part(payload)}.${signature}`;
}

/** Signed by a text that both sides know: the public key, in the classic attack. */
export function signedByText(
  header: unknown,
  payload: unknown,
  secret: string,
): string {
  const text = `${part(header)}.${part(payload)}`;
  const signature = createHmac("sha256", secret)
    .update(text)
    .digest("base64url");
  return `${text}.${signature}`;
}

/** Genuine for the very bytes, whatever the header says of algorithms and extensions. */
async function signatureOf(
  key: TestKey,
  header: unknown,
  payload: unknown,
): Promise<string> {
  const signature = await crypto.subtle.sign(
    key.algorithm.startsWith("ES")
      ? { name: "ECDSA", hash: `SHA-${key.algorithm.slice(2)}` }
      : key.secret.algorithm.name,
    key.secret,
    Buffer.from(`${part(header)}.${part(payload)}`),
  );
  return Buffer.from(signature).toString("base64url");
}

function part(value: unknown): string {
  return Buffer.from(
    typeof value === "string" ? value : JSON.stringify(value),
  ).toString("base64url");
}

function defined(values: Claims): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  );
}
