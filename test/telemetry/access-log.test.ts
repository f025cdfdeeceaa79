import t from "tap";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import {
  makeAccessLog,
  type AccessLogMode,
  type AccessRecord,
} from "../../src/telemetry/access-log.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const RECORD: AccessRecord = {
  direction: "inbound",
  method: "GET",
  authority: "orders.shop",
  path: "/x",
  protocol: "h2",
  status: 403,
  reason: "DENIED",
  policy: "shop/deny",
  detail: undefined,
  durationMs: 1.23456,
  bytesReceived: 0,
  bytesSent: 10,
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  peer: "spiffe://cluster.local/ns/shop/sa/web",
  destination: "orders.shop:80",
  route: undefined,
  endpoint: undefined,
  attempts: 0,
};

void t.test("each mode wants what it is for", (t) => {
  const wanted = (mode: AccessLogMode, asked?: boolean): boolean[] => {
    const log = makeAccessLog({
      mode,
      clock: fakeClock(),
      write: () => undefined,
    });
    return [
      log.wants(200, undefined, asked),
      log.wants(404, undefined, asked),
      log.wants(404, "NO_ROUTE", asked),
      log.wants(500, undefined, asked),
      log.wants(0, undefined, asked),
    ];
  };
  t.same(wanted("none"), [false, false, false, false, false]);
  t.same(wanted("errors"), [false, false, true, true, true]);
  t.same(wanted("all"), [true, true, true, true, true]);
  for (const asked of [true, false]) {
    const each = Array.from({ length: 5 }, () => asked);
    t.same(wanted("errors", asked), each, "a Telemetry says which");
    t.same(wanted("all", asked), each);
    t.same(wanted("none", asked), [false, false, false, false, false]);
  }
  t.end();
});

void t.test(
  "a record is one JSON line, with the time, without what is not known",
  (t) => {
    const lines: string[] = [];
    const log = makeAccessLog({
      mode: "all",
      clock: fakeClock(),
      write: (line) => void lines.push(line),
    });
    log.write({ ...RECORD, path: '/"\n' });
    t.equal(lines.length, 1);
    const [line = ""] = lines;
    t.equal(line.indexOf("\n"), line.length - 1);
    const parsed = JSON.parse(line) as Record<string, unknown>;
    t.match(parsed, {
      time: "2026-01-01T00:00:00.000Z",
      reason: "DENIED",
      policy: "shop/deny",
      durationMs: 1.235,
      path: '/"\n',
    });
    t.notOk("route" in parsed);
    log.close();
    t.end();
  },
);

void t.test("no character of a line is one that a terminal obeys", (t) => {
  const lines: string[] = [];
  const log = makeAccessLog({
    ...{ mode: "all", clock: fakeClock() },
    write: (line) => void lines.push(line),
  });
  const hostile = "\u001b[2J\u009b2J\u007f\u0085é";
  log.write({
    ...{ ...RECORD, path: hostile, authority: hostile, method: hostile },
    ...{ detail: hostile, endpoint: hostile, reason: hostile },
    fields: { agent: hostile },
  });
  const [line = ""] = lines;
  t.notMatch(line.slice(0, -1), /[\0-\u001f\u007f-\u009f]/);
  t.match(JSON.parse(line), {
    ...{ path: hostile, authority: hostile, method: hostile },
    ...{ detail: hostile, endpoint: hostile, reason: hostile },
    fields: { agent: hostile },
  });
  t.end();
});

void t.test(
  "errors are logged at a bounded rate, and what was left out is counted on the next line",
  (t) => {
    const lines: string[] = [];
    const clock = fakeClock();
    const log = makeAccessLog({
      mode: "errors",
      clock,
      write: (line) => void lines.push(line),
    });
    for (let index = 0; index < 250; index += 1) log.write(RECORD);
    t.equal(lines.length, 100);
    clock.advance(10);
    log.write(RECORD);
    t.match(JSON.parse(lines.at(-1) ?? ""), { suppressed: 150 });
    for (let index = 0; index < 250; index += 1) log.write(RECORD, true);
    t.equal(lines.length, 351, "what is asked for is bound by no rate");
    t.end();
  },
);

void t.test(
  "lines are put together by the dozen, soon, in order, and none is left behind",
  (t) => {
    const clock = fakeClock();
    const blocks: string[] = [];
    const log = makeAccessLog({
      mode: "all",
      clock,
      sink: {
        take(block, length, done) {
          blocks.push(block.toString("utf8", 0, length));
          done(block);
        },
        last: (block, length) => blocks.push(block.toString("utf8", 0, length)),
        close: () => undefined,
      },
    });
    let made = 0;
    const write = (count: number): void => {
      for (let one = 0; one < count; one += 1, made += 1) {
        log.write({ ...RECORD, path: `/${made}` });
        clock.advance(0.001);
      }
    };
    const paths = (): (string | undefined)[] =>
      blocks.flatMap((block) =>
        block
          .trimEnd()
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => (JSON.parse(line) as { path: string }).path),
      );
    // Too few to be put together at once: half a second later.
    write(5);
    clock.advance(500);
    t.equal(paths().length, 5);
    // So many that no turn of the event loop comes in between.
    write(1500);
    clock.advance(500);
    write(40);
    log.close();
    t.same(
      paths(),
      Array.from({ length: made }, (_, one) => `/${one}`),
    );
    t.end();
  },
);

void t.test("however long its texts are, a request has its line", (t) => {
  const blocks: string[] = [];
  const log = makeAccessLog({
    ...{ mode: "errors", clock: fakeClock() },
    sink: {
      take: () => undefined,
      last: (block, length) => blocks.push(block.toString("utf8", 0, length)),
      close: () => undefined,
    },
  });
  const long = "x".repeat(25_000);
  const escaped = "\u0085".repeat(25_000);
  const fields = Object.fromEntries(
    Array.from({ length: 16 }, (_, at) => [`${at}`, "\u0085".repeat(256)]),
  );
  log.write({ ...RECORD, authority: long, detail: `no ${long}` });
  log.write({
    ...{ ...RECORD, path: escaped, method: escaped, authority: escaped },
    ...{ destination: escaped, detail: escaped, fields },
  });
  log.write({ ...RECORD, path: long.slice(0, 15_000) });
  log.close();
  const [first, second, whole, ...more] = blocks
    .join("")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  t.match(first, {
    ...{ authority: long.slice(0, 4096), path: "/x", status: 403 },
    truncated: true,
  });
  t.match(second, { path: /^\u0085+$/, truncated: true });
  t.equal(whole?.["path"], long.slice(0, 15_000), "what fits is not cut");
  t.notOk("truncated" in (whole ?? {}));
  t.same(more, []);
  t.end();
});

void t.test("a line that its file has no room for is counted as lost", (t) => {
  const lost = (): number => {
    for (const { part, error, count } of machineErrors())
      if (part === "access-log" && error === "lost") return count;
    return 0;
  };
  const clock = fakeClock();
  const ignore = (): void => undefined;
  // It never gives a block back.
  const sink = { take: ignore, last: ignore, close: ignore };
  const log = makeAccessLog({ mode: "errors", clock, sink });
  for (let index = 0; index < 250; index += 1) log.write(RECORD);
  t.equal(lost(), 0, "what is over the rate is left out on purpose");
  for (let index = 0; index < 5000 && lost() === 0; index += 1) {
    clock.advance(10);
    log.write(RECORD);
  }
  t.equal(lost(), 1);
  log.close();
  t.end();
});
