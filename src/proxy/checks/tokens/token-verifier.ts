/** Verifies the tokens of requests: at once where one was verified before, otherwise by its issuer's keys. */
import type { Clock } from "../../../core/clock.ts";
import type { Logger } from "../../../core/log.ts";
import { verifiedClaims } from "../../../identity/jwt/claims.ts";
import {
  readToken,
  type UnverifiedToken,
} from "../../../identity/jwt/token.ts";
import { loadJwt, verifyToken } from "../../../identity/jwt/verify.ts";
import type { Code } from "../../../mesh/reasons.ts";
import type { InboundPort, Snapshot } from "../../../policy/snapshot.ts";
import type { FoundToken } from "../../../policy/tokens/find-tokens.ts";
import {
  outputsOf,
  type VerifiedToken,
} from "../../../policy/tokens/token-edits.ts";
import type {
  KeySource,
  TokenRule,
} from "../../../policy/tokens/token-rules.ts";
import type { Reach } from "../../../runtime/fetch/guarded-lookup.ts";
import type { ResolveHost } from "../../../runtime/fetch/host-lookups.ts";
import { IssuerKeys } from "./issuer-keys.ts";
import { TokenCache } from "./token-cache.ts";

/** Why a token is refused. */
export interface TokenRefusal {
  readonly code: Extract<
    Code,
    "TOKEN_INVALID" | "TOKEN_AUDIENCE" | "TOKEN_KEYS_UNAVAILABLE"
  >;
  readonly why: string;
  /** "NAMESPACE/NAME" of the RequestAuthentication whose rule comes nearest. */
  readonly policy: string;
}

export type TokenResult =
  | { readonly ok: true; readonly token: VerifiedToken }
  | { readonly ok: false; readonly refusal: TokenRefusal };

export interface TokenVerifierOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** How hosts are resolved; absent: by the system. */
  readonly resolve?: ResolveHost;
}

/** What it reads of a snapshot. */
export interface TokenConfig {
  readonly mesh: Pick<Snapshot["mesh"], "privateFetch">;
  readonly inbound: { readonly ports: readonly Pick<InboundPort, "tokens">[] };
}

const NOTHING_ALLOWED: Reach = { hosts: [], ranges: [] };

export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #cache = new TokenCache();
  /** By the ID of their source. */
  readonly #issuers = new Map<string, IssuerKeys>();
  /** By the token and its rules: requests that bring one token at once wait for one verification. */
  readonly #pending = new Map<string, Promise<TokenResult>>();
  #allowance = NOTHING_ALLOWED;

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
  }

  /** Fetches the keys of the issuers that are new, and forgets those that the snapshot does not have. */
  apply({ mesh: { privateFetch }, inbound }: TokenConfig): void {
    if (JSON.stringify(privateFetch) !== JSON.stringify(this.#allowance)) {
      // What was fetched under other rules may be what these forbid.
      this.close();
      this.#allowance = privateFetch;
    }
    const sources = new Map<string, KeySource>();
    for (const { tokens } of inbound.ports)
      for (const { keys } of tokens?.rules ?? []) sources.set(keys.id, keys);
    // Told of where the first token comes.
    if (sources.size > 0) loadJwt().catch(() => undefined);
    for (const [id, issuer] of this.#issuers)
      if (!sources.has(id)) {
        issuer.close();
        this.#issuers.delete(id);
      }
    for (const [id, source] of sources)
      if (!this.#issuers.has(id))
        this.#issuers.set(id, this.#newIssuer(source));
  }

  close(): void {
    for (const issuer of this.#issuers.values()) issuer.close();
    this.#issuers.clear();
    this.#cache.clear();
  }

  /** Undefined where it has to be verified. */
  known({ text, rules }: FoundToken): VerifiedToken | undefined {
    const cached = this.#cache.get(text, this.#options.clock.wall());
    if (cached === undefined) return undefined;
    const { token } = cached;
    for (const rule of rules) if (rule.id === token.rule.id) return token;
    return undefined;
  }

  /** Rejects where this sidecar cannot verify. */
  verify(found: FoundToken): Promise<TokenResult> {
    const key = [found.text, ...found.rules.map(({ id }) => id)].join("\n");
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const verified = this.#verify(found).finally(() =>
      this.#pending.delete(key),
    );
    this.#pending.set(key, verified);
    return verified;
  }

  async #verify({ text, rules }: FoundToken): Promise<TokenResult> {
    const policy = rules[0]?.policy ?? "";
    const read = readToken(text);
    if (!read.ok) return refused("TOKEN_INVALID", read.why, policy);
    const { token } = read;
    const issued = rules.filter(({ issuer }) => issuer === token.issuer);
    if (issued.length === 0)
      return refused(
        "TOKEN_INVALID",
        "no rule is for the token's issuer",
        policy,
      );
    let nearest: TokenResult | undefined;
    for (const rule of issued) {
      const result = await this.#verifyBy(rule, token);
      if (result.ok) return result;
      if (nearest === undefined || rank(result) > rank(nearest))
        nearest = result;
    }
    return nearest ?? refused("TOKEN_INVALID", "no rule accepts it", policy);
  }

  async #verifyBy(
    rule: TokenRule,
    token: UnverifiedToken,
  ): Promise<TokenResult> {
    const { clock } = this.#options;
    const open = this.#issuers.get(rule.keys.id);
    const issuer = open ?? this.#newIssuer(rule.keys);
    const fitting = await issuer.keysFor(token);
    // A rule of a config that is no longer in force: no later one would close it.
    if (open === undefined) issuer.close();
    if (fitting === undefined)
      return refused(
        "TOKEN_KEYS_UNAVAILABLE",
        "the keys of the token's issuer cannot be fetched",
        rule.policy,
      );
    const { keySet, keys } = fitting;
    const now = clock.wall();
    const result = await verifyToken(token, keys, rule, now);
    if (result.kind !== "verified")
      return refused(
        result.kind === "audience" ? "TOKEN_AUDIENCE" : "TOKEN_INVALID",
        result.why,
        rule.policy,
      );
    const claims = verifiedClaims(result.claims, rule.spaceDelimited);
    const outputs = outputsOf(rule, token.text, claims);
    const verified = { rule, claims, outputs };
    if (open !== undefined)
      this.#cache.add(
        token.text,
        { token: verified, issuer, keySet },
        result.expiresAt,
        now,
      );
    return { ok: true, token: verified };
  }

  #newIssuer(source: KeySource): IssuerKeys {
    const { clock, logger, resolve } = this.#options;
    return new IssuerKeys(source, {
      ...{ clock, logger, resolve },
      allowance: this.#allowance,
    });
  }
}

/** A genuine token for another audience says more than one that no key fits. */
function rank(result: TokenResult): number {
  if (result.ok) return 3;
  const { code } = result.refusal;
  return code === "TOKEN_AUDIENCE"
    ? 2
    : code === "TOKEN_KEYS_UNAVAILABLE"
      ? 1
      : 0;
}

function refused(
  code: TokenRefusal["code"],
  why: string,
  policy: string,
): TokenResult {
  return { ok: false, refusal: { code, why, policy } };
}
