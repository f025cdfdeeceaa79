/** What a sidecar reports of the calls that come in: as they change, all of it at each connection, an hour of it, bounded. */
import t from "tap";
import { Server, ServerCredentials, status, type Client } from "@grpc/grpc-js";
import { Client as GrpcClient, credentials } from "@grpc/grpc-js";
import { Observations } from "../../../src/agent/observed/observations.ts";
import { INCOMING } from "../../../src/agent/observed/sorts.ts";
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
  readonly observations: Observations<ObservedCall>;
  readonly client: Client;
  readonly reports: Observed[];
  /** What the control plane responds with next; undefined: it takes the report. */
  fails: status | undefined;
  calls: number;
}

/** `random`: what the clock draws each time. `reads`: what the control plane can read; the rest is too long for it. */
async function start(
  t: { teardown(run: () => unknown): void },
  random = 0,
  reads: (report: Observed) => boolean = () => true,
): Promise<World> {
  const server = new Server();
  const clock = fakeClock({ random: () => random });
  const observations = new Observations(INCOMING, {
    clock,
    logger: silentLogger,
  });
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
        else if (!reads(call.request))
          callback({ code: status.RESOURCE_EXHAUSTED, details: "too long" });
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
      calls: [{ count: 2, lastAge: 60_000 }, { path: "/a" }],
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

void t.test(
  "sidecars that are connected anew spread what they knew already",
  async (t) => {
    const world = await start(t, 0.5);
    const { clock, observations, client } = world;
    const connect = (): void =>
      observations.connected(client, new AbortController().signal);
    connect();
    observations.tell({ calls: [row()], dropped: 0 });
    clock.advance(500);
    await asked(world, 1);
    observations.tell({ calls: [row()], dropped: 0 });
    connect();
    clock.advance(14_999);
    t.equal(clock.pending, 1, "the report of before waits for the spread too");
    clock.advance(1);
    t.equal(clock.pending, 1, "the time-out of the call");
    await asked(world, 2);
  },
);

void t.test("what one message cannot hold goes in several", async (t) => {
  const world = await start(t);
  const { clock, observations, client, reports } = world;
  observations.tell({
    calls: Array.from({ length: 1000 }, (_, index) =>
      row({ path: `/${index}`, host: "x".repeat(10_000) }),
    ),
    dropped: 7,
  });
  observations.connected(client, new AbortController().signal);
  clock.advance(0);
  await eventually(
    "all of it",
    10_000,
    () => Promise.resolve(reports.flatMap(({ calls }) => calls).length),
    (rows) => rows === 1000,
  );
  t.ok(reports.every(({ calls }) => calls.length <= 105));
  t.strictSame(
    reports.map(({ dropped }) => dropped).filter((dropped) => dropped > 0),
    [7],
  );
});

void t.test("one row that cannot be read holds up no other", async (t) => {
  const isBad = ({ path }: ObservedCall): boolean => path === "/bad";
  const world = await start(t, 0, ({ calls }) => !calls.some(isBad));
  const { clock, observations, client, reports } = world;
  const paths = ["/0", "/1", "/2", "/bad", "/3", "/4"];
  observations.tell({
    calls: paths.map((path) => row({ path, count: 2 })),
    dropped: 1,
  });
  observations.connected(client, new AbortController().signal);
  clock.advance(0);
  await eventually(
    "the others",
    10_000,
    () => Promise.resolve(reports.flatMap(({ calls }) => calls).length),
    (rows) => rows === 5,
  );
  t.equal(
    reports.reduce((sum, { dropped }) => sum + dropped, 0),
    3,
    "it is counted with what found no room",
  );
});
