/** The benchmark of faults: what its records come to, which rows are chosen, and how a table tells of goals. */
import t from "tap";
import {
  between,
  failedUntil,
  figuresOf,
  firstAnswerBy,
  formatRecord,
  NOBODY,
  parseRecords,
  type CallRecord,
} from "../../bench/faults/calls.ts";
import { cutTable } from "../../bench/faults/cut-table.ts";
import { readFaultsOptions } from "../../bench/faults/options.ts";
import { openProgress } from "../../bench/faults/progress.ts";
import {
  faultsPage,
  faultsTable,
  type FaultsResult,
} from "../../bench/faults/report.ts";
import {
  NONE_FAILS,
  NO_GET_FAILS,
  NO_UNANSWERED_GET_FAILS,
  p99Within,
  rowFigures,
  type RowResult,
} from "../../bench/faults/row.ts";
import { allRows, chooseRows } from "../../bench/faults/rows.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

function record(due: number, more: Partial<CallRecord> = {}): CallRecord {
  return { due, took: 2, method: "GET", by: "callee-1", fault: "", ...more };
}

void t.test("records are read as they were written", (t) => {
  const records = [
    record(12.5),
    record(17.5, { method: "POST", by: NOBODY, fault: "503 UPSTREAM_RESET" }),
  ];
  const text = records.map(formatRecord).join("");
  t.same(parseRecords(text), records);
  t.same(parseRecords(`${text}22.5 1.0`), records, "half a line is left out");
  t.end();
});

void t.test("figures are of calls, failures and their reasons", (t) => {
  const records = [
    record(0, { took: 1 }),
    record(5, { took: 9, fault: "503 NO_ENDPOINT" }),
    record(10, { took: 3, fault: "503 NO_ENDPOINT" }),
    record(15, { took: 2 }),
  ];
  t.same(figuresOf(records), {
    calls: 4,
    failed: 2,
    reasons: { "503 NO_ENDPOINT": 2 },
    p50: 2,
    p99: 9,
    longest: 9,
  });
  t.equal(failedUntil(records, 4), 6);
  t.equal(failedUntil(records, 11), 0);
  t.equal(between(records, 5, 15).length, 2);
  t.end();
});

void t.test("an instance is back with its first good answer", (t) => {
  const records = [
    record(0),
    record(10, { by: "callee-2" }),
    record(20, { fault: "503 NO_ENDPOINT" }),
    record(30, { took: 4 }),
  ];
  t.equal(firstAnswerBy(records, "callee-1", 10), 24);
  t.ok(Number.isNaN(firstAnswerBy(records, "callee-1", 31)));
  t.end();
});

void t.test("rounds are put together, and times are of the worst", (t) => {
  const round = (lastFailure: number) => ({
    records: [
      record(0, { took: 4 }),
      record(lastFailure, { method: "POST", fault: "503", took: 30 }),
      record(200),
    ],
    faultAt: 100,
    healedAt: 150,
    more: { cpu: lastFailure },
  });
  const figures = rowFigures([round(120), round(160)]);
  t.match(figures, {
    calls: 6,
    failed: 2,
    failedGet: 0,
    failedPost: 2,
    quietP99: 4,
    failedFor: 20,
    failedAfter: 10,
    more: { cpu: 160 },
  });
  t.ok(NO_GET_FAILS.met(figures));
  t.notOk(NONE_FAILS.met(figures));
  t.notOk(p99Within(2).met(figures));
  t.ok(p99Within(8).met(figures));
  t.end();
});

void t.test(
  "a GET whose answer had begun is told from one without any",
  (t) => {
    const failing = (by: string, method: "GET" | "POST"): boolean =>
      NO_UNANSWERED_GET_FAILS.met(
        rowFigures([
          {
            records: [record(5, { method, by, fault: "too late" })],
            faultAt: 0,
            healedAt: 10,
          },
        ]),
      );
    t.equal(failing("callee-1", "GET"), true);
    t.equal(failing(NOBODY, "GET"), false);
    t.equal(failing(NOBODY, "POST"), true);
    t.end();
  },
);

void t.test("rows are chosen by how their names begin", (t) => {
  for (const short of [true, false]) {
    const names = allRows(short).map(({ name }) => name);
    t.equal(new Set(names).size, names.length, "no name comes twice");
  }
  const goalsOf = (short: boolean): string[] =>
    chooseRows(allRows(short), ["mad/garbage"]).flatMap(({ goals }) =>
      goals.map(({ text }) => text),
    );
  t.ok(goalsOf(false).includes("CPU ≤ 15 % of a core"));
  t.notOk(goalsOf(true).includes("CPU ≤ 15 % of a core"), "not of seconds");
  const rows = allRows(true);
  t.equal(chooseRows(rows, []), rows);
  t.same(
    chooseRows(rows, ["cut/callees", "black-hole/drop/get"]).map(
      ({ name }) => name,
    ),
    ["cut/callees/4s", "black-hole/drop/get"],
    "a part of a name is whole: callee is not callees",
  );
  t.throws(() => chooseRows(rows, ["cut/nobody"]), {
    message: /invalid row "cut\/nobody": expected the beginning of cut\//,
  });
  t.end();
});

