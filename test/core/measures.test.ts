import t from "tap";
import {
  durationOf,
  formatDuration,
  parseDuration,
} from "../../src/core/duration.ts";
import { MeshError } from "../../src/mesh/errors.ts";
import { messageOf, systemCode } from "../../src/core/errors.ts";
import { REASONS } from "../../src/mesh/reasons.ts";
import { tokenBucket, TokenBuckets } from "../../src/core/token-bucket.ts";

void t.test("GEP-2257 durations", (t) => {
  const valid: [string, number][] = [
    ["0s", 0],
    ["1h", 3_600_000],
    ["500ms", 500],
    ["1m30s", 90_000],
    ["1h2m3s4ms", 3_723_004],
    ["99999h", 359_996_400_000],
  ];
  for (const [text, ms] of valid) t.equal(parseDuration(text), ms, text);
  for (const text of [
    "",
    "1",
    "1.5s",
    "-1s",
    "1d",
    "s",
    "1s ",
    "100000s",
    "1h1h1h1h1h",
    "1 s",
  ])
    t.equal(parseDuration(text), undefined, text);
  for (const ms of [0, 1, 999, 1000, 90_000, 3_723_004])
    t.equal(parseDuration(formatDuration(ms)), ms);
  t.equal(formatDuration(90_000), "1m30s");
  t.throws(() => durationOf("soon"), { message: /soon/ });
  t.end();
});

void t.test(
  "a token bucket starts full, fills at its rate, and no higher than its burst",
  (t) => {
    const bucket = tokenBucket({ rate: 10, burst: 2 });
    t.same(
      [bucket.take(0), bucket.take(0), bucket.take(0)],
      [true, true, false],
    );
    t.equal(bucket.take(50), false);
    t.equal(bucket.take(100), true);
    t.equal(bucket.level(10_000), 2);
    t.equal(bucket.level(9_000), 2, "time that runs back takes nothing away");
    t.end();
  },
);

void t.test(
  "errors carry their reason, their source and whether the request is provably unprocessed",
  (t) => {
    const cause = Object.assign(new Error("connect ECONNREFUSED"), {
      code: "ECONNREFUSED",
    });
    const error = new MeshError("CONNECT_FAILED", "", {
      source: "upstream",
      unprocessed: true,
      policy: "shop/p",
      cause,
    });
    t.match(error, {
      code: "CONNECT_FAILED",
      source: "upstream",
      unprocessed: true,
      policy: "shop/p",
      message: REASONS.CONNECT_FAILED.text,
      cause,
    });
    t.match(new MeshError("INTERNAL", "what", { source: "proxy" }), {
      unprocessed: false,
      message: "what",
      policy: undefined,
    });
    t.equal(systemCode(cause), "ECONNREFUSED");
    t.equal(systemCode("x"), undefined);
    t.equal(messageOf("x"), "x");
    t.equal(messageOf(cause), "connect ECONNREFUSED");
    t.end();
  },
);

void t.test(
  "each taker has a bucket, and the one that took the longest ago is forgotten",
  (t) => {
    const buckets = new TokenBuckets({ rate: 1, burst: 2 }, 2);
    const taken = (...takers: string[]): string =>
      takers.map((taker) => (buckets.take(taker, 0) ? "+" : "-")).join("");
    t.equal(taken("a", "a", "a"), "++-");
    t.equal(taken("b", "a", "b"), "+-+", "another has its own");
    t.equal(taken("b", "a"), "--", "both are remembered");
    t.equal(taken("c"), "+");
    t.equal(taken("a"), "-", "it took later than b");
    t.equal(taken("b"), "+", "b made room");
    t.ok(buckets.take("a", 1000), "it fills");
    t.end();
  },
);
