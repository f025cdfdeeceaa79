/** Every way to send raw bytes to a port that is declared for HTTP: none of them may reach the application (law 14). */
import type { Socket } from "node:net";
import { connect } from "node:net";
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { connectLink } from "../../../../src/wire/tls/connect.ts";
import { Peer } from "../../../support/hostile/grammar-http1-listeners.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";
import { RecordingBackend } from "../../../support/peers/recording-backend.ts";
import { handshake } from "../../../support/peers/websocket.ts";
import {
  data,
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";

/** A request that no sidecar has judged: whoever gets it through has walked round the mesh. */
const SMUGGLED =
  "DELETE /smuggled HTTP/1.1\r\nhost: orders.shop\r\nx-forwarded-client-cert: By=admin\r\n\r\n";
const CLIENT_HELLO = `\x16\x03\x01\x00\x05hello${SMUGGLED}`;

/** What became of an attempt: a status, or "closed" where the listener has no words. */
type Verdict = string;

interface Way {
  readonly name: string;
  readonly expected: Verdict;
  readonly detail?: RegExp;
  readonly go: (pair: Pair) => Promise<Verdict>;
}

function plain(port: number | undefined): Socket {
  return connect({ port: port ?? 0, host: "127.0.0.1", allowHalfOpen: true });
}

async function link(pair: Pair, protocol: "h2" | "http/1.1"): Promise<Socket> {
  const { socket } = await connectLink({
    address: "127.0.0.1",
    port: pair.callee.ports.link ?? 0,
    expected: pair.authority.id("orders"),
    credentials: pair.authority.credentials("web"),
    alpn: [protocol],
    timeoutMs: 5000,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return socket;
}

/** Says it in HTTP/1, or as bytes, and the smuggled request behind it, whatever comes back. */
async function inHttp1(socket: Socket, octets: string): Promise<Verdict> {
  const peer = new Peer(socket);
  peer.send(octets);
  await until(() => peer.received !== "" || peer.ended);
  if (!peer.ended) peer.send(SMUGGLED);
  await until(() => peer.ended || peer.received.includes("\r\n\r\n"));
  socket.destroy();
  return /^HTTP\/1\.1 (\d+)/.exec(peer.received)?.[1] ?? "closed";
}

async function inHttp2(socket: Socket, fields: Pairs): Promise<Verdict> {
  const peer = new RawPeer(socket, false);
  peer.send(PREFACE, settings([1, 0]), SETTINGS_ACK, headers(1, fields, false));
  peer.send(data(1, SMUGGLED));
  const frames = await peer.settle();
  const head = frames.find(({ type, id }) => type === 1 && id === 1);
  const answer =
    head === undefined ? await peer.next(1, 1).catch(() => undefined) : head;
  socket.destroy();
  if (answer === undefined) return "closed";
  return (
    /^:status: (\d+)$/.exec(peer.fields(answer)[0] ?? "")?.[1] ?? "no status"
  );
}

const published = (pair: Pair): Socket =>
  plain([...pair.callee.ports.published.values()][0]);
const CONNECT = (target: string): string =>
  `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
const H2_CONNECT: Pairs = [
  [":method", "CONNECT"],
  [":authority", "orders.shop:80"],
];
const extended = (...more: Pairs): Pairs => [
  [":method", "CONNECT"],
  [":scheme", "http"],
  [":authority", "orders.shop"],
  [":path", "/"],
  [":protocol", "websocket"],
  ...more,
];

const WAYS: readonly Way[] = [
  {
    name: "a stranger's CONNECT at a published port, in HTTP/1",
    expected: "405",
    go: (pair) => inHttp1(published(pair), CONNECT("orders.shop:80")),
  },
  {
    name: "a stranger's CONNECT at a published port, in HTTP/2",
    expected: "405",
    go: (pair) => inHttp2(published(pair), H2_CONNECT),
  },
  {
    name: "a stranger's TLS at a published port",
    expected: "closed",
    go: (pair) => inHttp1(published(pair), CLIENT_HELLO),
  },
  {
    name: "a stranger's bytes that are no HTTP at a published port",
    expected: "400",
    go: (pair) => inHttp1(published(pair), `\0\0\0\0\r\n${SMUGGLED}`),
  },
  {
    name: "a stranger's HTTP/0.9 at a published port",
    expected: "400",
    go: (pair) => inHttp1(published(pair), `GET /\r\n${SMUGGLED}`),
  },
  {
    name: "a stranger's extended CONNECT without a version, at a published port",
    expected: "426",
    go: (pair) => inHttp2(published(pair), extended()),
  },
  {
    name: "a stranger's WebSocket without a key, at a published port",
    expected: "400",
    go: (pair) =>
      inHttp1(published(pair), handshake({ "Sec-WebSocket-Key": "" })),
  },
  {
    name: "a peer's CONNECT over the link",
    expected: "405",
    go: async (pair) => inHttp2(await link(pair, "h2"), H2_CONNECT),
  },
  {
    name: "a peer's CONNECT over the link, in HTTP/1",
    expected: "405",
    go: async (pair) =>
      inHttp1(await link(pair, "http/1.1"), CONNECT("orders.shop:80")),
  },
  {
    name: "a peer's CONNECT to another Service's port for bytes, which leads to the same port of the application",
    expected: "405",
    go: async (pair) =>
      inHttp2(await link(pair, "h2"), [
        [":method", "CONNECT"],
        [":authority", "raw.shop:90"],
      ]),
  },
  {
    name: "a peer's extended CONNECT without a version, over the link",
    expected: "426",
    go: async (pair) =>
      inHttp2(
        await link(pair, "h2"),
        extended(["x-wherry-destination", "orders.shop:80"]),
      ),
  },
  {
    name: "the local application's CONNECT to a Service",
    expected: "405",
    go: (pair) =>
      inHttp1(plain(pair.caller.ports.outbound), CONNECT("orders.shop:80")),
  },
  {
    name: "the local application's CONNECT to a Service, in HTTP/2",
    expected: "405",
    go: (pair) => inHttp2(plain(pair.caller.ports.outbound), H2_CONNECT),
  },
  {
    name: "the local application's CONNECT to a workload's own address",
    expected: "405",
    go: (pair) =>
      inHttp1(
        plain(pair.caller.ports.outbound),
        CONNECT(`127.0.0.1:${pair.instances[0]?.appPort ?? 0}`),
      ),
  },
  // The system's resolver takes each of them for this machine.
  ...[
    ...["localhost", "127.1", "0x7f000001", "2130706433", "017700000001"],
    ...["0", "0.0.0.0", "[::ffff:127.0.0.1]", "LOCALHOST."],
  ].flatMap((host): Way[] =>
    (["caller", "callee"] as const).map((side) => ({
      name: `CONNECT to ${host} at the ${side}'s sidecar`,
      expected: "405",
      go: (pair) =>
        inHttp1(
          plain(pair[side].ports.outbound),
          CONNECT(`${host}:${pair.instances[0]?.appPort ?? 0}`),
        ),
    })),
  ),
  {
    name: "the local application's TLS at an upstream's port",
    expected: "closed",
    go: (pair) =>
      inHttp1(
        plain(pair.caller.ports.upstreams.get("orders.shop")),
        CLIENT_HELLO,
      ),
  },
];

