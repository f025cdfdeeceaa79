/** `wherry trace` and `wherry demo`, against the demo's own server. */
import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { systemClock, type Clock } from "../../src/core/clock.ts";
import { openLocalToken } from "../../src/core/local/local-token.ts";
import { startControl } from "../../src/demo/control.ts";
import type { ReceivedSpan } from "../../src/demo/otlp.ts";
import type { ManagedProcess } from "../../src/demo/processes.ts";
import { makeTraceStore } from "../../src/demo/trace-store.ts";
import { runCli, type Ran } from "../support/control-plane/cli.ts";

const START = systemClock.wall() - 60_000;

function span(
  id: string,
  parent: string,
  service: string,
  more: Partial<ReceivedSpan> = {},
): ReceivedSpan {
  return {
    traceId: "a".repeat(32),
    spanId: id,
    parentSpanId: parent,
    service,
    instance: `${service}-1`,
    name: "GET",
    kind: "server",
    start: START,
    end: START + 10,
    attributes: { "http.request.method": "GET", "url.path": "/" },
    error: undefined,
    ...more,
  };
}

function processNamed(name: string, did: string[]): ManagedProcess {
  let running = true;
  return {
    name,
    pid: 42,
    get running() {
      return running;
    },
    start: () => {
      did.push(`start ${name}`);
      running = true;
    },
    stop: () => {
      did.push(`stop ${name}`);
      running = false;
      return Promise.resolve();
    },
    kill: () => {
      did.push(`kill ${name}`);
      running = false;
      return Promise.resolve();
    },
  };
}

/** What waits goes on at once; time-outs of connections do not pass. */
const impatient: Clock = {
  ...systemClock,
  after(ms, run) {
    if (ms >= 10_000) return systemClock.after(ms, run);
    const timer = setImmediate(run);
    return () => clearImmediate(timer);
  },
};

async function demo(t: Test): Promise<{
  traces: ReturnType<typeof makeTraceStore>;
  did: string[];
  readonly cli: (...argv: string[]) => Promise<Ran>;
}> {
  const traces = makeTraceStore({ maxTraces: 10 });
  const did: string[] = [];
  const state = t.testdir();
  const names = ["a-1/app", "a-1/sidecar", "control-plane"];
  const control = await startControl({
    clock: impatient,
    port: 0,
    traces,
    processes: new Map(names.map((name) => [name, processNamed(name, did)])),
    forwardTo: undefined,
    token: await openLocalToken(join(state, "demo.token")),
  });
  t.teardown(() => control.close());
  const { port } = control.server.address() as AddressInfo;
  writeFileSync(
    join(state, "dev.json"),
    JSON.stringify({ control: `http://127.0.0.1:${port}` }),
  );
  return { traces, did, cli: (...argv) => runCli([...argv, "--state", state]) };
}

void t.test("trace: the newest whole one, one by its id, a list", async (t) => {
  const { traces, cli } = await demo(t);
  const none = await cli("trace");
  t.equal(none.code, 1);
  t.match(none.err, /no trace has arrived yet: open the shop's page/);

  traces.add([
    span("1", "", "web"),
    span("2", "1", "web", {
      kind: "client",
      start: START + 2,
      end: START + 7,
      attributes: {
        "http.request.method": "GET",
        "url.full": "http://orders.shop/orders",
        "http.response.status_code": 503,
        "wherry.reason": "NO_ENDPOINT",
      },
      error: "NO_ENDPOINT",
    }),
    span("3", "2", "orders", { start: START + 3, end: START + 4 }),
  ]);
  // Newer, but its beginning has not arrived.
  traces.add([
    span("9", "8", "orders", { traceId: "b".repeat(32), start: START + 50 }),
  ]);
  const { code, out } = await cli("trace");
  t.equal(code, 0);
  t.match(out, `trace ${"a".repeat(32)}\nweb `);
  t.match(out, "GET orders.shop/orders  503 NO_ENDPOINT");
  t.match((await cli("trace", "bbbb")).out, `trace ${"b".repeat(32)}\n`);
  t.match((await cli("trace", "cccc")).err, /no trace begins with "cccc"/);
  t.match(JSON.parse((await cli("trace", "-o", "json")).out), [
    { spanId: "1" },
    { spanId: "2" },
    { spanId: "3" },
  ]);
  const list = (await cli("trace", "--list")).out.split("\n");
  t.match(list[0], /^TRACE +BEGAN +LASTED +SPANS +RESULT +SERVICES +REQUEST$/);
  t.match(list[1], /^b{32} .* 1 +ok +orders +GET \/$/);
  t.match(list[2], /^a{32} .* 10\.0 ms +3 +failed +orders,web +GET \/$/);
  t.match(JSON.parse((await cli("trace", "--list", "-o", "json")).out), [
    { rooted: false },
    { rooted: true, failed: true, spans: 3 },
  ]);
});

void t.test(
  "demo: lists, starts, stops and kills by name or instance",
  async (t) => {
    const { did, cli } = await demo(t);
    t.equal(
      (await cli("demo", "list")).out,
      `PROCESS        PID  STATE
a-1/app        42   running
a-1/sidecar    42   running
control-plane  42   running
`,
    );
    t.equal(
      (await cli("demo", "kill", "a-1")).out,
      `PROCESS      PID  STATE
a-1/app      42   stopped
a-1/sidecar  42   stopped
`,
    );
    t.match(
      (await cli("demo", "start", "a-1/app")).out,
      /a-1\/app +42 +running/,
    );
    t.match((await cli("demo", "stop", "control-plane")).out, /stopped/);
    t.strictSame(did, [
      "kill a-1/app",
      "kill a-1/sidecar",
      "start a-1/app",
      "stop control-plane",
    ]);
    const { code, err } = await cli("demo", "kill", "b-1");
    t.equal(code, 1);
    t.match(err, /there is no process "b-1"; there are a-1\/app, a-1\/sidecar/);
    t.match(JSON.parse((await cli("demo", "list", "-o", "json")).out), [
      { name: "a-1/app", running: true },
      { name: "a-1/sidecar", running: false },
      { name: "control-plane", running: false },
    ]);
  },
);

void t.test("no demo: said so, with what to do", async (t) => {
  const state = t.testdir({
    gone: { "dev.json": '{"control":"http://127.0.0.1:1"}' },
  });
  for (const argv of [["trace"], ["demo", "list"]]) {
    const never = await runCli([...argv, "--state", join(state, "never")]);
    t.equal(never.code, 1);
    t.match(never.err, /no demo has run here \(ENOENT.*npm start/);
    const gone = await runCli([...argv, "--state", join(state, "gone")]);
    t.equal(gone.code, 1);
    t.match(gone.err, /the demo does not respond at .*npm start/);
  }
});
