/** A connection to an endpoint that this machine breaks: the call says so, and whether anything was sent is known as ever. */
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import t, { type Test } from "tap";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import type { MeshError } from "../../src/mesh/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
} from "../../src/wire/exchange.ts";
import { connectHttp1 } from "../../src/wire/http1/client.ts";
import { connectHttp2 } from "../../src/wire/http2/client.ts";
import { connectHead, TcpConnection } from "../../src/wire/tcp.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { requestHead } from "../support/http2/ends.ts";

const OBSERVER: ClientConnectionObserver = {
  available: ignore,
  draining: ignore,
  closed: ignore,
};

type Codec = (socket: Socket) => ClientConnection;

const CODECS: readonly (readonly [string, Codec])[] = [
  [
    "HTTP/1.1",
    (socket) => connectHttp1(socket, { clock: fakeClock() }, OBSERVER),
  ],
  [
    "HTTP/2",
    (socket) => connectHttp2(socket, { clock: fakeClock() }, OBSERVER),
  ],
  ["TCP", (socket) => new TcpConnection(socket, fakeClock(), OBSERVER)],
];

async function broken(t: Test, codec: Codec, code: string): Promise<MeshError> {
  // It takes what comes, and says nothing.
  const server = createServer((socket) => socket.on("error", ignore).resume());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  const connection = codec(socket);
  const tunnel = connection instanceof TcpConnection;
  const head = tunnel ? connectHead("orders.shop:80") : requestHead();
  return new Promise((resolve) => {
    connection.request(head, !tunnel, {
      informational: ignore,
      head: ignore,
      data: ignore,
      end: ignore,
      drained: ignore,
      abort: resolve,
    });
    setImmediate(() =>
      setImmediate(() =>
        socket.destroy(Object.assign(new Error(code), { code })),
      ),
    );
  });
}

function counted(): number {
  let sum = 0;
  for (const { part, count } of machineErrors())
    if (part === "connection") sum += count;
  return sum;
}

for (const [name, codec] of CODECS)
  void t.test(`${name}: what broke the connection is to blame`, async (t) => {
    for (const [code, reason, source] of [
      ["ENOBUFS", "MACHINE_ERROR", "proxy"],
      ["ENOMEM", "MACHINE_ERROR", "proxy"],
      ["ECONNRESET", "UPSTREAM_RESET", "upstream"],
    ] as const) {
      const before = counted();
      const error = await broken(t, codec, code);
      t.match(error, { code: reason, source, unprocessed: false }, code);
      t.equal(counted() - before, source === "proxy" ? 1 : 0, code);
    }
  });

function ignore(): void {
  // The end alone is of interest.
}
