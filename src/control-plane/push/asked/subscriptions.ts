/** The names that one sidecar has subscribed to, and those that wait for a response: what is asked for and is not there is said to be gone. */
import type { Clock } from "../../../core/clock.ts";
import {
  tokenBucket,
  type TokenBucket,
  type TokenBucketOptions,
} from "../../../core/token-bucket.ts";
import {
  EVERYTHING,
  MOST_SUBSCRIPTIONS,
  parseInterest,
} from "../../../push/interest.ts";
import type { DeltaRequest } from "../../../push/messages.ts";
import { empty } from "../../../runtime/v8.ts";
import type { InterestChange } from "../catalogue/interests.ts";

/** New names in a second, and at once: ten times what a sidecar asks, and its first request with as much again. */
export const NEW_NAMES: TokenBucketOptions = {
  rate: 1000,
  burst: 2 * MOST_SUBSCRIPTIONS,
};
/** Characters of a refused name that the refusal quotes. */
const LONGEST_SHOWN = 200;

export interface SubscriptionFault {
  readonly kind: "unknown" | "many";
  readonly message: string;
}

type Request = Pick<DeltaRequest, "subscribe" | "unsubscribe">;

export class Subscriptions {
  readonly #clock: Pick<Clock, "now">;
  readonly #names = new Set<string>();
  readonly #newNames: TokenBucket = tokenBucket(NEW_NAMES);
  /** Those of Services subscribed to since the last call of `takeFresh`. */
  readonly #fresh = new Set<string>();

  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  /** Everything in scope. */
  get everything(): boolean {
    return this.#names.has(EVERYTHING);
  }

  /** Names that may be subscribed to besides. */
  get room(): number {
    return MOST_SUBSCRIPTIONS - this.#names.size;
  }

  /** Takes the first request; one without names is of a sidecar that knows of no interests, and means everything. */
  start({ subscribe }: Request): InterestChange | SubscriptionFault {
    const names = subscribe.length === 0 ? [EVERYTHING] : subscribe;
    return this.apply({ subscribe: names, unsubscribe: [] });
  }

  apply({
    subscribe,
    unsubscribe,
  }: Request): InterestChange | SubscriptionFault {
    for (const name of unsubscribe) {
      this.#names.delete(name);
      this.#fresh.delete(name);
    }
    for (const name of subscribe) {
      const interest = parseInterest(name);
      if (interest === undefined)
        return {
          kind: "unknown",
          message: `invalid subscription ${JSON.stringify(name.slice(0, LONGEST_SHOWN))}: expected "*", "self", "Service/NAMESPACE/NAME", "Host//HOST" or "Address//IP:PORT"`,
        };
      if (interest.kind === "service") this.#fresh.add(name);
      if (this.#names.has(name)) continue;
      this.#names.add(name);
      if (this.#names.size > MOST_SUBSCRIPTIONS)
        return many(
          `over ${MOST_SUBSCRIPTIONS} subscriptions of one sidecar: who needs more has to subscribe to everything ("*")`,
        );
      if (!this.#newNames.take(this.#clock.now()))
        return many(`over ${NEW_NAMES.rate} new subscriptions a second`);
    }
    return {
      add: subscribe,
      remove: unsubscribe.filter((name) => !this.#names.has(name)),
    };
  }

  /** The Services, by the names of their subscriptions, subscribed to since the last call. */
  takeFresh(): readonly string[] {
    const fresh = [...this.#fresh];
    empty(this.#fresh);
    return fresh;
  }
}

function many(message: string): SubscriptionFault {
  return { kind: "many", message };
}
