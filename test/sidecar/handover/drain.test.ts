/** What is connected to a process that was replaced keeps it no longer than something may be lost by its end, whatever the other end does or leaves undone. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import t from "tap";
import { PREFACE } from "../../../src/wire/http2/frames/frames.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  GET,
  headers,
  settings,
  windowUpdate,
} from "../../support/http2/raw-peer.ts";
import {
  EchoStream,
  echoApplication,
} from "../../support/peers/echo-stream.ts";
import { until, withPair, type Pair } from "../../support/meshes/pair.ts";
import {
  frame,
  handshake,
  WebSocketApplication,
} from "../../support/peers/websocket.ts";

/** Milliseconds: far longer than any time-out of a connection. */
const DRAIN = 3_600_000;
/** Shorter than what a request may take. */
const SHORT = 30_000;
/** Milliseconds that go by in a turn of the event loop. */
const STRIDE = 10;

/** A connection of a peer that never closes it, and reads only if told to. */
async function open(port: number | undefined, text = ""): Promise<Socket> {
  const socket = connect({
    port: port ?? 0,
    host: "127.0.0.1",
    allowHalfOpen: true,
  });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  if (text !== "") socket.write(text, "latin1");
  return socket;
}

async function heard(socket: Socket, part: string): Promise<void> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  await until(() => text.includes(part));
}

const KEPT = "GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n";

interface Row {
  readonly what: string;
  /** Connects to the side that is replaced. */
  readonly prepare: (pair: Pair) => Promise<readonly Socket[]>;
  readonly side?: "callee";
  readonly app?: "chat" | "bulk";
}

const ROWS: readonly Row[] = [
  {
    what: "a caller that has said nothing",
    prepare: async ({ caller }) => [await open(caller.ports.outbound)],
  },
  {
    what: "a caller of HTTP/1 that keeps its connection",
    async prepare({ caller }) {
      const socket = await open(caller.ports.outbound, KEPT);
      await heard(socket, "200 OK");
      return [socket];
    },
  },
  {
    what: "a caller of HTTP/1 in the middle of a head",
    prepare: async ({ caller }) => [
      await open(caller.ports.outbound, "GET / HTTP/1.1\r\nHost: o"),
    ],
  },
  {
    what: "a caller of HTTP/1 in the middle of a body",
    prepare: async ({ caller }) => [
      await open(
        caller.ports.outbound,
        "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 10\r\n\r\nhello",
      ),
    ],
  },
  {
    what: "a caller of HTTP/2 that takes no notice of GOAWAY",
    async prepare({ caller }) {
      const socket = await open(caller.ports.outbound);
      socket.write(Buffer.concat([PREFACE, settings(), headers(1, GET)]));
      await heard(socket, "");
      await until(() => socket.bytesRead > 0);
      return [socket];
    },
  },
  {
    what: "a caller of HTTP/2 that does not read",
    app: "bulk",
    async prepare({ caller }) {
      const socket = await open(caller.ports.outbound);
      socket.pause();
      socket.write(
        Buffer.concat([
          PREFACE,
          settings([4, 2 ** 31 - 1]),
          windowUpdate(0, 2 ** 30),
          headers(1, [
            ...GET.filter(([name]) => name !== ":authority"),
            [":authority", "orders.shop"],
          ]),
        ]),
      );
      await until(() => caller.inFlight.outbound > 0);
      return [socket];
    },
  },
  {
    what: "a caller of HTTP/1 that does not read",
    app: "bulk",
    async prepare({ caller }) {
      const socket = await open(caller.ports.outbound);
      socket.pause();
      socket.write(KEPT);
      await until(() => caller.inFlight.outbound > 0);
      return [socket];
    },
  },
  {
    what: "a WebSocket that does not answer the Close",
    app: "chat",
    async prepare({ caller }) {
      const socket = await open(caller.ports.outbound, handshake());
      await heard(socket, "101");
      return [socket];
    },
  },
  {
    what: "a WebSocket that does not read",
    app: "chat",
    async prepare({ caller }) {
      const socket = await open(caller.ports.outbound, handshake());
      await heard(socket, "101");
      socket.removeAllListeners("data");
      socket.pause();
      const much = frame(0x82, Buffer.alloc(65_000), true);
      for (let sent = 0; sent < 200; sent += 1) socket.write(much);
      await until(() => socket.writableLength > 0);
      return [socket];
    },
  },
  {
    what: "somebody at the admin port",
    async prepare({ caller }) {
      const idle = await open(
        caller.ports.admin,
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
      );
      await heard(idle, "200 OK");
      return [idle, await open(caller.ports.admin, "GET /li")];
    },
  },
  {
    what: "a peer that does not begin its handshake",
    side: "callee",
    prepare: async ({ callee }) => [await open(callee.ports.link)],
  },
  {
    what: "another sidecar, whose connection is idle",
    side: "callee",
    async prepare(pair) {
      t.equal((await pair.call()).status, 200);
      return [];
    },
  },
  {
    what: "somebody at the port for captured calls",
    side: "callee",
    prepare: async ({ callee }) => [await open(callee.ports.inbound)],
  },
];

