/** The taking of a token's uses: by compare-and-swap, so that no use is taken twice, and none for a response that was lost. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { parseToken } from "../../push/token.ts";
import { ConflictError, type Store } from "../store/store.ts";
import { EnrolmentError } from "./enrolment-error.ts";
import { verifyToken } from "./token-use.ts";

/** Writers of one token at a time that are waited for. */
const MOST_CONFLICTS = 20;
/** Uses that are remembered with the keys that they were taken for. */
const MOST_REMEMBERED = 10_000;
/** Certificates for one use: a response may be lost, but not each. Every one is signed, and fills the audit log. */
export const MOST_GIVEN = 20;

const NO_USES_LEFT =
  "the token has no uses left: make another with `wherry token create`";

/** A request for a use of a token. */
interface Spender {
  readonly text: string;
  /** By which it is known again. */
  readonly name: string;
  readonly done: () => void;
  readonly failed: (thrown: unknown) => void;
}

/** A use that is kept for an instance, and how many of its requests wait for it. */
interface Held {
  requests: number;
}

/** Takes uses of tokens. Those of one token that come while it is written share the next write. */
export class TokenSpending {
  readonly #store: Store;
  readonly #clock: Clock;
  /** By the token's id. */
  readonly #waiting = new Map<string, Spender[]>();
  /** The uses that are kept, by the token's id and by the instance that each is kept for. */
  readonly #held = new Map<string, Map<string, Held>>();
  /** How many certificates were given for each use that was taken, the oldest first. */
  readonly #spent = new Map<string, number>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Whether so many more may be given for the use of the token that the instance has taken: a response was lost, and it asks again. */
  #mayGive(name: string, more: number): boolean {
    const given = this.#spent.get(name);
    return given !== undefined && given + more <= MOST_GIVEN;
  }

  /** The same, and they are. */
  #giveAgain(name: string, more: number): boolean {
    if (!this.#mayGive(name, more)) return false;
    this.#remember(name, (this.#spent.get(name) ?? 0) + more);
    return true;
  }

  /**
   * Keeps a use for the instance with the key while its certificate is signed: no more are signed for at a time than there are uses. An
   * instance that asks again while it waits has the one that is kept. Call the result when it is spent, or given up. Throws EnrolmentError.
   */
  hold(text: string, key: string, usesLeft: number): () => void {
    const name = nameOf(text, key);
    if (this.#mayGive(name, 1)) return () => undefined;
    if (usesLeft < 1) throw new EnrolmentError("refused", NO_USES_LEFT);
    const id = parseToken(text)?.id ?? "";
    const held = this.#held.get(id) ?? new Map<string, Held>();
    const mine = held.get(name) ?? { requests: 0 };
    if (
      mine.requests === MOST_GIVEN ||
      (mine.requests === 0 && held.size >= usesLeft)
    )
      throw new EnrolmentError(
        "failed",
        "the token has no uses left but those that are being taken: try again",
      );
    mine.requests += 1;
    this.#held.set(id, held.set(name, mine));
    return () => {
      mine.requests -= 1;
      if (mine.requests === 0 && this.#held.get(id)?.get(name) === mine)
        this.#letGo(id, name);
    };
  }

  #letGo(id: string, name: string): void {
    const held = this.#held.get(id);
    held?.delete(name);
    if (held?.size === 0) this.#held.delete(id);
  }

  /** Takes one use of the token for the instance with the key, and no second one. Rejects with EnrolmentError. */
  spend(text: string, key: string): Promise<void> {
    if (this.#giveAgain(nameOf(text, key), 1)) return Promise.resolve();
    const id = parseToken(text)?.id ?? "";
    return new Promise((done, failed) => {
      const waiting = this.#waiting.get(id);
      const spender = { text, name: nameOf(text, key), done, failed };
      if (waiting !== undefined) {
        waiting.push(spender);
        return;
      }
      this.#waiting.set(id, [spender]);
      this.#spendAll(id).catch((thrown: unknown) => {
        const left = this.#waiting.get(id) ?? [];
        this.#waiting.delete(id);
        for (const spender of left) spender.failed(thrown);
      });
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
    const instances = Map.groupBy(good, ({ name }) => name);
    for (const [name, spenders] of instances)
      if (this.#giveAgain(name, spenders.length)) {
        instances.delete(name);
        for (const { done } of spenders) done();
      }
    const served = [...instances].slice(0, left);
    await this.#serve(served);
    for (const [, spenders] of [...instances].slice(left))
      for (const { failed } of spenders)
        failed(new EnrolmentError("refused", NO_USES_LEFT));
  }

  /** Takes a use for each instance, however many of its requests there are. */
  async #serve(
    instances: readonly (readonly [string, readonly Spender[]])[],
  ): Promise<void> {
    const spenders = instances.flatMap(([, each]) => each);
    const [first] = spenders;
    if (first === undefined) return;
    try {
      await takeUses(this.#store, this.#clock, first.text, instances.length);
    } catch (thrown) {
      for (const { failed } of spenders) failed(thrown);
      return;
    }
    const id = parseToken(first.text)?.id ?? "";
    for (const [name, each] of instances) {
      this.#remember(name, each.length);
      // It is taken, and must not be kept besides.
      this.#letGo(id, name);
    }
    for (const { done } of spenders) done();
  }

  #remember(name: string, given: number): void {
    this.#spent.set(name, given);
    const [oldest] = this.#spent.keys();
    if (this.#spent.size > MOST_REMEMBERED && oldest !== undefined)
      this.#spent.delete(oldest);
  }
}

function nameOf(text: string, key: string): string {
  return `${parseToken(text)?.id ?? ""} ${key}`;
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
