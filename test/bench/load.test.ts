// What the load generators print, in numbers.
import t from "tap";
import { readReport as readFortio } from "../../bench/load/fortio.ts";
import { readLog, readReport as readH2load } from "../../bench/load/h2load.ts";
import { Frames, Lengths } from "../../bench/echo/messages.ts";
import { exchange, latencies } from "../../bench/load/messages.ts";
import { withoutErrors } from "../../bench/load/tool.ts";
import { readReport as readWrk } from "../../bench/load/wrk.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { grown } from "../../bench/scenarios/growth.ts";

void t.test("wrk: the line of its script among its own", (t) => {
  const line =
    '{"requests":900,"seconds":2.01,"bytes":5,"errors":0,"kinds":"","p50":0.5,"p99":2,"p999":3}';
  t.match(readWrk(`Running 2s test @ http://127.0.0.1/\n${line}\n`), {
    requests: 900,
    p99: 2,
  });
  t.throws(() => readWrk("unable to connect"), UserError);
  t.end();
});

void t.test("fortio: milliseconds, and all that was not 200", (t) => {
  const output = JSON.stringify({
    ActualQPS: 999.5,
    RetCodes: { "200": 990, "503": 8, "-1": 2 },
    DurationHistogram: {
      Count: 1000,
      Percentiles: [
        { Percentile: 50, Value: 0.0005 },
        { Percentile: 99, Value: 0.002 },
        { Percentile: 99.9, Value: 0.01 },
      ],
    },
  });
  t.same(readFortio(output), {
    requests: 1000,
    errors: 10,
    rate: 999.5,
    p50: 0.5,
    p99: 2,
    p999: 10,
  });
  t.end();
});

void t.test("h2load: counts from its report, latency from its log", (t) => {
  const output = `finished in 1.00s, 100.00 req/s, 15.64KB/s
requests: 110 total, 110 started, 104 done, 100 succeeded, 4 failed, 4 errored, 0 timeout
status codes: 98 2xx, 0 3xx, 2 4xx, 4 5xx
`;
  t.same(readH2load(output), { requests: 100, errors: 10 });
  const log = Array.from({ length: 1001 }, (_, i) => `17\t200\t${i}\n`);
  t.same(readLog(log.reverse().join("")), { p50: 0.5, p99: 0.99, p999: 0.999 });
  t.end();
});

void t.test("a run with an error or without a call is no figure", (t) => {
  const good = { requests: 9, errors: 0, p50: 1, p99: 1, p999: 1 };
  t.same(withoutErrors(good), good);
  t.throws(() => withoutErrors({ ...good, errors: 1 }), /1 of 9 requests/);
  t.throws(() => withoutErrors({ ...good, requests: 0 }), UserError);
  t.end();
});

void t.test("growth is that of the last tenth over the second", (t) => {
  const warming = Array.from({ length: 10 }, (_, i) => i * 10);
  const steady = (from: number): number[] => Array<number>(40).fill(from);
  t.equal(
    grown([
      ...warming,
      ...steady(100),
      ...steady(107),
      ...Array<number>(10).fill(108),
    ]),
    8,
  );
  t.end();
});

for (const [what, Messages, sent] of [
  ["WebSocket, a server's", Frames, (each: Buffer) => Frames.of(each)],
  ["WebSocket, a client's", Frames, (each: Buffer) => Frames.masked(each)],
  ["gRPC", Lengths, (each: Buffer) => Lengths.of(each)],
] as const)
  void t.test(`${what}: messages come out whole, however cut`, (t) => {
    const payloads = [3, 125, 126, 4000].map((bytes) =>
      Buffer.alloc(bytes, "abc"),
    );
    const bytes = Buffer.concat(payloads.map((payload) => sent(payload)));
    for (const piece of [1, 7, 200, bytes.length]) {
      const got: Buffer[] = [];
      const messages = new Messages((message) => got.push(message));
      for (let at = 0; at < bytes.length; at += piece)
        messages.read(bytes.subarray(at, at + piece));
      t.strictSame(
        got,
        // The server of gRPC repeats a message with what stands before it.
        Messages === Lengths ? payloads.map((each) => sent(each)) : payloads,
      );
    }
    t.end();
  });

void t.test("messages: each is asked for behind the one before", async (t) => {
  const clock = fakeClock();
  const asked: (() => void)[] = [];
  let ended = 0;
  const load = exchange(
    (onAnswer) =>
      Promise.resolve({
        ask: () => void asked.push(onAnswer),
        end: () => void (ended += 1),
      }),
    { seconds: 1, talks: 2, clock },
  );
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(asked.length, 2);
  clock.advance(5);
  asked.shift()?.();
  t.equal(asked.length, 2, "the next one is on its way");
  clock.advance(1000);
  t.match(await load, { requests: 1, errors: 0, p50: 5 });
  t.equal(ended, 2);
});

void t.test("messages: one that hangs up is an error", async (t) => {
  let hangUp = (_why: string): void => undefined;
  const load = exchange(
    (_onAnswer, onEnd) => {
      hangUp = onEnd;
      return Promise.resolve({ ask: () => undefined, end: () => undefined });
    },
    { seconds: 1, talks: 1, clock: fakeClock() },
  );
  await new Promise((resolve) => setImmediate(resolve));
  hangUp("closed");
  t.match(await load, { errors: 1, kinds: "closed" });
  t.same(latencies([3, 1, 2]), { requests: 3, p50: 2, p99: 2, p999: 2 });
});