const APPS = {
  chat: new WebSocketApplication().accept,
  bulk: (socket: Socket): void => {
    socket.on("error", () => undefined);
    socket.on("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
      const more = (): void => {
        while (socket.writable && socket.write(Buffer.alloc(65_536)));
      };
      socket.on("drain", more);
      more();
    });
  },
};

/** Lets the clock go on until `over` is settled; how long that was by this clock. */
async function ending(
  clock: FakeClock,
  over: Promise<unknown>,
): Promise<number> {
  const from = clock.now();
  const state = { settled: false };
  void over.finally(() => (state.settled = true));
  while (!state.settled && clock.now() - from <= DRAIN) {
    clock.advance(STRIDE);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return clock.now() - from;
}

for (const { what, prepare, side = "caller", app } of ROWS)
  void t.test(`${what} is not waited for`, async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        [side]: { clock, drainTimeout: DRAIN },
        ...(app === undefined ? {} : { rawApp: () => APPS[app] }),
      },
      async (pair) => {
        const sockets = await prepare(pair);
        const sidecar = pair[side];
        await sidecar.handOver();
        const ms = await ending(clock, sidecar.over);
        t.ok(ms < DRAIN / 10, `${ms} ms`);
        for (const socket of sockets) socket.destroy();
      },
    );
  });

const ECHO = echoApplication();

for (const side of ["caller", "callee"] as const)
  void t.test(
    `a stream of gRPC that outlasts the drain at the ${side} ends with its status`,
    async (t) => {
      const clock = fakeClock({ wall: Date.now() });
      await withPair(
        {
          [side]: { clock, drainTimeout: SHORT },
          appProtocol: "grpc",
          // The only instance is never ejected.
          instances: 2,
          rawApp: () => (socket) => void ECHO.emit("connection", socket),
        },
        async (pair) => {
          const { outbound = 0 } = pair.caller.ports;
          const streams = Array.from(
            { length: 20 },
            () => new EchoStream(outbound, "orders.shop"),
          );
          for (const stream of streams) {
            const sent = stream.send();
            await until(() => stream.received === sent);
          }
          const replaced =
            side === "caller"
              ? [pair.caller]
              : pair.instances.flatMap(({ sidecar }) => sidecar ?? []);
          for (const sidecar of replaced) await sidecar.handOver();
          const over = Promise.all(replaced.map((sidecar) => sidecar.over));
          const ms = await ending(clock, over);
          t.ok(ms >= 0.9 * SHORT && ms <= SHORT, "as late as may be, in time");
          await until(() => streams.every(({ ended }) => ended !== undefined));
          t.same(
            streams.map(({ ended }) => ended),
            streams.map(() => "14"),
            "UNAVAILABLE, and no reset",
          );
          if (side === "callee")
            t.equal(
              await pair.metric(pair.caller, "wherry_ejections_total{"),
              0,
              "which is not held against the instance",
            );
          for (const stream of streams) stream.destroy();
        },
      );
    },
  );

void t.test(
  "a caller of HTTP/1 that comes back in time is served",
  async () => {
    const clock = fakeClock({ wall: Date.now() });
    const drainTimeout = SHORT;
    await withPair({ caller: { clock, drainTimeout } }, async ({ caller }) => {
      const socket = await open(caller.ports.outbound, KEPT);
      await heard(socket, "200 OK");
      await caller.handOver();
      clock.advance(9900);
      socket.write(KEPT, "latin1");
      await heard(socket, "connection: close");
      socket.destroy();
      await ending(clock, caller.over);
    });
  },
);

void t.test("a request without a response gets one at the end", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  await withPair(
    { caller: { clock, drainTimeout: SHORT }, app: () => () => undefined },
    async (pair) => {
      const called = pair.call();
      await until(() => pair.callee.inFlight.inbound > 0);
      await pair.caller.handOver();
      await ending(clock, pair.caller.over);
      t.match(await called, { status: 503, reason: "DRAINING" });
    },
  );
});
