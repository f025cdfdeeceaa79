/** A token that callers bring, and the key by which every contender verifies it: made once, so that it is the same for all. */
import { generateKeyPairSync, sign } from "node:crypto";
import { systemClock } from "../src/core/clock.ts";

export const ISSUER = "https://idp.bench";
export const AUDIENCE = "bench";

/** Seconds: longer than all runs together. */
const LIFE = 24 * 3600;

export interface BenchToken {
  readonly token: string;
  /** A set of its one key, as JSON. */
  readonly jwks: string;
}

let made: BenchToken | undefined;

export function benchToken(): BenchToken {
  made ??= makeToken();
  return made;
}

function makeToken(): BenchToken {
  const { publicKey, privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
  });
  const key = { alg: "ES256", kid: "k1" };
  const now = Math.floor(systemClock.wall() / 1000);
  const signed = [
    { ...key, typ: "JWT" },
    {
      ...{ iss: ISSUER, aud: AUDIENCE, sub: "user-1", scope: "read write" },
      ...{ iat: now, exp: now + LIFE },
    },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  const signature = sign("sha256", Buffer.from(signed), {
    key: privateKey,
    dsaEncoding: "ieee-p1363",
  });
  return {
    token: `${signed}.${signature.toString("base64url")}`,
    jwks: JSON.stringify({
      keys: [{ ...publicKey.export({ format: "jwk" }), ...key, use: "sig" }],
    }),
  };
}
