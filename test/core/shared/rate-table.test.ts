/** The buckets of rate limits: how many pass, whatever keys come, and that threads share them. */
import { Worker } from "node:worker_threads";
import t from "tap";
import { keyedHash } from "../../../src/core/shared/keyed-hash.ts";
import {
  KEYS_PER_LIMIT,
  rateTable,
  rateTableMemory,
  type Rate,
  type RateTable,
} from "../../../src/core/shared/rate-table.ts";

const SEED = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);

/** `requests` a second. */
function perSecond(requests: number, burst = requests): Rate {
  return { cost: 1e9 / requests, burst };
}

function fresh(): RateTable {
  return rateTable(rateTableMemory(SEED));
}

/** How many of `offered` requests, evenly spread over `seconds` from `start`, get in; with several tables they go to each in turn. */
function admitted(
  tables: RateTable | readonly RateTable[],
  rate: Rate,
  offered: number,
  seconds: number,
  start = 0,
  key = "",
): number {
  const all = [tables].flat();
  let count = 0;
  for (let index = 0; index < offered; index += 1)
    if (
      all[index % all.length]?.take(
        "limit",
        key,
        rate,
        start + (index * seconds * 1000) / offered,
      ) === 0
    )
      count += 1;
  return count;
}

void t.test("the burst comes at once, and then the rate", (t) => {
  const table = fresh();
  const rate = perSecond(10, 5);
  for (let index = 0; index < 5; index += 1)
    t.equal(table.take("limit", "a", rate, 0), 0, `request ${index}`);
  t.equal(table.take("limit", "a", rate, 0), 100, "milliseconds to wait");
  t.equal(table.take("limit", "a", rate, 99), 1);
  t.equal(table.take("limit", "a", rate, 100), 0);
  t.equal(table.take("limit", "a", rate, 100), 100);
  t.equal(table.take("limit", "b", rate, 100), 0, "another key is not touched");
  t.equal(table.take("other", "a", rate, 100), 0, "nor another limit");
  t.end();
});

for (const [requests, offered, seconds] of [
  [1, 3, 10],
  [100, 150, 10],
  [3333, 10_000, 10],
  [100_000, 400_000, 2],
] as const)
  for (const workers of [1, 2])
    for (const key of ["", "a key of its own"])
      void t.test(
        `${offered} a second at ${workers === 1 ? "one worker" : "two workers"} against ${requests}${key === "" ? "" : " for each key"}: within 5 % over ${seconds} seconds`,
        (t) => {
          const memory = rateTableMemory(SEED);
          const tables = Array.from({ length: workers }, () =>
            rateTable(memory),
          );
          const rate = perSecond(requests);
          // The first burst is there besides; it is taken before the count begins.
          admitted(tables, rate, requests, 0.000_001, 0, key);
          const passed = admitted(
            tables,
            rate,
            offered * seconds,
            seconds,
            0,
            key,
          );
          const allowed = requests * seconds;
          t.ok(
            Math.abs(passed - allowed) <= Math.max(1, allowed * 0.05),
            `${passed} of ${allowed}`,
          );
          t.end();
        },
      );

void t.test("below the rate nothing is refused", (t) => {
  t.equal(admitted(fresh(), perSecond(100, 1), 990, 10), 990);
  t.end();
});

void t.test(
  "settings that change: a debt of before is never more than the new limit can owe",
  (t) => {
    const table = fresh();
    // A request an hour: the bucket is empty for an hour.
    t.equal(table.take("limit", "a", { cost: 3.6e12, burst: 1 }, 0), 0);
    const quick = perSecond(10, 2);
    t.equal(table.take("limit", "a", quick, 1), 100);
    t.equal(table.take("limit", "a", quick, 101), 0);
    t.end();
  },
);

void t.test("what is given back can be taken again", (t) => {
  const table = fresh();
  const rate = perSecond(1, 1);
  t.equal(table.take("limit", "a", rate, 0), 0);
  table.giveBack("limit", "a", rate);
  t.equal(table.take("limit", "a", rate, 0), 0);
  t.equal(table.take("limit", "a", rate, 0), 1000);
  table.giveBack("limit", "nobody", rate);
  t.end();
});

