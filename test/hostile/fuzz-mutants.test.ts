/** Who watches the fuzzer: mistakes put in on purpose are found by the cases of a few runs of CI. */
import t from "tap";
import { drawn } from "../support/drawn.ts";
import { superLinear } from "../support/fuzz/growth.ts";
import {
  LOWER_CASE_METHOD,
  QUADRATIC_TRIM,
  TUNNEL_TO_HTTP,
  TWO_LENGTHS,
  withMutant,
  type Mutant,
} from "../support/fuzz/target/mutants.ts";
import {
  REQUESTS,
  RESPONSES,
  withRequestFuzzer,
  withResponseFuzzer,
  type Bench,
} from "../support/fuzz/run.ts";

/** The first sentence about what is wrong, and after how many messages. */
type Hunt = (root: string) => Promise<readonly [found: string, after: number]>;

/** Runs of CI within which each is found; most are in the first. */
const RUNS = 3;
const byRequests: Hunt = (root) =>
  first(withRequestFuzzer, root, RUNS * REQUESTS);
const byResponses: Hunt = (root) =>
  first(withResponseFuzzer, root, RUNS * RESPONSES);

async function first<App>(
  fuzz: (
    use: (bench: Bench<App>) => Promise<void>,
    root: string,
  ) => Promise<void>,
  root: string,
  most: number,
): Promise<readonly [string, number]> {
  let found: readonly [string, number] = ["", 0];
  await fuzz(async ({ fuzzer }) => {
    await fuzzer.warmUp();
    const { failures, requests } = await fuzzer.run(most, 1);
    found = [failures[0]?.wrong[0] ?? "", requests];
  }, root);
  return found;
}

const byGrowth: Hunt = async (root) => {
  let found: readonly [string, number] = ["", 0];
  await withRequestFuzzer(async ({ fuzzer }) => {
    await fuzzer.warmUp();
    const [why = ""] = await superLinear(fuzzer, 1);
    found = [why, fuzzer.result.requests];
  }, root);
  return found;
};

const HUNTS: readonly (readonly [Mutant, by: string, Hunt, finds: RegExp])[] = [
  [QUADRATIC_TRIM, "growth", byGrowth, /µs for \d+/],
  [
    TUNNEL_TO_HTTP,
    "random requests",
    byRequests,
    // Where nothing listens, it comes as far as the dial.
    /tunnel to a port for HTTP|refused 503 APPLICATION_UNREACHABLE, but/,
  ],
  [TWO_LENGTHS, "random responses", byResponses, /two framings/],
  [QUADRATIC_TRIM, "random requests", byRequests, /holds the event loop for/],
  [LOWER_CASE_METHOD, "random requests", byRequests, /allowed|came to the app/],
];

/** One of each way to find one, or all of them. */
const SOME = drawn("WHERRY_FUZZ_MUTANTS", 3, HUNTS.length);

for (const [mutant, by, hunt, finds] of HUNTS.slice(0, SOME))
  void t.test(
    `${mutant.name} is found by ${by}`,
    { timeout: 300_000 },
    async (t) => {
      await withMutant(mutant, async (root) => {
        const [found, after] = await hunt(root);
        t.match(found, finds);
        t.comment(`after ${after} messages: ${found}`);
      });
    },
  );
