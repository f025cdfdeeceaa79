/** Two small prints of RFC 9110 and RFC 3986 that were passed on unread: half an escape in a path, and a request that may go no further. */
import { connect } from "node:net";
import t from "tap";
import { until } from "../../../support/meshes/pair.ts";
import {
  Peer,
  withBackend,
} from "../../../support/hostile/grammar-http1-listeners.ts";
import {
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";

async function inHttp1(port: number, line: string, more = ""): Promise<number> {
  const peer = new Peer(connect(port, "127.0.0.1"));
  peer.send(`${line} HTTP/1.1\r\nHost: orders.shop\r\n${more}\r\n`);
  await until(() => peer.ended || peer.received.includes("\r\n\r\n"));
  peer.socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(peer.received)?.[1] ?? 0);
}

async function inHttp2(
  port: number,
  line: string,
  more: Pairs = [],
): Promise<number> {
  const [method = "", path = ""] = line.split(" ");
  const peer = new RawPeer(connect(port, "127.0.0.1"), false);
  peer.send(
    PREFACE,
    settings(),
    SETTINGS_ACK,
    headers(1, [
      [":method", method],
      [":scheme", "http"],
      [":authority", "orders.shop"],
      [":path", path],
      ...more,
    ]),
  );
  const [first = ""] = peer.fields(await peer.next(1, 1));
  peer.socket.destroy();
  return Number(first.replace(":status: ", ""));
}

void t.test("neither reaches the application, at no listener", async (t) => {
  await withBackend(async (pair, backend) => {
    const listeners = {
      outbound: pair.caller.ports.outbound ?? 0,
      published: [...pair.callee.ports.published.values()][0] ?? 0,
    };
    for (const [listener, port] of Object.entries(listeners)) {
      for (const path of ["/p%zz", "/%", "/%2", "/a%2/b", "/%%41"]) {
        const line = `GET ${path}`;
        t.equal(
          await inHttp1(port, line),
          400,
          `${listener}: ${path} in HTTP/1`,
        );
        t.equal(
          await inHttp2(port, line),
          400,
          `${listener}: ${path} in HTTP/2`,
        );
      }
      for (const [method, status] of [
        ["OPTIONS", 204],
        ["TRACE", 501],
      ] as const) {
        const name = `${listener}: ${method} with Max-Forwards: 0`;
        const line = `${method} /`;
        t.equal(await inHttp1(port, line, "Max-Forwards: 0\r\n"), status, name);
        t.equal(
          await inHttp2(port, line, [["max-forwards", "0"]]),
          status,
          name,
        );
      }
      t.equal(
        backend.octets,
        "",
        `${listener}: nothing reached the application`,
      );
      t.equal(await inHttp1(port, "GET /?q=100%"), 200, "a query may be so");
      t.equal(
        await inHttp1(port, "OPTIONS /", "Max-Forwards: 5\r\n"),
        200,
        "and five hops are enough",
      );
      // Outbound there are two sidecars on the way.
      t.match(
        backend.octets,
        listener === "outbound" ? "max-forwards: 3" : "max-forwards: 4",
      );
      backend.reset();
    }
  });
});
