/** A thousand WebSockets stay open while certificates and policy change at both ends; those alone are closed that policy then forbids. */
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../support/meshes/pair.ts";
import {
  closeOf,
  frame,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../support/peers/websocket.ts";

const COUNT = 1000;
/** One of as many is at the path that is forbidden in the end. */
const FORBIDDEN = 10;
const SERVICE = "orders.shop:80";

const denial: Resource = resource("AuthorizationPolicy", "no-private", {
  selector: { matchLabels: { app: "orders" } },
  action: "DENY",
  rules: [{ to: [{ operation: { methods: ["GET"], paths: ["/private"] } }] }],
});

/** Of what stands in the way of a WebSocket, all that a request meets. */
const changed: readonly Resource[] = [
  resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [
      {
        backendRefs: [{ name: "orders", port: 80 }],
        timeouts: { request: "1s" },
        retry: { codes: [503], attempts: 2 },
      },
    ],
  }),
  resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    loadBalancer: { simple: "ROUND_ROBIN" },
    connectionPool: { http: { http2MaxRequests: 10 } },
  }),
];

async function open(port: number): Promise<readonly RawClient[]> {
  const clients: RawClient[] = [];
  for (let at = 0; at < COUNT; at += 1) {
    const path = at % FORBIDDEN === 0 ? "/private" : "/chat";
    const client = await RawClient.open(
      port,
      handshake({}, `GET ${path} HTTP/1.1`),
    );
    clients.push(client);
    await until(() => client.head !== "" || client.closed);
  }
  return clients;
}

/** Each has one more message of its own there and back. */
async function echoed(
  clients: readonly RawClient[],
  text: string,
): Promise<void> {
  const before = clients.map(({ frames }) => frames.length);
  for (const [at, { socket }] of clients.entries())
    socket.write(frame(0x81, `${text} ${at}`, true));
  await until(() =>
    clients.every(
      ({ closed, frames }, at) => closed || frames.length > (before[at] ?? 0),
    ),
  );
  for (const [at, { frames }] of clients.entries())
    if (String(frames.at(-1)?.payload) !== `${text} ${at}`)
      throw new Error(`${at} has not its message back`);
}

const closedOf = (clients: readonly RawClient[]): number =>
  clients.filter(({ closed }) => closed).length;

const peers = async (pair: Pair): Promise<number> =>
  pair.metric(pair.callee, "wherry_connections{", 'kind="link"');

void t.test(`${COUNT} WebSockets`, { timeout: 300_000 }, async (t) => {
  const app = new WebSocketApplication();
  const caller = { upstream: [{ port: 0, to: SERVICE }] };
  await withPair({ rawApp: () => app.accept, caller }, async (pair) => {
    const port = pair.caller.ports.upstreams.get(SERVICE) ?? 0;
    const clients = await open(port);
    t.equal(clients.filter(({ status }) => status === 101).length, COUNT);
    await echoed(clients, "before");

    const { authority, callerAgent, instances } = pair;
    const links = await peers(pair);
    for (let rotation = 0; rotation < 2; rotation += 1) {
      callerAgent.credentials.set(authority.credentials("web"));
      instances[0]?.agent?.credentials.set(authority.credentials("orders"));
      const anew = await RawClient.open(port, handshake());
      await until(() => anew.status === 101);
      await echoed([anew, ...clients], `rotation ${rotation}`);
      anew.socket.destroy();
    }
    t.ok((await peers(pair)) > links, "new links beside the old ones");
    t.equal(closedOf(clients), 0, "after two rotations at both ends");

    pair.apply(changed);
    await echoed(clients, "other routes and limits");
    t.equal(closedOf(clients), 0, "after a change of routes and limits");

    pair.apply([...changed, denial]);
    const forbidden = clients.filter((_, at) => at % FORBIDDEN === 0);
    const allowed = clients.filter((_, at) => at % FORBIDDEN !== 0);
    await until(() => forbidden.every(({ closed }) => closed));
    for (const { frames } of forbidden) {
      const last = frames.at(-1);
      if (last === undefined || (last.first & 0x0f) !== 8)
        throw new Error("it has no Close");
      const { code } = closeOf(last);
      if (code !== 1008) throw new Error(`its Close says ${code}`);
    }
    await echoed(allowed, "still here");
    t.equal(closedOf(allowed), 0, "after those that are forbidden have gone");
    for (const { socket } of clients) socket.destroy();
  });
});
