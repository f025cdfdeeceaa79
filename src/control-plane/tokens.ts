/** API tokens: what each may ask the control plane for. The store keeps hashes only. */
import { randomUUID, timingSafeEqual } from "node:crypto";
import { parseTimestamp, timestamp, type Clock } from "../core/clock.ts";
import { pieces } from "../core/slices.ts";
import { hashSecret, makeSecret } from "../push/token.ts";
import { OWN_GROUP } from "../resources/kind.ts";
import type { Resource } from "../resources/envelope.ts";
import { ENROLMENT_TOKEN } from "./enrolment/enrolment-token.ts";
import type { Author } from "./audit/audit.ts";
import { Endings } from "./store/endings.ts";
import type { Store } from "./store/store.ts";

/** A kind of the store alone: no API path leads to it and it is never pushed. */
export const API_TOKEN = "ApiToken";
export type TokenKind = typeof API_TOKEN | typeof ENROLMENT_TOKEN;

/** admin: everything. editor: reads, and writes policy in its namespaces. viewer: reads. */
export type Role = "admin" | "editor" | "viewer";

export interface ApiTokenSpec {
  /** SHA-256 of the secret in hex. */
  readonly hash: string;
  readonly role: Role;
  /** Absent: all. */
  readonly namespaces?: readonly string[];
  /** RFC 3339; absent: never. */
  readonly expiresAt?: string;
}

/** The holder of a token, or of a client certificate, that was accepted. */
export interface Principal {
  /** The name in the certificate, where one was shown. */
  readonly tokenId: string;
  /** The name that a client certificate proves; absent: a token was sent. */
  readonly certificate?: string;
  readonly role: Role;
  readonly namespaces?: readonly string[];
}

/** A token as it is made: the text is shown once and kept nowhere. */
export interface MadeToken {
  readonly id: string;
  readonly token: string;
  /** RFC 3339; absent: never. */
  readonly expiresAt?: string;
}

const PREFIX = "wherryapi1";
/** How the store's notes of revoked administrators' tokens begin; then comes the ID. */
const REVOKED = "revoked/";
const SHAPE = /^wherryapi1\.([0-9a-f-]{36})\.([A-Za-z0-9_-]{43})$/;

export interface ApiTokenRequest {
  readonly role: Role;
  readonly namespaces?: readonly string[];
  /** Milliseconds; absent: it never expires. */
  readonly ttl?: number;
}

export async function createApiToken(
  store: Store,
  clock: Clock,
  request: ApiTokenRequest,
  author?: Author,
): Promise<MadeToken> {
  const id = randomUUID();
  const secret = makeSecret();
  const { role, namespaces, ttl } = request;
  const expiry =
    ttl === undefined ? {} : { expiresAt: timestamp(clock.wall() + ttl) };
  const spec: ApiTokenSpec = {
    hash: hashSecret(secret),
    role,
    ...(namespaces === undefined ? {} : { namespaces }),
    ...expiry,
  };
  await store.put(record(id, spec), "absent", author);
  return { id, token: `${PREFIX}.${id}.${secret}`, ...expiry };
}

/** The principal of an API token's text, or undefined: unknown, revoked, expired and malformed look the same to a stranger. */
export async function authenticate(
  store: Store,
  clock: Clock,
  text: string,
): Promise<Principal | undefined> {
  const [, id, secret] = SHAPE.exec(text) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  const found = await store.get({ kind: API_TOKEN, namespace: "", name: id });
  if (found === undefined) return undefined;
  // Written by this file alone, so its shape is known.
  const spec = found.spec as ApiTokenSpec;
  if (!hashMatches(spec.hash, secret) || hasExpired(spec, clock))
    return undefined;
  const { role, namespaces } = spec;
  return {
    tokenId: id,
    role,
    ...(namespaces === undefined ? {} : { namespaces }),
  };
}

/** The text of a token that no store knows yet. */
export function newTokenText(): string {
  return `${PREFIX}.${randomUUID()}.${makeSecret()}`;
}

/**
 * Keeps the administrator's token of a file working where the store has no administrator (it was lost, or lives in memory).
 * False where the text is not an API token.
 */
export async function readmitAdministrator(
  store: Store,
  text: string,
): Promise<boolean> {
  const [, id, secret] = SHAPE.exec(text) ?? [];
  if (id === undefined || secret === undefined) return false;
  const spec: ApiTokenSpec = { hash: hashSecret(secret), role: "admin" };
  await store.put(record(id, spec), undefined);
  return true;
}

export async function hasAdministrator(
  store: Store,
  clock: Clock,
): Promise<boolean> {
  const { resources } = await store.list(API_TOKEN);
  return resources.some(({ spec }) => {
    const token = spec as ApiTokenSpec;
    return (
      token.role === "admin" &&
      token.namespaces === undefined &&
      !hasExpired(token, clock)
    );
  });
}

/** Whether the API token of that text was revoked in this store: what a file has of it makes nobody an administrator. */
export async function wasRevoked(store: Store, text: string): Promise<boolean> {
  const [, id] = SHAPE.exec(text) ?? [];
  return id !== undefined && (await store.note(REVOKED + id)) !== undefined;
}

/** True where there was one to remove. */
export async function revokeToken(
  store: Store,
  kind: TokenKind,
  id: string,
  author?: Author,
): Promise<boolean> {
  const key = { kind, namespace: "", name: id };
  const found = await store.get(key);
  if (found === undefined) return false;
  // First: a start that ended between the two would leave it to a file.
  if (kind === API_TOKEN && (found.spec as ApiTokenSpec).role === "admin")
    await store.setNote(REVOKED + id, "");
  await store.remove(key, undefined, author);
  return true;
}

/** To be made at the start. Each call removes what has expired, so that a mesh that makes tokens for years does not pile up dead ones. */
export function tokenSweep(
  store: Pick<Store, "list" | "removeAll">,
  clock: Clock,
): () => Promise<void> {
  const endings = new Endings(clock);
  const isOver = ({ spec }: Resource): boolean => {
    const { expiresAt } = spec as { readonly expiresAt?: string };
    return (
      expiresAt !== undefined && endings.mayErase(parseTimestamp(expiresAt))
    );
  };
  return async () => {
    for (const kind of [API_TOKEN, ENROLMENT_TOKEN] as const) {
      const { resources } = await store.list(kind);
      for (const piece of pieces(resources.filter(isOver)))
        await store.removeAll(
          piece.map(({ metadata: { name } }) => ({
            key: { kind, namespace: "", name },
            expected: undefined,
          })),
        );
    }
  };
}

function hasExpired(
  spec: { readonly expiresAt?: string },
  clock: Clock,
): boolean {
  return (
    spec.expiresAt !== undefined &&
    parseTimestamp(spec.expiresAt) <= clock.wall()
  );
}

function record(id: string, spec: ApiTokenSpec): Resource<ApiTokenSpec> {
  return {
    apiVersion: `${OWN_GROUP}/v1alpha1`,
    kind: API_TOKEN,
    metadata: { name: id },
    spec,
  };
}

/** In constant time: how long it takes tells nothing of the hash. */
function hashMatches(hash: string, secret: string): boolean {
  const given = Buffer.from(hashSecret(secret));
  const kept = Buffer.from(hash);
  return given.length === kept.length && timingSafeEqual(given, kept);
}

/** The text with every token in it made unreadable: people take a token for its own id, and logs and spans must not hold it. */
export function hideTokens(text: string): string {
  return text.replaceAll(/wherry(?:api)?1\.[^/?&#\s]*/g, "TOKEN");
}
