/** A stranger switches the pace of its body off by a header: what says that it is gRPC, over HTTP/1.1 or to an application that speaks no HTTP/2. */
import { connect } from "node:net";
import t from "tap";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { resource, until, withPair } from "../../../support/meshes/pair.ts";
import {
  data,
  headers,
  settings,
  SETTINGS_ACK,
} from "../../../support/http2/raw-peer.ts";

const inHttp1 = (...fields: string[]): Buffer =>
  Buffer.from(
    [
      "POST /shop.Cart/Add HTTP/1.1",
      "Host: orders.shop",
      "Transfer-Encoding: chunked",
      ...fields,
      "\r\n",
    ].join("\r\n"),
  );
const inHttp2 = (contentType: string): Buffer =>
  Buffer.concat([
    PREFACE,
    settings(),
    SETTINGS_ACK,
    headers(
      1,
      [
        [":method", "POST"],
        [":scheme", "http"],
        [":authority", "orders.shop"],
        [":path", "/shop.Cart/Add"],
        ["content-type", contentType],
        ["te", "trailers"],
      ],
      false,
    ),
  ]);

const CHUNK = Buffer.from("1\r\nx\r\n");
const FRAME = data(1, "x");

/** What a caller says, and what it then says each second. */
const TRICKS: Readonly<Record<string, readonly [Buffer, Buffer]>> = {
  "application/grpc": [inHttp1("Content-Type: application/grpc"), CHUNK],
  "application/grpc+proto, with a deadline of 11,000 years": [
    inHttp1("Content-Type: application/grpc+proto", "grpc-timeout: 99999999H"),
    CHUNK,
  ],
  "Accept: text/event-stream": [inHttp1("Accept: text/event-stream"), CHUNK],
  "TE, Expect and a first byte": [
    inHttp1("TE: trailers", "Expect: 100-continue"),
    CHUNK,
  ],
  "the mesh's own fields": [
    inHttp1("x-wherry-deadline: 999999999", "x-wherry-attempt: 2"),
    CHUNK,
  ],
  "application/grpc over HTTP/2, to an application in HTTP/1.1": [
    inHttp2("application/grpc"),
    FRAME,
  ],
};

for (const [what, [head, each]] of Object.entries(TRICKS))
  void t.test(`${what}: the body is held to its pace`, async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    let asked = false;
    await withPair(
      {
        clock,
        calleePublish: true,
        app: () => (request) => {
          asked = true;
          request.resume();
        },
        resources: [
          resource("PeerAuthentication", "open", {
            selector: { matchLabels: { app: "orders" } },
            mtls: { mode: "PERMISSIVE" },
          }),
        ],
      },
      async (pair) => {
        const [port = 0] = pair.callee.ports.published.values();
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.resume();
        socket.write(head);
        await until(() => asked);
        for (let second = 1; second <= 25 && pair.log.length === 0; second++) {
          socket.write(each);
          // A turn for what is on its way through the kernel.
          await new Promise((resolve) => setTimeout(resolve, 3));
          clock.advance(1000);
        }
        t.match(pair.log[0], { reason: "REQUEST_STALLED" });
        socket.destroy();
      },
    );
  });
