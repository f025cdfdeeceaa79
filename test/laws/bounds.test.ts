/** Law 10: what callers and peers can make this process hold is bounded, and who comes on top is told so. */
import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import type { Socket } from "node:net";
import t from "tap";
import { Deadlines } from "../../src/core/deadlines.ts";
import { LOCAL_STATE } from "../../src/core/shared/shared-state.ts";
import { watchSource } from "../../src/core/watch.ts";
import { type Snapshot } from "../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../src/policy/compile/compile.ts";
import { makeOutbound } from "../../src/proxy/outbound.ts";
import { DEFAULT_LIMITS } from "../../src/proxy/downstream/limits.ts";
import { makeMeters } from "../../src/telemetry/meters.ts";
import { makeReplayBudget } from "../../src/proxy/exchange/replay.ts";
import { makeServing } from "../../src/proxy/downstream/serving.ts";
import { LongLived } from "../../src/proxy/exchange/long-lived.ts";
import { watchIdle } from "../../src/proxy/exchange/time/idle.ts";
import { makeClusters } from "../../src/proxy/upstream/cluster/clusters.ts";
import { poolSettingsOf } from "../../src/proxy/upstream/cluster/places.ts";
import { makePools } from "../../src/proxy/upstream/pool/pools.ts";
import { makePassthrough } from "../../src/proxy/upstream/passthrough.ts";
import { TRAFFIC_DEFAULTS } from "../../src/resources/traffic-policy/settings.ts";
import { makeAccessLog } from "../../src/telemetry/access-log.ts";
import { makeMetrics } from "../../src/telemetry/metrics.ts";
import { UNSAID } from "../../src/telemetry/request-rules.ts";
import { makeTracing } from "../../src/telemetry/tracing.ts";
import { UNBOUNDED } from "../../src/wire/buffers.ts";
import { serveHttp1 } from "../../src/wire/http1/server.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { send, withPair } from "../support/meshes/pair.ts";
import { keptLog } from "../support/laws/harness.ts";

/** As much of a socket as the bound on their number looks at. */
function socketLike(): Socket & { gone: boolean } {
  const socket = Object.assign(new EventEmitter(), {
    gone: false,
    remoteAddress: "127.0.0.1",
    remotePort: 1,
    localAddress: "127.0.0.1",
    destroy(): void {
      socket.gone = true;
    },
  });
  return socket as unknown as Socket & { gone: boolean };
}

void t.test(
  "connections over the bound are closed, counted and told of; one that goes makes room",
  (t) => {
    const clock = fakeClock();
    const { logger, lines } = keptLog();
    const registry = makeMetrics({ maxSeries: 100 });
    const serving = makeServing({
      clock,
      meters: makeMeters(registry),
      logger,
      limits: { ...DEFAULT_LIMITS, connections: 2 },
    });
    const first = socketLike();
    t.ok(serving.admit(first, "link"));
    t.ok(serving.admit(socketLike(), "outbound"));
    const third = socketLike();
    t.notOk(serving.admit(third, "link"));
    t.ok(third.gone);
    t.match(
      registry.render(),
      /wherry_refusals_total\{listener="link",reason="too many connections"\} 1/,
    );
    t.match(lines, [{ reason: "too many connections", detail: /^2 are open/ }]);
    first.emit("close");
    t.ok(serving.admit(socketLike(), "link"));
    t.end();
  },
);

