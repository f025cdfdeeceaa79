/** The link's listener under too many, too slow and senseless connections. */
import { once } from "node:events";
import {
  connect,
  createServer as createTcpServer,
  type Socket,
} from "node:net";
import t from "tap";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { connecting, listen, tcp, testLink } from "../../support/peers/link.ts";

const mesh = fakeAuthority();
const orders = mesh.credentials("orders");
const web = mesh.credentials("web");
const to = connecting(web, orders);

void t.test("a handshake that is not done in time is ended", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  const link = await testLink(orders, { clock, handshakeTimeout: 5000 });
  t.teardown(() => link.close());
  const idle = await tcp(link.port);
  while (link.listener.handshakes < 1) await nextTurn();
  clock.advance(4999);
  t.equal(link.refused.length, 0);
  clock.advance(1);
  t.match(link.refused, [{ reason: "handshake time-out" }]);
  idle.resume();
  await once(idle, "close");
  t.equal(clock.pending, 0);
});

void t.test(
  "handshakes under way are bounded, and stale ones make room",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const link = await testLink(orders, { clock, maxHandshakes: 5 });
    t.teardown(() => link.close());
    const idle = await Promise.all(
      Array.from({ length: 8 }, () => tcp(link.port)),
    );
    await link.settled(3);
    t.equal(link.listener.handshakes, 5);
    t.ok(link.refused.every(({ reason }) => reason === "too many handshakes"));
    clock.advance(1000);
    const { socket } = await connectLink(to(link.port));
    await link.settled(5);
    t.equal(link.accepted.length, 1);
    t.equal(link.listener.handshakes, 4, "the oldest made room");
    for (const one of [socket, ...idle]) one.destroy();
  },
);

void t.test(
  "one source has a part of them, and makes room among its own",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const link = await testLink(orders, {
      clock,
      maxHandshakes: 5,
      maxHandshakesFromSource: 2,
    });
    t.teardown(() => link.close());
    const from = (localAddress: string): Promise<Socket> =>
      new Promise((resolve) => {
        const socket = connect(
          { port: link.port, host: "127.0.0.1", localAddress },
          () => resolve(socket),
        );
        socket.on("error", () => undefined);
      });
    const idle = [await from("127.0.0.3")];
    for (let count = 0; count < 4; count += 1)
      idle.push(await from("127.0.0.2"));
    await link.settled(2);
    t.equal(link.listener.handshakes, 3);
    t.match(link.refused[0], {
      address: "127.0.0.2",
      reason: "too many handshakes",
    });
    clock.advance(1000);
    idle.push(await from("127.0.0.2"));
    await link.settled(3);
    t.match(link.refused[2], { address: "127.0.0.2" }, "not the oldest of all");
    t.equal(link.listener.handshakes, 3);
    const { socket } = await connectLink(to(link.port));
    for (const one of [socket, ...idle]) one.destroy();
  },
);

void t.test("a flood of junk leaves the listener as it was", async (t) => {
  const link = await testLink(orders);
  t.teardown(() => link.close());
  const junk = [
    Buffer.alloc(0),
    Buffer.from([0x16]),
    Buffer.from([0x16, 0x03, 0x01, 0x40, 0x00, 0x01]),
    Buffer.from("16030100050100000100", "hex"),
    Buffer.alloc(20_000, 0x16),
    Buffer.from("SSH-2.0-OpenSSH_9.6\r\n"),
  ];
  const rounds = 50;
  for (let round = 0; round < rounds; round += 1)
    await Promise.all(
      junk.map(async (bytes) => {
        const socket = await tcp(link.port);
        socket.resume();
        socket.write(bytes);
        if (round % 2 === 0) socket.resetAndDestroy();
        else socket.end();
        if (!socket.destroyed) await once(socket, "close");
      }),
    );
  await link.settled(rounds * junk.length);
  t.equal(link.listener.handshakes, 0);
  t.equal(link.accepted.length, 0);
  const { socket } = await connectLink(to(link.port));
  socket.destroy();
});

void t.test(
  "closing the listener ends handshakes and spares connections",
  async (t) => {
    const link = await testLink(orders);
    const { socket } = await connectLink(to(link.port));
    const idle = await tcp(link.port);
    while (link.listener.handshakes < 1) await nextTurn();
    const gone = once(idle, "close");
    link.listener.close();
    idle.resume();
    await gone;
    t.notOk(socket.destroyed);
    t.equal(link.refused.length, 0);
    link.close();
    socket.destroy();
  },
);

void t.test(
  "a connection may be destroyed as soon as it is handed over, the socket beneath it first",
  async (t) => {
    const raws: Socket[] = [];
    const link = await testLink(orders, {
      onConnection(socket) {
        for (const raw of raws) raw.destroy();
        socket.destroy();
      },
    });
    const captured = createTcpServer((raw) => {
      raws.push(raw);
      link.listener.accept(raw);
    });
    const port = await listen(captured);
    t.teardown(() => {
      link.close();
      captured.close();
    });
    const { socket } = await connectLink(to(port));
    if (!socket.destroyed) await once(socket.resume(), "close");
    t.equal(link.accepted.length, 1);
  },
);

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
