/** Callers and applications that misbehave at every phase, at random: afterwards nothing is left, and the next call succeeds. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { reset } from "../../../src/wire/sockets.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

const SEEDS = [1, 2, 3];
const CALLS = 150;

type Behaviour = (socket: Socket, random: () => number) => void;

/** What an application does once it has read something. */
const APPLICATIONS: readonly Behaviour[] = [
  (socket) => reset(socket),
  (socket) => socket.end(),
  (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
  (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", () =>
      reset(socket),
    );
  },
  (socket) =>
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA"),
  (socket) => socket.write("garbage\r\n\r\n"),
  (socket) => socket.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
  (socket) =>
    socket.write(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
      () => setImmediate(() => socket.destroy()),
    ),
  (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
    socket.write(Buffer.alloc(200_000, 97));
  },
  (socket) => socket.write("HTTP/1.1 204 No\r\n\r\n"),
  (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
];

/** What a caller does with the connection that it has opened. */
const CALLERS: readonly Behaviour[] = [
  (socket) => socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n"),
  (socket) => {
    socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n", () =>
      reset(socket),
    );
  },
  (socket) =>
    socket.write(
      "PUT / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 9\r\n\r\nhalf",
    ),
  (socket) => {
    socket.write(
      "PUT / HTTP/1.1\r\nHost: orders.shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      () => setImmediate(() => reset(socket)),
    );
  },
  (socket) => {
    socket.write(
      "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 100000\r\n\r\n",
    );
    socket.write(Buffer.alloc(100_000, 98));
  },
  (socket) => socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\nGET /2"),
  (socket) => socket.write("POST / HTTP/9\r\n\r\n"),
  (socket) => {
    // Reads nothing until it goes.
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
  },
];

for (const seed of SEEDS)
  void t.test(
    `nothing is left of ${CALLS} bad exchanges, seed ${seed}`,
    async (t) => {
      const random = seededRandom(seed);
      const pick = <T>(list: readonly T[]): T => {
        const item = list[Math.floor(random() * list.length)];
        if (item === undefined) throw new RangeError("empty list");
        return item;
      };
      let sane = false;
      await withPair(
        {
          instances: 2,
          mesh: { defaults: { timeouts: { streamIdle: "500ms" } } },
          rawApp: () => (socket) => {
            socket.on("error", () => undefined);
            socket.on("data", () => {
              if (socket.destroyed) return;
              if (sane)
                socket.write(
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsane",
                );
              else pick(APPLICATIONS)(socket, random);
            });
          },
          resources: [
            resource("TrafficPolicy", "orders", {
              targetRefs: [{ kind: "Service", name: "orders" }],
              // The breaker would end the chaos early.
              circuitBreaker: { volumeThreshold: 1_000_000 },
              outlierDetection: {
                consecutive5xxErrors: 0,
                consecutiveLocalOriginFailures: 0,
                successRate: { thresholdPercent: 0 },
              },
            }),
          ],
        },
        async (pair) => {
          const open = new Set<Socket>();
          for (let index = 0; index < CALLS; index += 1) {
            const socket = connect({
              port: pair.caller.ports.outbound ?? 0,
              host: "127.0.0.1",
            });
            open.add(socket);
            socket.on("error", () => undefined);
            socket.on("close", () => open.delete(socket));
            socket.on("data", () => undefined);
            pick(CALLERS)(socket, random);
            if (open.size > 20) reset(pick([...open]));
            await new Promise((resolve) => setImmediate(resolve));
          }
          await settled(pair);
          for (const socket of open) socket.destroy();
          sane = true;
          // Application connections that the chaos left half answered are not reused; fresh calls are all right.
          for (let index = 0; index < 10; index += 1)
            t.equal((await pair.call({ method: "POST" })).text, "sane");
        },
      );
    },
  );

/** Waits until both sides have nothing under way; what nobody ends, the idle time-out does. */
async function settled(pair: Pair): Promise<void> {
  const sidecars = [
    pair.caller,
    ...pair.instances.flatMap(({ sidecar }) => sidecar ?? []),
  ];
  for (;;) {
    let active = 0;
    for (const sidecar of sidecars) {
      const { text } = await send(sidecar.ports.metrics ?? 0, {
        path: "/metrics",
        host: "127.0.0.1",
      });
      for (const [, count] of text.matchAll(
        /^wherry_active_requests\{.*\} (-?\d+)$/gm,
      ))
        active += Math.abs(Number(count));
    }
    if (active === 0) return;
    await until(() => true);
  }
}
