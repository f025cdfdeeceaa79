/** What an enrolment token stands for, and the taking of one of its uses: by compare-and-swap, so that no use is taken twice. */
import { timingSafeEqual } from "node:crypto";
import { parseTimestamp, type Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { hashSecret, parseToken } from "../../push/token.ts";
import type { Resource } from "../../resources/envelope.ts";
import { EnrolmentError } from "./enrolment-error.ts";
import {
  enrolmentTokenKey,
  type EnrolmentTokenSpec,
} from "./enrolment-token.ts";
import { ConflictError, type Store } from "../store/store.ts";

/** Writers of one token at a time that are waited for. */
const MOST_CONFLICTS = 20;

const UNKNOWN_TOKEN =
  "the token is not valid here: make another with `wherry token create` and start the sidecar with it";

const NO_USES_LEFT =
  "the token has no uses left: make another with `wherry token create`";

/** A token that is good now. */
export interface ValidToken {
  readonly record: Resource;
  readonly spec: EnrolmentTokenSpec;
}

/** `text`: as the sidecar sent it. Rejects with EnrolmentError. */
export async function verifyToken(
  store: Store,
  clock: Clock,
  text: string,
): Promise<ValidToken> {
  const token = parseToken(text);
  if (token === undefined)
    throw new EnrolmentError(
      "refused",
      "invalid enrolment token: expected the whole text that `wherry token create` printed (wherry1.…)",
    );
  const record = await store.get(enrolmentTokenKey(token.id));
  const spec = record === undefined ? undefined : tokenSpec(record);
  // Compared also where the token is unknown, so that both refusals take the same time.
  const matches = hashMatches(spec?.hash ?? hashSecret(""), token.secret);
  if (record === undefined || spec === undefined || !matches)
    throw new EnrolmentError("refused", UNKNOWN_TOKEN);
  if (!(parseTimestamp(spec.expiresAt) > clock.wall()))
    throw new EnrolmentError(
      "refused",
      `the token expired at ${spec.expiresAt}: make another with \`wherry token create\``,
    );
  if (spec.usesLeft < 1) throw new EnrolmentError("refused", NO_USES_LEFT);
  return { record, spec };
}

interface Spender {
  readonly text: string;
  readonly done: () => void;
  readonly failed: (thrown: unknown) => void;
}

/** Takes uses of tokens. Those of one token that come while it is written share the next write. */
export class TokenSpending {
  readonly #store: Store;
  readonly #clock: Clock;
  /** By the token's id. */
  readonly #waiting = new Map<string, Spender[]>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Takes one use of the token. Rejects with EnrolmentError. */
  spend(text: string): Promise<void> {
    const id = parseToken(text)?.id ?? "";
    return new Promise((done, failed) => {
      const waiting = this.#waiting.get(id);
      const spender = { text, done, failed };
      if (waiting !== undefined) {
        waiting.push(spender);
        return;
      }
      this.#waiting.set(id, [spender]);
      void this.#spendAll(id);
    });
  }

  async #spendAll(id: string): Promise<void> {
    for (;;) {
      const spenders = this.#waiting.get(id)?.splice(0) ?? [];
      if (spenders.length === 0) {
        this.#waiting.delete(id);
        return;
      }
      await this.#spendTogether(spenders);
    }
  }

  /** Never rejects: each of them hears what became of it. */
  async #spendTogether(spenders: readonly Spender[]): Promise<void> {
    // Each shows the secret, also where another has shown it.
    const good: Spender[] = [];
    let left = 0;
    for (const spender of spenders)
      try {
        const { spec } = await verifyToken(
          this.#store,
          this.#clock,
          spender.text,
        );
        left = spec.usesLeft;
        good.push(spender);
      } catch (thrown) {
        spender.failed(thrown);
      }
    const [first] = good;
    if (first === undefined) return;
    const served = good.slice(0, left);
    try {
      await takeUses(this.#store, this.#clock, first.text, served.length);
      for (const { done } of served) done();
    } catch (thrown) {
      for (const { failed } of served) failed(thrown);
    }
    for (const { failed } of good.slice(left))
      failed(new EnrolmentError("refused", NO_USES_LEFT));
  }
}

/** Rejects with EnrolmentError. */
async function takeUses(
  store: Store,
  clock: Clock,
  text: string,
  uses: number,
): Promise<void> {
  for (let conflicts = 0; ; conflicts += 1) {
    const { record, spec } = await verifyToken(store, clock, text);
    if (spec.usesLeft < uses)
      throw new EnrolmentError(
        "failed",
        "the token is used elsewhere: try again",
      );
    try {
      await store.put(
        { ...record, spec: { ...spec, usesLeft: spec.usesLeft - uses } },
        Number(record.metadata.resourceVersion),
      );
      return;
    } catch (thrown) {
      if (!(thrown instanceof ConflictError) || conflicts >= MOST_CONFLICTS)
        throw new EnrolmentError("failed", messageOf(thrown));
    }
  }
}

/** The record was written by `createEnrolmentToken` alone; the shape is checked all the same, for it decides who is who. */
function tokenSpec(record: Resource): EnrolmentTokenSpec | undefined {
  const spec = record.spec as Partial<EnrolmentTokenSpec>;
  const { hash, namespace, serviceAccount, labels, expiresAt, usesLeft } = spec;
  const { addresses, name } = spec;
  if (
    typeof hash !== "string" ||
    typeof namespace !== "string" ||
    typeof serviceAccount !== "string" ||
    typeof labels !== "object" ||
    typeof expiresAt !== "string" ||
    typeof usesLeft !== "number" ||
    (addresses !== undefined && !Array.isArray(addresses)) ||
    (name !== undefined && typeof name !== "string")
  )
    return undefined;
  return {
    hash,
    namespace,
    serviceAccount,
    labels,
    ...(addresses === undefined ? {} : { addresses }),
    ...(name === undefined ? {} : { name }),
    expiresAt,
    usesLeft,
  };
}

function hashMatches(hash: string, secret: string): boolean {
  const kept = Buffer.from(hash);
  const given = Buffer.from(hashSecret(secret));
  return kept.length === given.length && timingSafeEqual(kept, given);
}
