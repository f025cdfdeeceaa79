/** Connections to a small HTTP server: silent ones end, the one that came first makes room, and a request sent ahead costs nothing. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import t, { type Test } from "tap";
import { limitConnections } from "../../../src/core/local/connection-limit.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

const BOUNDS = {
  connections: 4,
  headTimeout: 10_000,
  idleTimeout: 20_000,
  takeTimeout: 30_000,
};
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

interface World {
  readonly clock: FakeClock;
  /** Responses that the test ends. */
  readonly asked: ServerResponse[];
  readonly stalled: Socket[];
  /** A connection from that address, once the server has it. */
  readonly from: (address?: string) => Promise<Client>;
}

interface Client {
  readonly socket: Socket;
  received: string;
  readonly closed: Promise<unknown>;
  open(): boolean;
}

async function world(t: Test): Promise<World> {
  const clock = fakeClock();
  const asked: ServerResponse[] = [];
  const stalled: Socket[] = [];
  const server = createServer();
  limitConnections(
    server,
    clock,
    BOUNDS,
    (_request, response) => void asked.push(response),
    (socket) => {
      stalled.push(socket);
      socket.destroy();
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    clock,
    asked,
    stalled,
    from: async (localAddress = "127.0.0.1") => {
      const accepted = once(server, "connection");
      const socket = connect({ port, host: "127.0.0.1", localAddress });
      const client: Client = {
        socket,
        received: "",
        closed: once(socket, "close").catch(() => undefined),
        open: () => !socket.closed,
      };
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => (client.received += String(chunk)));
      await accepted;
      return client;
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition())
    await new Promise((resolve) => void setImmediate(resolve));
}

void t.test("a connection that says nothing ends", async (t) => {
  const { clock, stalled, from } = await world(t);
  const client = await from();
  clock.advance(BOUNDS.headTimeout - 1);
  t.ok(client.open());
  clock.advance(1);
  await client.closed;
  t.equal(stalled.length, 0);
});

void t.test("one that began a request is told before", async (t) => {
  const { clock, stalled, from } = await world(t);
  const client = await from();
  client.socket.write("GET / HT");
  await until(() => client.socket.bytesWritten > 0);
  await new Promise((resolve) => setTimeout(resolve, 20));
  clock.advance(BOUNDS.headTimeout);
  await client.closed;
  t.equal(stalled.length, 1);
});

void t.test(
  "after a response there is time for the next request, and no more",
  async (t) => {
    const { clock, asked, from } = await world(t);
    const client = await from();
    for (let count = 1; count < 4; count += 1) {
      client.socket.write(GET);
      await until(() => asked.length === count);
      clock.advance(BOUNDS.takeTimeout - 1);
      asked.at(-1)?.end("ok");
      await until(() => client.received.split("ok").length > count);
      await new Promise((resolve) => setTimeout(resolve, 5));
      clock.advance(BOUNDS.idleTimeout - 1);
      t.ok(client.open());
    }
    clock.advance(1);
    await client.closed;
  },
);

void t.test("a response that nobody takes ends with its time", async (t) => {
  const { clock, asked, from } = await world(t);
  const client = await from();
  client.socket.write(GET);
  await until(() => asked.length === 1);
  clock.advance(BOUNDS.takeTimeout);
  await client.closed;
});

void t.test(
  "of the source that holds most, the one that came first makes room",
  async (t) => {
    const { from } = await world(t);
    const probe = await from("127.0.0.3");
    const strangers = [];
    for (let count = 0; count < 3; count += 1)
      strangers.push(await from("127.0.0.2"));
    const second = await from("127.0.0.3");
    await strangers[0]?.closed;
    t.ok(probe.open());
    t.ok(second.open());
    const third = await from("127.0.0.4");
    t.ok(third.open());
    // Two and two and one now: the first of those with two.
    await probe.closed;
    t.ok(strangers[1]?.open());
  },
);

void t.test(
  "one that waits for a request makes room before one whose response is under way",
  async (t) => {
    const { asked, from } = await world(t);
    const busy = await from();
    busy.socket.write(GET);
    await until(() => asked.length === 1);
    const idle = await from();
    for (let count = 0; count < 3; count += 1) await from();
    await idle.closed;
    t.ok(busy.open());
  },
);

void t.test(
  "where all wait for a response, somebody new gets in all the same",
  async (t) => {
    const { asked, from } = await world(t);
    const clients = [];
    for (let count = 1; count <= BOUNDS.connections; count += 1) {
      const client = await from("127.0.0.2");
      client.socket.write(GET);
      await until(() => asked.length === count);
      clients.push(client);
    }
    const probe = await from("127.0.0.3");
    await clients[0]?.closed;
    probe.socket.write(GET);
    await until(() => asked.length === BOUNDS.connections + 1);
    asked.at(-1)?.end("ok");
    await until(() => probe.received.endsWith("ok"));
    t.pass("it was served");
  },
);

void t.test(
  "requests that are sent ahead are not served, and the connection ends with the first response",
  async (t) => {
    const { asked, from } = await world(t);
    const client = await from();
    client.socket.write(GET.repeat(1000));
    await until(() => asked.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(asked.length, 1);
    asked[0]?.end("ok");
    await client.closed;
    t.match(client.received, /connection: close/i);
    t.match(client.received, /ok$/);
    t.equal(asked.length, 1);
  },
);