void t.test("options are read, and a mistake in them is told", (t) => {
  t.match(readFaultsOptions(["cut", "--rows", "mad,fleet", "--rounds", "3"]), {
    names: ["cut", "mad", "fleet"],
    rounds: 3,
    short: false,
  });
  t.equal(readFaultsOptions(["--help"]), undefined);
  t.throws(() => readFaultsOptions(["--rounds", "0"]), {
    message: "invalid --rounds 0: expected a number of at least 1",
  });
  t.throws(() => readFaultsOptions(["--rounds", "1.5"]), {
    message: "invalid --rounds 1.5: expected a whole number of at least 1",
  });
  t.throws(() => readFaultsOptions(["--nothing"]), { message: /--rounds 1/ });
  t.end();
});

function result(version: string, rows: readonly RowResult[]): FaultsResult {
  return {
    scenario: "faults",
    date: "2026-11-28T00:00:00.000Z",
    version,
    machine: { cpu: "c", cores: 2, kernel: "k", node: "n", tools: {} },
    options: {},
    rows,
  };
}

void t.test("a table is aligned, and tells which goals are missed", (t) => {
  const figures = rowFigures([
    {
      records: [record(0), record(110, { fault: "503 NO_ENDPOINT" })],
      faultAt: 100,
      healedAt: 150,
    },
  ]);
  const rows: RowResult[] = [
    {
      name: "cut/callee/4s",
      rounds: 1,
      figures,
      goals: [{ text: "no call fails", met: false }],
    },
    { name: "cut/all/4s", rounds: 1, goals: [], failure: "no namespaces" },
  ];
  const plain = faultsTable(rows, undefined, false);
  const [head = "", first = ""] = plain.split("\n");
  t.equal(head.indexOf("goals"), first.indexOf("not met: no call fails"));
  t.match(plain, /1 × 503 NO_ENDPOINT/);
  t.match(plain, /no figures: no namespaces/);
  t.match(faultsTable(rows, undefined, true), /\u001b\[31mcut\/callee/);
  const page = faultsPage(result("new", rows), result("old", rows.slice(0, 1)));
  t.match(page, /\| cut\/callee\/4s, before \| 2 \| 1 \|/);
  t.match(page, /Before: old\./);
  t.end();
});

void t.test("cuts are summed up by who was cut off", (t) => {
  const row = (name: string, calls: number, failed: number): RowResult => ({
    name,
    rounds: 1,
    goals: [],
    figures: {
      ...rowFigures([{ records: [record(0)], faultAt: 0, healedAt: 0 }]),
      ...{ calls, failed },
    },
  });
  const lines = cutTable([
    row("cut/caller/90s", 1000, 0),
    row("cut/caller-and-callee/30s", 20, 0),
    row("cut/caller-and-callee-in-dropped/60s", 30, 2),
    row("cut/callee-rejected/2s", 4, 0),
    row("cut/callees/10s", 5, 1),
    row("cut/all-caller-heals-first/60s", 6, 0),
    row("black-hole/drop/get", 7, 7),
    { name: "cut/callees/2s", rounds: 1, goals: [], failure: "no namespaces" },
  ])
    .split("\n")
    .slice(2, -1)
    .map((line) => line.split("|").map((cell) => cell.trim()));
  t.same(
    lines.map((cells) => cells.slice(1, -1).join(", ")),
    [
      "one of two callees, 1, 0.0, 4, 0",
      "both callees, 1, 0.2, 5, 1",
      "the caller, 1, 1.5, 1,000, 0",
      "the caller and one callee, 2, 1.5, 50, 2",
      "all of them, 1, 1.0, 6, 0",
      "together, 6, 4.2, 1,065, 3",
    ],
  );
  t.end();
});

void t.test("progress is a line that changes on a terminal alone", (t) => {
  const clock = fakeClock();
  const written: string[] = [];
  const output = {
    write: (text: unknown) => written.push(String(text)) > 0,
    columns: 80,
  };
  const plain = openProgress(output, clock);
  plain.show("cut, round 1 of 3");
  clock.advance(3000);
  plain.end("cut 2 0");
  plain.close();
  t.same(written.splice(0), ["cut, round 1 of 3\n", "cut 2 0\n"]);
  const terminal = openProgress({ ...output, isTTY: true }, clock);
  terminal.show("cut");
  clock.advance(2000);
  t.match(written.at(-1), /cut, 2 s$/);
  terminal.close();
  t.end();
});
