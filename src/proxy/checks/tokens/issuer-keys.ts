/**
 * The keys of one issuer: given in the rule, or fetched, refreshed in the background, and kept while the issuer cannot be reached.
 *
 * ```
 *   none ─▶ fetch ─▶ held ─▶ refresh (5 min, or a key ID that nobody knows: every 10 s at most) ─▶ held
 *             └─ failed: no token passes          └─ failed: those from before, for a day at most
 * ```
 * Without keys every token is refused: there is no other set to fall back to.
 */
import { equalJitter } from "../../../core/backoff.ts";
import type { Cancel, Clock } from "../../../core/clock.ts";
import { messageOf } from "../../../core/errors.ts";
import { defectIn, type Logger } from "../../../core/log.ts";
import {
  LARGEST_KEY_SET,
  readKeySet,
  type KeySet,
  type PublicKey,
} from "../../../core/text/key-set.ts";
import { withoutFinalSlashes } from "../../../core/text/url.ts";
import { isObject } from "../../../core/text/json.ts";
import { keysFor } from "../../../identity/jwt/keys-for.ts";
import type { UnverifiedToken } from "../../../identity/jwt/token.ts";
import type { KeySource } from "../../../policy/tokens/token-rules.ts";
import { guardedFetch } from "../../../runtime/fetch/guarded-fetch.ts";
import type { Reach } from "../../../runtime/fetch/guarded-lookup.ts";
import type { ResolveHost } from "../../../runtime/fetch/host-lookups.ts";

const REFRESH = 5 * 60_000;
/** Between fetches that tokens ask for: what a stranger writes into a token makes no more of them. */
const LEAST_BETWEEN = 10_000;
const RETRY = { base: 2000, max: 60_000 };
/** Longer than that without a word of the issuer, and nobody knows whether a key was withdrawn. */
const LONGEST_STALE = 24 * 3_600_000;

export interface IssuerKeysOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly allowance: Reach;
  readonly resolve?: ResolveHost | undefined;
}

/** The keys that may have signed a token, and the set that they are of. */
export interface FittingKeys {
  readonly keySet: KeySet;
  readonly keys: readonly PublicKey[];
}

export class IssuerKeys {
  readonly source: KeySource;
  readonly #options: IssuerKeysOptions;
  #held: KeySet | undefined;
  /** Monotonic milliseconds of the last fetch that came back with keys, and of the last one that began. */
  #fetchedAt = 0;
  #begunAt: number | undefined;
  #failures = 0;
  #fetching: Promise<void> | undefined;
  #next: Cancel | undefined;
  #closed = false;

  constructor(source: KeySource, options: IssuerKeysOptions) {
    this.source = source;
    this.#options = options;
    if (source.kind === "inline") {
      const read = readKeySet(source.jwks);
      // The kind's check refuses others; where one comes through, no token passes.
      if (read.ok) this.#held = read.keySet;
    } else this.#fetchAlone();
  }

  /** Undefined where no keys are held that may still be used. The same object as long as the keys are the same. */
  get held(): KeySet | undefined {
    const { clock } = this.#options;
    if (
      this.source.kind !== "inline" &&
      clock.now() - this.#fetchedAt > LONGEST_STALE
    )
      return undefined;
    return this.#closed ? undefined : this.#held;
  }

  /** Undefined where there are no keys to be had; without a fitting one `keys` is empty. Never rejects. */
  async keysFor(token: UnverifiedToken): Promise<FittingKeys | undefined> {
    if (this.held === undefined) await this.#ask();
    const before = this.#fitting(token);
    if (before === undefined || before.keys.length > 0) return before;
    // The issuer may have a new key.
    await this.#ask();
    return this.#fitting(token);
  }

  close(): void {
    this.#closed = true;
    this.#next?.();
  }

  #fitting(token: UnverifiedToken): FittingKeys | undefined {
    const keySet = this.held;
    return keySet && { keySet, keys: keysFor(keySet, token) };
  }

  /** A fetch that a token asks for: the one in flight, or one of its own where the last is long enough ago. */
  #ask(): Promise<void> {
    if (this.source.kind === "inline" || this.#closed) return Promise.resolve();
    if (this.#fetching !== undefined) return this.#fetching;
    const { clock } = this.#options;
    return this.#begunAt !== undefined &&
      clock.now() - this.#begunAt < LEAST_BETWEEN
      ? Promise.resolve()
      : this.#fetch();
  }

  #fetchAlone(): void {
    this.#fetch().catch(defectIn(this.#options.logger, "a fetch of keys"));
  }

  #fetch(): Promise<void> {
    this.#next?.();
    this.#begunAt = this.#options.clock.now();
    this.#fetching = this.#fetched().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetched(): Promise<void> {
    const { clock, logger } = this.#options;
    const { source } = this;
    try {
      const text = await this.#document();
      const read = readKeySet(text);
      if (!read.ok) throw new Error(`the document ${read.why}`);
      // The same keys are the same object, so that tokens that were verified by them stay so.
      if (read.keySet.text !== this.#held?.text) this.#held = read.keySet;
      this.#fetchedAt = clock.now();
      if (this.#failures > 0)
        logger.info({ source: source.id }, "an issuer's keys are there again");
      this.#failures = 0;
      this.#after(REFRESH * (0.9 + 0.2 * clock.random()));
    } catch (error) {
      this.#failures += 1;
      if (this.#failures === 1)
        logger.warn(
          { source: source.id, why: messageOf(error) },
          this.#held === undefined
            ? "an issuer's keys cannot be fetched, so its tokens are refused"
            : "an issuer's keys cannot be fetched again; those from before are used",
        );
      this.#after(equalJitter(RETRY, this.#failures, clock));
    }
  }

  #after(ms: number): void {
    if (this.#closed) return;
    this.#next = this.#options.clock.after(ms, () => this.#fetchAlone());
  }

  async #document(): Promise<string> {
    const { source } = this;
    if (source.kind === "inline") return source.jwks;
    if (source.kind === "keys") return this.#get(source.address);
    const address = `${withoutFinalSlashes(source.address)}/.well-known/openid-configuration`;
    const document: unknown = JSON.parse(await this.#get(address));
    // OpenID Connect Discovery 1.0, 4.3: another issuer's document says nothing of this one's keys.
    if (!isObject(document) || document["issuer"] !== source.address)
      throw new Error("the OpenID document is another issuer's");
    const { jwks_uri: keys } = document;
    if (typeof keys !== "string")
      throw new Error("the OpenID document has no jwks_uri");
    if (source.address.startsWith("https:") && !keys.startsWith("https:"))
      throw new Error("the OpenID document leads from https to http");
    return this.#get(keys);
  }

  #get(address: string): Promise<string> {
    const { clock, allowance, resolve } = this.#options;
    const { source } = this;
    return guardedFetch(address, {
      clock,
      allowance,
      timeout: source.kind === "inline" ? 0 : source.timeout,
      limit: LARGEST_KEY_SET,
      accept: "application/jwk-set+json, application/json",
      ...(resolve === undefined ? {} : { resolve }),
    });
  }
}
