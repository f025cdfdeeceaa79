/** Enrolment tokens as text: the secret, where to bring it, and the fingerprint of the CA that makes the first contact authentic. */
import { createHash, randomBytes } from "node:crypto";

export interface EnrolmentToken {
  /** Names the record in the store. */
  readonly id: string;
  /** SHA-256 of the root certificate's DER in lower-case hex. */
  readonly ca: string;
  /** The same of the root that is to take its place: a token that was made in a rotation works before its end and after it. */
  readonly next?: string;
  /** "HOST:PORT" of the control plane, where the maker knew it. */
  readonly address?: string;
  /** 256 random bits in base64url. */
  readonly secret: string;
}

const PREFIX = "wherry1";
/** A longer text is not a token, and is not worth parsing. */
const LONGEST = 1024;

export function makeSecret(): string {
  return randomBytes(32).toString("base64url");
}

/** What is kept of a secret. It needs no salt and no slow hash: it has 256 random bits. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export function formatToken(token: EnrolmentToken): string {
  const { id, ca, next, address, secret } = token;
  const facts = JSON.stringify({
    id,
    ca,
    ...(next === undefined ? {} : { next }),
    ...(address === undefined ? {} : { address }),
  });
  return `${PREFIX}.${Buffer.from(facts).toString("base64url")}.${secret}`;
}

/** Undefined where the text is not a token. */
export function parseToken(text: string): EnrolmentToken | undefined {
  const [prefix, encoded, secret, ...rest] = text.trim().split(".");
  if (
    text.length > LONGEST ||
    prefix !== PREFIX ||
    !encoded ||
    !secret ||
    rest.length > 0
  )
    return undefined;
  const facts = parseFacts(Buffer.from(encoded, "base64url").toString("utf8"));
  const id = facts?.["id"];
  const ca = facts?.["ca"];
  const next = facts?.["next"];
  const address = facts?.["address"];
  if (
    typeof id !== "string" ||
    !/^[a-z0-9][a-z0-9-]{0,62}$/.test(id) ||
    !isFingerprint(ca) ||
    (next !== undefined && !isFingerprint(next))
  )
    return undefined;
  return {
    id,
    ca,
    secret,
    ...(next === undefined ? {} : { next }),
    ...(typeof address === "string" ? { address } : {}),
  };
}

function isFingerprint(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function parseFacts(text: string): Record<string, unknown> | undefined {
  try {
    const facts: unknown = JSON.parse(text);
    return typeof facts === "object" && facts !== null
      ? (facts as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
