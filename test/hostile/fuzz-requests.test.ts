/**
 * The differential fuzzer: random requests by both versions of HTTP and every listener (explicit and captured outbound, captured,
 * published, the link). One request, one verdict, one message at the application; and no cost beyond its size (laws 6, 7, 14 and 15).
 * A failure prints its seed and its number: WHERRY_FUZZ_CASE=NUMBER sends that case alone through all listeners, and prints what each made of it.
 * WHERRY_FUZZ_SEED with it makes the cases of that run, WHERRY_LONG=1 ten times as many, WHERRY_FUZZ_REQUESTS any number, WHERRY_FUZZ_ROOT tests another checkout.
 */
import t from "tap";
import { drawn } from "../support/drawn.ts";
import { someForms, superLinear } from "../support/fuzz/growth.ts";
import { fuzzed } from "../support/fuzz/report.ts";
import { REQUESTS, SEED, withRequestFuzzer } from "../support/fuzz/run.ts";

/** One form of growth in so many is tried. */
const PART = drawn("WHERRY_FUZZ_GROWTH_PART", 3, 1);

void t.test("random requests", { timeout: 500_000 }, async (t) => {
  await withRequestFuzzer(async (bench) => {
    await fuzzed(t, bench, REQUESTS);
    t.strictSame(
      bench.app.violations,
      [],
      "the application gets requests alone",
    );
  });
});

void t.test(
  "twice the size, twice the cost",
  { timeout: 200_000 },
  async (t) => {
    await withRequestFuzzer(async ({ fuzzer }) => {
      await fuzzer.warmUp();
      const forms = someForms(SEED, PART);
      t.comment(`seed ${SEED}: ${forms.length} forms`);
      t.strictSame(await superLinear(fuzzer, 5, forms), [], `seed ${SEED}`);
    });
  },
);
