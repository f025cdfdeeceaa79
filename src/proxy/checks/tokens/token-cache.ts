/** Tokens that were verified, by their text: a caller sends the same one until it ends. Bounded in number and bytes. */
import type { Bytes, WallMs } from "../../../core/units.ts";
import type { KeySet } from "../../../core/text/key-set.ts";
import type { VerifiedToken } from "../../../policy/tokens/token-edits.ts";
import type { IssuerKeys } from "./issuer-keys.ts";

export const MOST_CACHED = 10_000;

export const MOST_CACHED_BYTES: Bytes = 16 * 1024 * 1024;

/** A token without an end is verified again after it. */
const LONGEST = 3_600_000;

/** What an entry takes beside its text: the claims as objects are some four times their JSON. */
const FIXED = 512;
const PER_CHARACTER = 5;

export interface CachedToken {
  readonly token: VerifiedToken;
  /** Whose keys, and which of them: verified by others, it would have to be verified again. */
  readonly issuer: Pick<IssuerKeys, "held">;
  readonly keySet: KeySet;
  readonly until: WallMs;
}

interface Entry extends CachedToken {
  readonly bytes: Bytes;
  /** Asked for since it was last passed over. */
  used: boolean;
}

export class TokenCache {
  readonly #entries = new Map<string, Entry>();
  #bytes: Bytes = 0;

  /** Undefined where it is not there, has ended, or its issuer has other keys now. */
  get(text: string, now: WallMs): CachedToken | undefined {
    const entry = this.#entries.get(text);
    if (entry === undefined) return undefined;
    if (entry.until <= now || entry.issuer.held !== entry.keySet) {
      this.#delete(text, entry);
      return undefined;
    }
    entry.used = true;
    return entry;
  }

  /** `expiresAt` undefined: the token has no end. */
  add(
    text: string,
    cached: Omit<CachedToken, "until">,
    expiresAt: WallMs | undefined,
    now: WallMs,
  ): void {
    const old = this.#entries.get(text);
    if (old !== undefined) this.#delete(text, old);
    // The text may be a view of a request's head, which would be kept with it.
    const own = Buffer.from(text, "latin1").toString("latin1");
    const bytes = FIXED + own.length * PER_CHARACTER;
    const until = Math.min(expiresAt ?? Infinity, now + LONGEST);
    this.#entries.set(own, { ...cached, until, bytes, used: false });
    this.#bytes += bytes;
    this.#makeRoom();
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  /** The oldest first, but those that were asked for since get another turn. */
  #makeRoom(): void {
    while (
      this.#entries.size > MOST_CACHED ||
      this.#bytes > MOST_CACHED_BYTES
    ) {
      const [first] = this.#entries;
      if (first === undefined) return;
      const [text, entry] = first;
      this.#entries.delete(text);
      if (entry.used) {
        entry.used = false;
        this.#entries.set(text, entry);
      } else this.#bytes -= entry.bytes;
    }
  }

  #delete(text: string, entry: Entry): void {
    this.#entries.delete(text);
    this.#bytes -= entry.bytes;
  }
}
