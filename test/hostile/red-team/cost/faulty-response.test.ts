/** A response whose fault comes right behind its head, in one piece with it: the caller was left with a closed connection, and no word. */
import { connect, type Socket } from "node:net";
import t from "tap";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";
import {
  data,
  frame,
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";
import { Peer } from "../../../support/hostile/grammar-http1-listeners.ts";

const OK: Pairs = [[":status", "200"]];
const FIVE: Pairs = [...OK, ["content-length", "5"]];

const OVER_HTTP2: Readonly<Record<string, (id: number) => Buffer[]>> = {
  "less content than announced": (id) => [
    headers(id, FIVE, false),
    data(id, "1234", true),
  ],
  "more content than announced": (id) => [
    headers(id, FIVE, false),
    data(id, "123456", true),
  ],
  "a second head": (id) => [headers(id, OK, false), headers(id, OK)],
  "a trailer that belongs in the head": (id) => [
    headers(id, OK, false),
    data(id, "x"),
    headers(id, [["content-length", "1"]]),
  ],
  "a trailer that does not decode": (id) => [
    headers(id, OK, false),
    frame(1, 5, id, Buffer.from([0xbf])),
  ],
  "DATA on stream 0": (id) => [headers(id, OK, false), frame(0, 1, 0, "x")],
  "padding that is too long": (id) => [
    headers(id, OK, false),
    frame(0, 8, id, "\x09x"),
  ],
  "no head": (id) => [data(id, "x", true)],
};

const CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const OVER_HTTP1: Readonly<Record<string, string>> = {
  "a chunk size that is none": `${CHUNKED}zz\r\n`,
  "a chunk that is too long": `${CHUNKED}1\r\nabc\r\n`,
  "a chunk that ends in a bare LF": `${CHUNKED}1\r\na\n0\r\n\r\n`,
  "a trailer that belongs in the head": `${CHUNKED}0\r\ncontent-length: 1\r\n\r\n`,
  "a trailer that is no field": `${CHUNKED}0\r\nx y: 1\r\n\r\n`,
  "no head": "what is this\r\n\r\n",
};

type App = (socket: Socket) => void;

const speaksHttp2 =
  (answer: (id: number) => Buffer[]): App =>
  (socket) => {
    const peer = new RawPeer(socket, true);
    peer.send(settings(), SETTINGS_ACK);
    socket.on("data", () => {
      for (const { type, id } of peer.frames.splice(0))
        if (type === 1) peer.send(...answer(id));
    });
  };
const speaksHttp1 =
  (answer: string): App =>
  (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write(answer, "latin1"));
  };

/** All that a caller gets in HTTP/1. */
async function heard(port: number | undefined): Promise<string> {
  const peer = new Peer(connect(port ?? 0, "127.0.0.1"));
  peer.send(
    "POST /x HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  );
  await until(() => peer.ended);
  return peer.received;
}

const listeners = (
  pair: Pair,
): Readonly<Record<string, number | undefined>> => ({
  outbound: pair.caller.ports.outbound,
  published: [...pair.callee.ports.published.values()][0],
});

const VERSIONS = [
  {
    appProtocol: "http2",
    apps: Object.entries(OVER_HTTP2).map(
      ([what, answer]) => [what, speaksHttp2(answer)] as const,
    ),
  },
  {
    appProtocol: "http",
    apps: Object.entries(OVER_HTTP1).map(
      ([what, answer]) => [what, speaksHttp1(answer)] as const,
    ),
  },
] as const;

for (const { appProtocol, apps } of VERSIONS)
  void t.test(
    `an application that speaks ${appProtocol}: 502, with a reason for those inside`,
    async (t) => {
      let app: App = () => undefined;
      await withPair(
        {
          appProtocol,
          calleePublish: true,
          rawApp: () => (socket) => app(socket),
          resources: [
            resource("PeerAuthentication", "open", {
              selector: { matchLabels: { app: "orders" } },
              mtls: { mode: "PERMISSIVE" },
            }),
            resource("TrafficPolicy", "orders", {
              targetRefs: [{ kind: "Service", name: "orders" }],
              circuitBreaker: { volumeThreshold: 1_000_000 },
            }),
          ],
        },
        async (pair) => {
          for (const [what, next] of apps) {
            app = next;
            for (const [listener, port] of Object.entries(listeners(pair))) {
              const name = `${what}, ${listener}`;
              const text = await heard(port);
              t.match(text, /^HTTP\/1\.1 502 /, name);
              if (listener === "outbound")
                t.match(text, /x-wherry-reason: UPSTREAM_PROTOCOL\r\n/, name);
              t.equal(
                text.split(/HTTP\/1\.1 \d/).length,
                2,
                `${name}: one answer`,
              );
            }
          }
          t.ok(
            pair.log.every(({ status }) => status === 502 || status === 200),
          );
        },
      );
    },
  );