void t.test("requests over the bound are 503 OVERLOADED", async (t) => {
  const clock = fakeClock();
  const registry = makeMetrics({ maxSeries: 100 });
  const meters = makeMeters(registry);
  const pools = makePools({
    clock,
    credentials: watchSource(undefined),
    ownPorts: new Set(),
    linkProtocol: "h2",
  });
  t.teardown(() => pools.destroy());
  const snapshot = watchSource<Snapshot | undefined>(
    compileSnapshot(
      [],
      {
        name: "web-1",
        namespace: "shop",
        serviceAccount: "web",
        labels: {},
        identity: "spiffe://cluster.local/ns/shop/sa/web",
      },
      { store: "test", revision: 1, digest: "" },
    ),
  );
  const handler = makeOutbound({
    snapshot,
    host: {
      clock,
      idle: watchIdle(clock),
      deadlines: new Deadlines(clock),
      replay: makeReplayBudget(),
      limits: DEFAULT_LIMITS,
      buffers: UNBOUNDED,
      maxActive: 0,
      longLived: new LongLived(0),
      policy: { changes: 0, current: undefined },
      fallen: new WeakMap(),
      short: false,
    },
    sinks: {
      clock,
      meters,
      tracing: makeTracing({
        clock,
        sink: () => undefined,
        samplingPercentage: () => 0,
        forms: () => 0,
      }),
      log: makeAccessLog({ mode: "none", clock }),
      rules: () => UNSAID,
    },
    clusters: makeClusters({ clock, pools, meters, logger: silentLogger }),
    passthrough: makePassthrough(LOCAL_STATE.workers, pools),
    mirrors: { tee: () => undefined },
    departures: { add: () => undefined },
    faults: {
      inject: () => t.fail("there are none"),
      apply: () => undefined,
      close: () => undefined,
    },
  });
  const { createServer } = await import("node:net");
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    serveHttp1(
      socket,
      {
        clock,
        info: {
          protocol: "http/1.1",
          peer: undefined,
          remoteAddress: "127.0.0.1",
          remotePort: 1,
          localAddress: "127.0.0.1",
          originalDestination: undefined,
        },
      },
      handler,
    );
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve()),
  );
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  t.match(await send(port), { status: 503, reason: "OVERLOADED" });
  t.match(registry.render(), /reason="OVERLOADED"\} 1/);
});

void t.test("pools to places outside are bounded: unused ones go", (t) => {
  const pools = makePools({
    clock: fakeClock(),
    credentials: watchSource(undefined),
    ownPorts: new Set(),
    linkProtocol: "h2",
  });
  t.teardown(() => pools.destroy());
  const settings = poolSettingsOf(TRAFFIC_DEFAULTS);
  for (let index = 0; index < 10_000; index += 1)
    pools.find(
      {
        kind: "plain",
        address: `host-${index}.example`,
        port: 80,
        protocol: "http/1.1",
      },
      settings,
    );
  const count = [...pools.entries()].length;
  t.ok(count <= 4096, `${count} pools`);
  t.end();
});

void t.test(
  "callers cannot make series: hosts, paths and methods of their invention are counted together",
  async (t) => {
    await withPair({}, async (pair) => {
      const series = async (): Promise<number> =>
        (
          await send(pair.caller.ports.metrics ?? 0, {
            path: "/metrics",
            host: "127.0.0.1",
          })
        ).text
          .split("\n")
          .filter((line) => /^wherry_requests_total/.test(line)).length;
      const call = async (index: number): Promise<void> => {
        await pair.call({
          path: `/${index}`,
          method: index % 2 ? "GET" : "PUT",
        });
        await pair.call({ host: `host-${index}.invalid` });
        await pair.call({ headers: { "x-any": String(index) } });
      };
      await call(0);
      const before = await series();
      for (let index = 1; index < 20; index += 1) await call(index);
      t.equal(await series(), before);
    });
  },
);

void t.test(
  "a slow reader holds its answer back, not this process",
  async (t) => {
    const total = 64 * 1024 * 1024;
    let sent = 0;
    await withPair(
      {
        app: () => (_request, response) => {
          const chunk = Buffer.alloc(64 * 1024);
          const source = new PassThrough();
          source.pipe(response);
          const more = (): void => {
            while (sent < total) {
              sent += chunk.length;
              if (!source.write(chunk)) {
                source.once("drain", more);
                return;
              }
            }
            source.end();
          };
          response.on("close", () => source.destroy());
          more();
        },
      },
      async (pair) => {
        const { connect } = await import("node:net");
        const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.pause();
        socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
        // It goes on for as long as anything takes it, and then stands still.
        let still = 0;
        for (let last = -1; still < 10;) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          still = sent === last && sent > 0 ? still + 1 : 0;
          last = sent;
        }
        t.ok(sent < 24 * 1024 * 1024, `${sent} octets were taken`);
        socket.destroy();
      },
    );
  },
);
