/** Exchanges without an end that callers outside the mesh hold: they have a share, in all and for an address, and requests have the rest. */
import { once } from "node:events";
import { connect } from "node:net";
import t from "tap";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Answer,
  type Pair,
} from "../../support/meshes/pair.ts";
import {
  handshake,
  RawClient,
  WebSocketApplication,
} from "../../support/peers/websocket.ts";

const REQUESTS = 48;
const open = resource("PeerAuthentication", "open", {
  mtls: { mode: "PERMISSIVE" },
});

/** Addresses of this machine that stand for those of strangers. */
async function stranger(
  port: number,
  address: number,
  text: string,
): Promise<RawClient> {
  const socket = connect({
    port,
    host: "127.0.0.1",
    localAddress: `127.0.1.${address}`,
    allowHalfOpen: true,
  });
  await once(socket, "connect");
  const client = new RawClient(socket);
  socket.write(text, "latin1");
  return client;
}

async function strangers(
  port: number,
  address: number,
  count: number,
  text: string,
): Promise<readonly RawClient[]> {
  const clients: RawClient[] = [];
  for (let at = 0; at < count; at += 1) {
    const client = await stranger(port, address, text);
    clients.push(client);
    await until(() => client.head !== "" || client.closed);
  }
  return clients;
}

const taken = (clients: readonly RawClient[], status: number): number =>
  clients.filter((client) => client.status === status).length;

function published(pair: Pair): number {
  return [...pair.callee.ports.published.values()][0] ?? 0;
}

const page = (pair: Pair): Promise<Answer> => send(published(pair));

/** Repeats what a WebSocket says, never ends an event stream, and has one page. */
function application(): WebSocketApplication {
  const app = new WebSocketApplication();
  app.answer = (head) =>
    head.includes("Upgrade")
      ? undefined
      : head.includes("/events")
        ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  return app;
}

for (const [what, text, opened] of [
  ["WebSockets", handshake(), 101],
  ["event streams", "GET /events HTTP/1.1\r\nHost: orders.shop\r\n\r\n", 200],
] as const)
  void t.test(
    `idle ${what} of strangers leave room for requests`,
    async (t) => {
      await withPair(
        {
          rawApp: () => application().accept,
          calleePublish: true,
          resources: [open],
          callee: { limits: { requests: REQUESTS } },
        },
        async (pair) => {
          const port = published(pair);
          const all: RawClient[] = [];
          const counts: number[] = [];
          for (const address of [1, 2, 3]) {
            const clients = await strangers(port, address, REQUESTS / 3, text);
            counts.push(taken(clients, opened));
            all.push(...clients);
          }
          t.equal((await page(pair)).status, 200, "others are served");
          t.equal((await pair.call()).status, 200, "and so is the mesh");
          t.strictSame(counts, [REQUESTS / 4, REQUESTS / 4, 0]);
          t.equal(all.at(-1)?.status, 503);
          const refusals = pair.log.filter(
            ({ reason }) => reason === "OVERLOADED",
          );
          t.equal(refusals.length, REQUESTS / 2);
          t.match(refusals[0], {
            detail: `${REQUESTS / 4} WebSockets, tunnels and streams of 127.0.1.1 are open from outside the mesh, and no more are taken`,
          });
          all[0]?.socket.destroy();
          await until(() =>
            pair.log.some(
              ({ path, status }) => path !== "/" && status === opened,
            ),
          );
          const again = await strangers(port, 3, 1, text);
          t.equal(taken(again, opened), 1, "there is room for one more");
          for (const { socket } of [...all, ...again]) socket.destroy();
        },
      );
    },
  );

void t.test(
  "an application that does not answer FIN holds no WebSocket",
  async (t) => {
    const clock = fakeClock();
    await withPair(
      {
        clock,
        rawApp: () => (socket) => {
          application().accept(socket);
          socket.removeAllListeners("end");
        },
        calleePublish: true,
        resources: [open],
      },
      async (pair) => {
        const [client] = await strangers(published(pair), 1, 1, handshake());
        t.equal(client?.status, 101);
        client?.socket.end();
        t.equal(pair.log.length, 0);
        while (pair.log.length === 0) {
          clock.advance(100);
          await new Promise((resolve) => setImmediate(resolve));
        }
        t.match(pair.log[0], { status: 101, reason: "CLIENT_CLOSED" });
        await until(() => client?.closed === true);
      },
    );
  },
);
