/** The public keys of an issuer (JSON Web Key Set, RFC 7517), as far as they can verify a token. */
import { isObject } from "./json.ts";

/** More than that has no honest cause: issuers hold two or three. */
export const MOST_KEYS = 128;

/** A document of more is refused unread. */
export const LARGEST_KEY_SET: number = 256 * 1024;

/** Public members alone; the same object as long as the set is the same, because the library imports a key once for each. */
export interface PublicKey {
  readonly kty: string;
  readonly [member: string]: string;
}

interface KnownKey {
  readonly id: string | undefined;
  readonly algorithm: string | undefined;
  readonly jwk: PublicKey;
}

export interface KeySet {
  /** The text that it was read from: tells one version from the next. */
  readonly text: string;
  readonly keys: readonly KnownKey[];
}

export type ReadKeySet =
  | { readonly ok: true; readonly keySet: KeySet }
  | { readonly ok: false; readonly why: string };

/** Keys of other sorts are passed over (RFC 7517 5); a document without the list is not a key set. */
export function readKeySet(text: string): ReadKeySet {
  if (text.length > LARGEST_KEY_SET)
    return refused(`is longer than ${LARGEST_KEY_SET} characters`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return refused("is not JSON");
  }
  const list = isObject(document) ? document["keys"] : undefined;
  if (!Array.isArray(list)) return refused('has no list "keys"');
  if (list.length > MOST_KEYS)
    return refused(`has more than ${MOST_KEYS} keys`);
  return {
    ok: true,
    keySet: { text, keys: list.flatMap((key) => knownKey(key) ?? []) },
  };
}

function refused(why: string): ReadKeySet {
  return { ok: false, why };
}

/** The public members of each type (RFC 7518 6.2, 6.3; RFC 8037 2): a private key's rest is left out. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  RSA: ["n", "e"],
  EC: ["crv", "x", "y"],
  OKP: ["crv", "x"],
};

/** Undefined of a key that may not verify, or is not of a sort that is accepted: a symmetric one never is. */
function knownKey(key: unknown): KnownKey | undefined {
  if (!isObject(key)) return undefined;
  const { kty, use, key_ops: operations, kid, alg } = key;
  if (typeof kty !== "string" || !Object.hasOwn(MEMBERS, kty)) return undefined;
  if (use !== undefined && use !== "sig") return undefined;
  if (
    operations !== undefined &&
    !(Array.isArray(operations) && operations.includes("verify"))
  )
    return undefined;
  if (kid !== undefined && typeof kid !== "string") return undefined;
  if (alg !== undefined && typeof alg !== "string") return undefined;
  const jwk: Record<string, string> & { kty: string } = { kty };
  for (const name of MEMBERS[kty] ?? []) {
    const value = key[name];
    if (typeof value !== "string") return undefined;
    jwk[name] = value;
  }
  return { id: kid, algorithm: alg, jwk };
}

/** Whether the document holds what must not be in a config: a private key, or a secret that both sides would share. */
export function holdsSecret(text: string): boolean {
  try {
    const document: unknown = JSON.parse(text);
    const list = isObject(document) ? document["keys"] : undefined;
    return (
      Array.isArray(list) &&
      list.some(
        (key) =>
          isObject(key) &&
          (key["kty"] === "oct" || ["d", "k", "p"].some((name) => name in key)),
      )
    );
  } catch {
    return false;
  }
}