void t.test(
  "a flood of keys does not push out the debt of a key that is at its limit",
  (t) => {
    const table = fresh();
    const rate = perSecond(10, 10);
    for (let index = 0; index < 10; index += 1)
      table.take("limit", "greedy", rate, 0);
    for (let index = 0; index < KEYS_PER_LIMIT * 20; index += 1)
      table.take("limit", `flood ${index}`, rate, 0);
    t.ok(table.take("limit", "greedy", rate, 0) > 0, "still at its limit");
    t.end();
  },
);

void t.test(
  "whoever makes up keys gets no more than the buckets hold, and others of other limits all of theirs",
  (t) => {
    const table = fresh();
    const rate = perSecond(10, 2);
    let passed = 0;
    const offered = KEYS_PER_LIMIT * 30;
    for (let index = 0; index < offered; index += 1)
      if (table.take("limit", `flood ${index}`, rate, 0) === 0) passed += 1;
    t.ok(passed <= KEYS_PER_LIMIT * 2, `${passed} of ${offered}`);
    t.equal(table.take("other", "innocent", rate, 0), 0);
    // A tenth of a second pays one request's debt of each bucket.
    t.equal(table.take("limit", "late", rate, 100), 0, "and soon it is over");
    t.end();
  },
);

void t.test("keys that owe nothing any more leave their place", (t) => {
  const table = fresh();
  const rate = perSecond(10, 1);
  let refused = 0;
  for (let round = 0; round < 5; round += 1)
    for (let index = 0; index < KEYS_PER_LIMIT / 4; index += 1)
      if (table.take("limit", `${round} ${index}`, rate, round * 200) !== 0)
        refused += 1;
  t.equal(refused, 0);
  t.end();
});

void t.test(
  "more limits than there are regions share them, and go on limiting",
  (t) => {
    const table = fresh();
    const rate = perSecond(10, 3);
    const passed = (id: string): number => {
      let count = 0;
      for (let index = 0; index < 9; index += 1)
        if (table.take(id, "caller", rate, 0) === 0) count += 1;
      return count;
    };
    for (let limit = 0; limit < 100; limit += 1)
      t.equal(passed(`limit ${limit}`), 3);
    table.retain(new Set(["limit 1"]));
    t.equal(passed("limit 1"), 0, "kept, with what it owes");
    for (let limit = 200; limit < 230; limit += 1)
      t.equal(passed(`limit ${limit}`), 3, "regions of limits that are gone");
    t.end();
  },
);

void t.test("two threads take from the same buckets", async (t) => {
  const memory = rateTableMemory(SEED);
  const here = (path: string): string =>
    JSON.stringify(new URL(`../../../src/core/${path}`, import.meta.url).href);
  const work = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(${here("shared/rate-table.ts")}).then(({ rateTable }) => {
      const table = rateTable(workerData);
      parentPort.once("message", () => {
        let passed = 0;
        for (let step = 0; step <= 50_000; step += 1)
          if (table.take("limit", "key", { cost: 1e6 / 20, burst: 100 }, 1000 + step / 100) === 0) passed += 1;
        parentPort.postMessage(passed);
      });
      parentPort.postMessage(0);
    });`;
  const workers = [0, 1].map(
    () => new Worker(work, { eval: true, workerData: memory }),
  );
  const next = (worker: Worker): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  await Promise.all(workers.map(next));
  const results = workers.map(next);
  // Both go through the same half second, a hundredth of a millisecond at a time, each as fast as it can.
  for (const worker of workers) worker.postMessage("go");
  const counts = (await Promise.all(results)) as number[];
  await Promise.all(workers.map((worker) => worker.terminate()));
  const passed = counts.reduce((sum, count) => sum + count, 0);
  // Half a second at 20 a millisecond, and the burst.
  const allowed = 500 * 20 + 100;
  t.ok(Math.abs(passed - allowed) <= 2, `${counts.join(" + ")} of ${allowed}`);
});

void t.test(
  "the hash: every bit of text and key counts, and prefixes differ",
  (t) => {
    const key = Int32Array.from([0x03020100, 0x07060504]);
    const of = (text: string, with_ = key): string => {
      const out = new Int32Array(2);
      keyedHash(text, with_, out);
      return out.join(",");
    };
    const seen = new Set<string>();
    for (let index = 0; index < 50_000; index += 1)
      seen.add(of(`key ${index}`));
    t.equal(seen.size, 50_000);
    t.equal(of("a"), of("a"));
    t.not(of("a"), of("a\u0000"));
    t.not(of("a"), of("a", Int32Array.from([1, 2])));
    t.end();
  },
);
