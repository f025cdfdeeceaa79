/** A method in another case passes a DENY by method over HTTP/2, and the framework behind executes it all the same (RFC 9110 9.1). */
import { connect, type Socket } from "node:net";
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { connectLink } from "../../../../src/wire/tls/connect.ts";
import {
  FRAMEWORKS,
  missingFor,
  startFramework,
} from "../../../support/processes/frameworks.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";
import { needs } from "../../../support/processes/tools.ts";
import {
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";
import { Peer } from "../../../support/hostile/grammar-http1-listeners.ts";

const forOrders = { selector: { matchLabels: { app: "orders" } } };
const RESOURCES = [
  resource("PeerAuthentication", "open", {
    ...forOrders,
    mtls: { mode: "PERMISSIVE" },
  }),
  resource("AuthorizationPolicy", "no-deletes", {
    ...forOrders,
    action: "DENY",
    rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }],
  }),
];

type Open = (pair: Pair, version: "h2" | "http/1.1") => Promise<Socket>;

const plain =
  (portOf: (pair: Pair) => number | undefined): Open =>
  (pair) =>
    Promise.resolve(connect(portOf(pair) ?? 0, "127.0.0.1"));

const LISTENERS: Readonly<Record<string, Open>> = {
  outbound: plain((pair) => pair.caller.ports.outbound),
  published: plain((pair) => [...pair.callee.ports.published.values()][0]),
  link: async (pair, version) =>
    (
      await connectLink({
        address: "127.0.0.1",
        port: pair.callee.ports.link ?? 0,
        expected: pair.authority.id("orders"),
        credentials: pair.authority.credentials("web"),
        alpn: [version],
        timeoutMs: 5000,
        clock: systemClock,
        signal: new AbortController().signal,
      })
    ).socket,
};

const TO: Pairs = [["x-wherry-destination", "orders.shop:80"]];

async function inHttp1(socket: Socket, method: string): Promise<number> {
  const peer = new Peer(socket);
  const [[name, value] = ["", ""]] = TO;
  peer.send(
    `${method} /orders/1 HTTP/1.1\r\nHost: orders.shop\r\n${name}: ${value}\r\n\r\n`,
  );
  await until(() => peer.ended || peer.received.includes("\r\n\r\n"));
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(peer.received)?.[1] ?? 0);
}

async function inHttp2(socket: Socket, method: string): Promise<number> {
  const peer = new RawPeer(socket, false);
  const fields: Pairs = [
    [":method", method],
    [":scheme", "http"],
    [":authority", "orders.shop"],
    [":path", "/orders/1"],
    ...TO,
  ];
  peer.send(PREFACE, settings([1, 0]), SETTINGS_ACK, headers(1, fields));
  const answer = await peer.next(1, 1);
  const [first = ""] = peer.fields(answer);
  socket.destroy();
  return Number(first.replace(":status: ", ""));
}

for (const framework of FRAMEWORKS)
  void t.test(
    `${framework}: a DENY of DELETE holds, however it is written`,
    { ...needs(missingFor(framework)), timeout: 60_000 },
    async (t) => {
      const application = await startFramework(framework);
      try {
        await withPair(
          {
            rawApp: () => application.accept,
            calleePublish: true,
            resources: RESOURCES,
          },
          async (pair) => {
            for (const [listener, open] of Object.entries(LISTENERS))
              for (const [method, expected] of [
                ["DELETE", 403],
                ["delete", 501],
                ["Delete", 501],
                ["dELETE", 501],
                ["get", 501],
                ["GET", 200],
              ] as const) {
                const name = `${listener}: ${method}`;
                t.equal(
                  await inHttp1(await open(pair, "http/1.1"), method),
                  expected,
                  `${name} in HTTP/1`,
                );
                t.equal(
                  await inHttp2(await open(pair, "h2"), method),
                  expected,
                  `${name} in HTTP/2`,
                );
              }
            t.strictSame(
              [...new Set(application.executed)],
              ["GET /orders/1"],
              "what was executed",
            );
          },
        );
      } finally {
        await application.stop();
      }
    },
  );