for (const appProtocol of ["http", "http2", "grpc"] as const)
  void t.test(
    `no byte that is not parsed reaches a port for ${appProtocol}`,
    async (t) => {
      const backend = new RecordingBackend();
      await withPair(
        {
          appProtocol,
          rawApp: () => backend.accept,
          calleePublish: true,
          caller: { upstream: [{ port: 0, to: "orders.shop" }] },
        },
        async (pair) => {
          pair.apply([
            resource("PeerAuthentication", "open", {
              selector: { matchLabels: { app: "orders" } },
              mtls: { mode: "PERMISSIVE" },
            }),
            resource("Service", "raw", {
              ports: [
                {
                  name: "http",
                  port: 90,
                  targetPort: pair.instances[0]?.appPort ?? 0,
                  appProtocol: "tcp",
                },
              ],
              selector: { app: "orders" },
            }),
          ]);
          for (const { name, expected, go } of WAYS) {
            backend.reset();
            t.equal(await go(pair), expected, name);
            t.notMatch(backend.octets, /smuggled|hello/, `${name}: no byte`);
          }
          const refused = pair.log.filter(
            ({ reason }) => reason === "TUNNEL_REFUSED",
          );
          t.ok(refused.length >= 10, `${refused.length} lines in the logs`);
          t.ok(refused.every(({ status }) => status === 405));
        },
      );
    },
  );

void t.test(
  "nothing follows a handshake of WebSocket that the application does not take",
  async (t) => {
    const backend = new RecordingBackend();
    const open = resource("PeerAuthentication", "open", {
      mtls: { mode: "PERMISSIVE" },
    });
    const version = ["sec-websocket-version", "13"] as const;
    await withPair(
      {
        rawApp: () => backend.accept,
        calleePublish: true,
        caller: { upstream: [{ port: 0, to: "orders.shop" }] },
        resources: [open],
      },
      async (pair) => {
        for (const [name, expected, go] of [
          [
            "a stranger in HTTP/1",
            "200",
            () => inHttp1(published(pair), handshake()),
          ],
          [
            "a stranger in HTTP/2",
            "501",
            () => inHttp2(published(pair), extended(version)),
          ],
          [
            "a peer over the link",
            "200",
            async () =>
              inHttp2(
                await link(pair, "h2"),
                extended(version, ["x-wherry-destination", "orders.shop:80"]),
              ),
          ],
          [
            "the local application",
            "200",
            () =>
              inHttp1(
                plain(pair.caller.ports.upstreams.get("orders.shop")),
                handshake(),
              ),
          ],
        ] as const) {
          backend.reset();
          t.equal(await go(), expected, name);
          t.match(backend.octets, /^GET \/(?:chat)? HTTP\/1\.1\r\n/, name);
          t.notMatch(backend.octets, /smuggled/, `${name}: no byte`);
        }
      },
    );
  },
);

void t.test(
  "bytes go on reaching a port that is declared for them",
  async (t) => {
    const backend = new RecordingBackend();
    await withPair(
      { appProtocol: "tcp", rawApp: () => backend.accept },
      async (pair) => {
        const target = CONNECT("orders.shop:80");
        t.equal(
          await inHttp1(plain(pair.caller.ports.outbound), target),
          "200",
        );
        await until(() => backend.octets === SMUGGLED);
        t.match(backend.octets, /^DELETE \/smuggled/);
      },
    );
  },
);
