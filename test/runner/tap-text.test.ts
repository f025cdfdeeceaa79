/** What tap prints, read: totals and failures. */
import t from "tap";
import {
  failures,
  format,
  seedIn,
  totals,
} from "../support/runner/tap-text.ts";

const RUN = `TAP version 14
1..3
# Subtest: test/a.test.ts
    # Subtest: first
        ok 1 - one
        ok 2 - two # SKIP not here
        1..2

    ok 1 - first # time=1.5ms

    ok 2 - a plain one
    1..2
    # time=3ms
ok 1 - test/a.test.ts # time=12.25ms

# Subtest: test/b.test.ts
    not ok 1 - wrong
      ---
      at: b.test.ts
      ...

    1..1
    # failed 1 test
not ok 2 - test/b.test.ts # time=7ms
  ---
  exitCode: 1
  ...

not ok 3 - test/c.test.ts # time=1ms
  ---
  signal: SIGKILL
  ...

# { total: 5, pass: 2, fail: 2, skip: 1 }
# time=20ms
`;

void t.test("totals are those of the last line, or none", (t) => {
  t.strictSame(totals(RUN), { passed: 2, failed: 2, skipped: 1 });
  t.strictSame(totals("# { total: 3, pass: 1, todo: 2 }\n"), {
    passed: 1,
    failed: 0,
    skipped: 2,
  });
  t.equal(totals("ok 1 - cut off\n"), undefined);
  t.end();
});

void t.test("failures with their detail, a hundred lines of them", (t) => {
  t.equal(
    failures(RUN.split("# failed")[0] ?? ""),
    "    not ok 1 - wrong\n      ---\n      at: b.test.ts\n      ...\n",
  );
  t.equal(failures("ok 1\n"), "");
  t.equal(failures("not ok 1 - x\n".repeat(300)).split("\n").length, 101);
  t.end();
});

void t.test("counts as words", (t) => {
  t.equal(format({ passed: 3, failed: 0, skipped: 0 }), "3 passed");
  t.equal(
    format({ passed: 3, failed: 1, skipped: 2 }),
    "3 passed, 1 failed, 2 skipped",
  );
  t.end();
});

void t.test("the seed of a fuzzer that failed", (t) => {
  const rows: Readonly<Record<string, string | undefined>> = {
    "not ok 3 - WHERRY_FUZZ_SEED=272806817 WHERRY_FUZZ_CASE=12:\n  two":
      "272806817",
    "not ok 1 - seed 41\n  ---": "41",
    "not ok 1 - 3 of 4 calls failed": undefined,
    "": undefined,
  };
  for (const [detail, seed] of Object.entries(rows))
    t.equal(seedIn(detail), seed, detail);
  t.end();
});
