/** What a sidecar reports of the calls that come in: as they change, all of it at each connection, an hour of it, bounded. */
import t from "tap";
import { Server, ServerCredentials, status, type Client } from "@grpc/grpc-js";
import { Client as GrpcClient, credentials } from "@grpc/grpc-js";
import { Observations } from "../../../src/agent/observed/observations.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Observed, ObservedCall } from "../../../src/push/messages.ts";
import { REGISTRATION } from "../../../src/push/services.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { eventually } from "../../support/peers/call.ts";

const row = (over: Partial<ObservedCall> = {}): ObservedCall => ({
  ...{ policy: "", effect: "", peer: "", address: "10.0.0.2", port: 80 },
  ...{ method: "GET", host: "orders", path: "/", count: 1 },
  ...{ firstAge: 0, lastAge: 0 },
  ...over,
});

interface World {
  readonly clock: FakeClock;
  readonly observations: Observations;
  readonly client: Client;
  readonly reports: Observed[];
  /** What the control plane responds with next; undefined: it takes the report. */
  fails: status | undefined;
  calls: number;
}

async function start(t: {
  teardown(run: () => unknown): void;
}): Promise<World> {
  const server = new Server();
  const clock = fakeClock();
  const observations = new Observations({ clock, logger: silentLogger });
  const reports: Observed[] = [];
  server.addService(
    { Observe: REGISTRATION.Observe },
    {
      Observe(
        call: { request: Observed },
        callback: (error: object | null, value?: object) => void,
      ) {
        world.calls += 1;
        if (world.fails !== undefined)
          callback({ code: world.fails, details: "no" });
        else {
          reports.push(call.request);
          callback(null, {});
        }
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(
      "127.0.0.1:0",
      ServerCredentials.createInsecure(),
      (error, bound) => (error === null ? resolve(bound) : reject(error)),
    ),
  );
  const client = new GrpcClient(
    `127.0.0.1:${port}`,
    credentials.createInsecure(),
  );
  const world: World = {
    clock,
    observations,
    client,
    reports,
    fails: undefined,
    calls: 0,
  };
  t.teardown(() => {
    observations.close();
    client.close();
    server.forceShutdown();
  });
  return world;
}

async function asked(world: World, calls: number): Promise<void> {
  await eventually(
    `${calls} reports`,
    10_000,
    () => Promise.resolve(world.calls),
    (count) => count === calls,
  );
}

void t.test(
  "news goes out soon, then no more often than each 10 s, and all of it at a new connection",
  async (t) => {
    const world = await start(t);
    const { clock, observations, client, reports } = world;
    observations.tell({
      calls: [row({ count: 2 }), row({ path: "/a" })],
      dropped: 3,
    });
    clock.advance(60_000);
    t.equal(world.calls, 0, "nobody is there to hear it");
    observations.connected(client, new AbortController().signal);
    clock.advance(1000);
    await asked(world, 1);
    t.match(reports[0], {
      calls: [{ count: 2, lastAge: 60_003 }, { path: "/a" }],
      dropped: 3,
    });

    observations.tell({ calls: [row({ count: 5 })], dropped: 0 });
    clock.advance(8999);
    t.equal(world.calls, 1);
    clock.advance(2000);
    await asked(world, 2);
    t.match(reports[1], { calls: [{ path: "/", count: 7 }], dropped: 0 });
    t.equal(
      reports[1]?.calls.length,
      1,
      "what did not change is not said again",
    );

    observations.connected(client, new AbortController().signal);
    clock.advance(11_000);
    await asked(world, 3);
    t.equal(reports[2]?.calls.length, 2);
  },
);

void t.test("counts are of the last hour", async (t) => {
  const world = await start(t);
  const { clock, observations, client, reports } = world;
  observations.tell({
    calls: [row({ count: 2 }), row({ path: "/old" })],
    dropped: 0,
  });
  clock.advance(40 * 60_000);
  observations.tell({ calls: [row({ count: 3 })], dropped: 0 });
  clock.advance(30 * 60_000);
  observations.connected(client, new AbortController().signal);
  clock.advance(1000);
  await asked(world, 1);
  t.match(reports[0], { calls: [{ path: "/", count: 3 }] });
  t.equal(reports[0]?.calls.length, 1, "what ended an hour ago is not said");
});

void t.test(
  "a failed report is made again, and a control plane that knows none is left alone",
  async (t) => {
    const world = await start(t);
    const { clock, observations, client, reports } = world;
    const connect = (): void =>
      observations.connected(client, new AbortController().signal);
    connect();
    world.fails = status.UNAVAILABLE;
    observations.tell({ calls: [row()], dropped: 1 });
    clock.advance(1000);
    await asked(world, 1);
    world.fails = undefined;
    await eventually(
      "the failure is known",
      10_000,
      () => {
        observations.tell({ calls: [], dropped: 0 });
        clock.advance(11_000);
        return Promise.resolve(reports.length);
      },
      (count) => count > 0,
    );
    t.match(reports[0], { calls: [{ count: 1 }], dropped: 1 });
    const before = world.calls;
    world.fails = status.UNIMPLEMENTED;
    observations.tell({ calls: [row()], dropped: 0 });
    clock.advance(11_000);
    await asked(world, before + 1);
    world.fails = undefined;
    connect();
    clock.advance(11_000);
    await asked(world, before + 2);
  },
);

void t.test(
  "a thousand callers fill the rows, and what is older than an hour makes room",
  async (t) => {
    const world = await start(t);
    const { clock, observations, client, reports } = world;
    const many = (from: number): ObservedCall[] =>
      Array.from({ length: 1100 }, (_, index) =>
        row({ address: `a${from + index}` }),
      );
    observations.tell({ calls: many(0), dropped: 0 });
    clock.advance(3_600_000);
    observations.tell({ calls: many(5000), dropped: 0 });
    observations.connected(client, new AbortController().signal);
    clock.advance(1000);
    await asked(world, 1);
    t.equal(reports[0]?.calls.length, 1024);
    t.equal(reports[0]?.dropped, 2 * 76);
    t.ok(
      reports[0]?.calls.every(
        ({ address }) => Number(address.slice(1)) >= 5000,
      ),
    );
  },
);
