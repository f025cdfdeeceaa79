/** Which verified tokens are forgotten, and when: bounded in number and bytes, those that are asked for last longest. */
import t from "tap";
import type { KeySet } from "../../../../src/core/text/key-set.ts";
import type { VerifiedToken } from "../../../../src/policy/tokens/token-edits.ts";
import {
  MOST_CACHED,
  MOST_CACHED_BYTES,
  TokenCache,
} from "../../../../src/proxy/checks/tokens/token-cache.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);

interface Filled {
  readonly cache: TokenCache;
  readonly issuer: { held: KeySet | undefined };
  /** Adds a token of that text. */
  readonly add: (text: string, expiresAt?: number) => void;
  /** How many of the texts are known. */
  readonly known: (texts: readonly string[], now?: number) => number;
}

function empty(): Filled {
  const cache = new TokenCache();
  const keySet = {} as KeySet;
  const issuer: { held: KeySet | undefined } = { held: keySet };
  return {
    cache,
    issuer,
    add: (text, expiresAt) =>
      cache.add(
        text,
        {
          token: { claims: text } as unknown as VerifiedToken,
          issuer,
          keySet,
        },
        expiresAt,
        NOW,
      ),
    known: (texts, now = NOW) =>
      texts.filter((text) => {
        const token: unknown = cache.get(text, now)?.token;
        return (token as { claims: string } | undefined)?.claims === text;
      }).length,
  };
}

const texts = (from: number, to: number, more = ""): string[] =>
  Array.from(
    { length: to - from },
    (_none, index) => `t${from + index}${more}`,
  );

void t.test("at most so many, the oldest goes first", (t) => {
  const { add, known } = empty();
  for (const text of texts(0, MOST_CACHED + 10)) add(text);
  t.equal(known(texts(0, 10)), 0);
  t.equal(known(texts(10, MOST_CACHED + 10)), MOST_CACHED);
  t.end();
});

void t.test("what is asked for gets another turn, and only one", (t) => {
  const { add, known } = empty();
  for (const text of texts(0, MOST_CACHED)) add(text);
  t.equal(known(["t0", "t2"]), 2);
  for (const text of texts(MOST_CACHED, MOST_CACHED + 2)) add(text);
  t.equal(known(["t1", "t3"]), 0, "those in between went");
  t.equal(known(["t0", "t2"]), 2);
  // All are passed over once, and none is asked for meanwhile.
  for (const text of texts(MOST_CACHED + 2, 4 * MOST_CACHED)) add(text);
  t.equal(known(["t0", "t2"]), 0);
  t.equal(known(texts(3 * MOST_CACHED, 4 * MOST_CACHED)), MOST_CACHED);
  t.end();
});

void t.test("all of them asked for: the newest still finds room", (t) => {
  const { add, known } = empty();
  for (const text of texts(0, MOST_CACHED)) add(text);
  t.equal(known(texts(0, MOST_CACHED)), MOST_CACHED);
  add("last");
  t.equal(known(texts(0, MOST_CACHED)) + known(["last"]), MOST_CACHED);
  t.end();
});

void t.test("at most so many bytes, and each is given back once", (t) => {
  const { cache, add, known } = empty();
  const long = "x".repeat(8000);
  const most = Math.floor(MOST_CACHED_BYTES / (5 * long.length));
  for (let round = 0; round < 3; round += 1) {
    for (const text of texts(0, 2 * most, long)) add(text);
    const held = known(texts(0, 2 * most, long));
    t.ok(held > most * 0.9 && held <= most, `round ${round}: ${held}`);
    // The same again takes its own place.
    for (let again = 0; again < 10; again += 1) add(`t${2 * most - 1}${long}`);
    t.equal(known(texts(0, 2 * most, long)), held);
    cache.clear();
  }
  t.end();
});

void t.test("what has ended, or has other keys now, makes room", (t) => {
  const { issuer, add, known } = empty();
  add("short", NOW + 1000);
  add("endless");
  t.equal(known(["short", "endless"], NOW + 999), 2);
  t.equal(known(["short", "endless"], NOW + 1000), 1);
  t.equal(known(["endless"], NOW + HOUR - 1), 1);
  t.equal(known(["endless"], NOW + HOUR), 0, "verified again after an hour");
  t.equal(known(["short", "endless"]), 0, "they are gone, not hidden");
  for (const text of texts(0, MOST_CACHED)) add(text);
  const { held } = issuer;
  issuer.held = {} as KeySet;
  t.equal(known(texts(0, 5)), 0);
  issuer.held = held;
  t.equal(known(texts(0, 5)), 0);
  for (const text of texts(MOST_CACHED, MOST_CACHED + 5)) add(text);
  t.equal(known(["t5"]), 1, "their places were free");
  t.end();
});
