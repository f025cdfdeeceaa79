/** WebSocket through the mesh, from handshake to Close: HTTP/1.1 at the ends, extended CONNECT or HTTP/1.1 on the link. */
import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpStatusHeader,
  type ServerHttp2Stream,
} from "node:http2";
import t from "tap";
import type { Protocol } from "../../src/wire/exchange.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../support/meshes/pair.ts";
import {
  ACCEPT,
  frame,
  FrameReader,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../support/peers/websocket.ts";

const toOrders = { upstream: [{ port: 0, to: "orders.shop" }] };

function upstreamPort(pair: Pair): number {
  return pair.caller.ports.upstreams.get("orders.shop") ?? 0;
}

/** A WebSocket of Node's own client, once it is open. */
function connected(port: number, protocols: string[] = []): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat?room=1`, protocols);
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", () => resolve(socket));
    socket.addEventListener("error", reject);
  });
}

function message(socket: WebSocket): Promise<unknown> {
  return new Promise((resolve) =>
    socket.addEventListener("message", ({ data }) => resolve(data), {
      once: true,
    }),
  );
}

function closing(socket: WebSocket): Promise<CloseEvent> {
  return new Promise((resolve) => socket.addEventListener("close", resolve));
}

for (const linkProtocol of ["h2", "http/1.1"] satisfies Protocol[])
  void t.test(
    `Node's client talks to an application through two sidecars, ${linkProtocol} on the link`,
    async (t) => {
      const app = new WebSocketApplication();
      app.more = "Sec-WebSocket-Protocol: chat.v2\r\nX-Own: 1\r\n";
      await withPair(
        { rawApp: () => app.accept, caller: toOrders, linkProtocol },
        async (pair) => {
          const socket = await connected(upstreamPort(pair), ["chat.v2", "x"]);
          t.equal(socket.protocol, "chat.v2");
          for (const text of ["hello", "", "x".repeat(1 << 20)]) {
            const answer = message(socket);
            socket.send(text);
            t.ok((await answer) === text, `${text.length} characters`);
          }
          const bytes = Buffer.from([0, 255, 13, 10]);
          const answer = message(socket);
          socket.send(bytes);
          t.strictSame(Buffer.from((await answer) as ArrayBuffer), bytes);
          const over = closing(socket);
          socket.close(4000, "enough");
          t.match(await over, { code: 4000, reason: "enough", wasClean: true });

          const [session] = app.sessions;
          t.match(session?.head, /^GET \/chat\?room=1 HTTP\/1\.1\r\n/);
          t.match(session?.head, /^sec-websocket-protocol: chat\.v2, x\r$/im);
          t.match(session?.head, /^connection: Upgrade\r$/im);
          t.match(session?.head, /^upgrade: websocket\r$/im);
          t.notMatch(session?.head, /x-wherry|transfer-encoding|^te:/im);
          await until(() => pair.log.length === 2);
          const seen = { method: "GET", path: "/chat", status: 101 };
          t.match(
            pair.log.toSorted((a, b) => (a.direction < b.direction ? -1 : 1)),
            [
              { ...seen, direction: "inbound", reason: undefined },
              { ...seen, direction: "outbound", attempts: 1 },
            ],
          );
          await until(() => pair.spans.length === 4);
          for (const { attributes } of pair.spans)
            t.match(attributes, {
              "http.request.method": "GET",
              "http.response.status_code": 101,
            });
          t.equal(
            await pair.metric(
              pair.caller,
              "wherry_requests_total",
              'status="101"',
            ),
            1,
          );
        },
      );
    },
  );

void t.test("a caller without a sidecar, at a published port", async (t) => {
  const app = new WebSocketApplication();
  await withPair(
    {
      rawApp: () => app.accept,
      calleePublish: true,
      resources: [
        resource("PeerAuthentication", "open", {
          mtls: { mode: "PERMISSIVE" },
        }),
      ],
    },
    async (pair) => {
      const port = [...pair.callee.ports.published.values()][0] ?? 0;
      const socket = await connected(port);
      const answer = message(socket);
      socket.send("hello");
      t.equal(await answer, "hello");
      const over = closing(socket);
      socket.close();
      await over;
    },
  );
});

/** A dialogue of HTTP/2: opened by extended CONNECT, and each end's bytes in DATA. */
async function extended(
  session: ClientHttp2Session,
): Promise<{ stream: ClientHttp2Stream; status: number; reader: FrameReader }> {
  if (session.remoteSettings.enableConnectProtocol !== true)
    await once(session, "remoteSettings");
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "http",
    ":authority": "orders.shop",
    ":path": "/chat",
    "sec-websocket-version": "13",
  });
  const [headers] = (await once(stream, "response")) as [
    IncomingHttpHeaders & IncomingHttpStatusHeader,
  ];
  return { stream, status: headers[":status"] ?? 0, reader: new FrameReader() };
}

void t.test("a caller that speaks HTTP/2", async (t) => {
  const app = new WebSocketApplication();
  await withPair(
    { rawApp: () => app.accept, caller: toOrders },
    async (pair) => {
      const session = connectHttp2(`http://127.0.0.1:${upstreamPort(pair)}`);
      const { stream, status, reader } = await extended(session);
      t.equal(status, 200);
      t.match(
        app.sessions[0]?.head,
        /^sec-websocket-key: [A-Za-z0-9+/]{22}==\r$/m,
        "a key is made for the application",
      );
      stream.write(frame(0x81, "hello", true));
      const [chunk] = (await once(stream, "data")) as [Buffer];
      t.match(reader.read(chunk), [{ payload: Buffer.from("hello") }]);
      stream.end(frame(0x88, "", true));
      await once(stream, "end");

      app.answer = () => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
      const refused = await extended(session);
      t.equal(refused.status, 501, "a 200 would open what is not there");
      session.destroy();
    },
  );
});

void t.test("an application that speaks HTTP/2", async (t) => {
  for (const announced of [true, false]) {
    const server = createHttp2Server({
      settings: { enableConnectProtocol: announced },
    });
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      t.equal(headers[":protocol"], "websocket");
      stream.respond({ ":status": 200, "sec-websocket-protocol": "chat" });
      stream.pipe(stream);
    });
    await withPair(
      {
        rawApp: () => (socket) => {
          socket.on("end", () => socket.destroy());
          server.emit("connection", socket);
        },
        appProtocol: "http2",
        caller: toOrders,
      },
      async (pair) => {
        const client = await RawClient.open(upstreamPort(pair), handshake());
        await until(() => client.head !== "");
        if (announced) {
          t.equal(client.status, 101);
          t.ok(client.head.includes(`sec-websocket-accept: ${ACCEPT}\r\n`));
          client.socket.write(frame(0x82, "back", false));
          await until(() => client.frames.length === 1);
        } else {
          t.equal(client.status, 501);
          t.match(client.head, /^x-wherry-reason: UNSUPPORTED\r$/m);
          await until(() => client.rest.includes("RFC 8441"));
        }
        client.socket.destroy();
      },
    );
    server.close();
  }
});

void t.test(
  "a caller that breaks off after the application's end ends that connection too",
  async (t) => {
    const app = new WebSocketApplication();
    app.onFrame = ({ socket }) => socket.end();
    await withPair(
      { rawApp: () => app.accept, caller: toOrders },
      async (pair) => {
        const client = await RawClient.open(upstreamPort(pair), handshake());
        await until(() => client.head !== "");
        client.socket.write(frame(0x81, "go", true));
        await until(() => client.closed);
        client.socket.resetAndDestroy();
        const [session] = app.sessions;
        await until(() => session?.socket.destroyed === true);
        await until(() => pair.log.length === 2);
        t.match(pair.log, [
          { reason: "CLIENT_CLOSED" },
          { reason: "CLIENT_CLOSED" },
        ]);
      },
    );
  },
);

void t.test("neither side is read faster than the other reads", async (t) => {
  const app = new WebSocketApplication();
  app.onFrame = () => undefined;
  const count = 512;
  await withPair(
    { rawApp: () => app.accept, caller: toOrders },
    async (pair) => {
      const client = await RawClient.open(upstreamPort(pair), handshake());
      await until(() => client.head !== "");
      const [session] = app.sessions;
      if (session === undefined) throw new Error("there is no session");
      for (const [from, to, masked, frames] of [
        [session.socket, client.socket, false, client.frames],
        [client.socket, session.socket, true, session.frames],
      ] as const) {
        to.pause();
        const piece = frame(0x82, Buffer.alloc(1 << 16), masked);
        for (let sent = 0; sent < count; sent += 1) from.write(piece);
        await until(stillFor(500, () => from.writableLength));
        t.ok(
          from.writableLength > (count / 2) * piece.length,
          "most of it waits at its sender",
        );
        to.resume();
        await until(() => frames.length === count);
        t.equal(from.writableLength, 0);
      }
      client.socket.destroy();
    },
  );
});

/** Whether a value has been the same for so many turns of the event loop. */
function stillFor(turns: number, value: () => number): () => boolean {
  let last = -1;
  let still = 0;
  return () => {
    still = value() === last ? still + 1 : 0;
    last = value();
    return still >= turns;
  };
}

void t.test("the handshake's answer is the application's own", async (t) => {
  const app = new WebSocketApplication();
  await withPair(
    { rawApp: () => app.accept, caller: toOrders },
    async (pair) => {
      const open = (): Promise<RawClient> =>
        RawClient.open(upstreamPort(pair), handshake());
      const taken = await open();
      await until(() => taken.head !== "");
      t.equal(taken.status, 101);
      t.match(
        taken.head,
        new RegExp(
          `^sec-websocket-accept: ${ACCEPT.replaceAll("+", "\\+")}\r$`,
          "im",
        ),
      );
      t.match(taken.head, /^connection: Upgrade\r$/im);
      t.match(taken.head, /^upgrade: websocket\r$/im);
      // No extension of a frame is looked at: a reserved bit and an opcode that nobody knows pass.
      const odd = frame(0xf3, "odd", true);
      taken.socket.write(odd);
      await until(() => taken.frames.length === 1);
      t.match(taken.frames[0], { first: 0xf3, payload: Buffer.from("odd") });
      taken.socket.destroy();

      for (const [answer, status, rest] of [
        ["HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", 403, "no"],
        [
          "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
          404,
          "",
        ],
        [
          "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
          302,
          "",
        ],
        ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain", 200, "plain"],
        ["HTTP/1.1 204 No Content\r\n\r\n", 204, ""],
        [
          "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
          502,
          undefined,
        ],
        [
          "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
          502,
          undefined,
        ],
        ["HTTP/1.1 101 Switching Protocols\r\n\r\n", 502, undefined],
        ["\x81\x05hello", 502, undefined],
      ] as const) {
        app.answer = () => answer;
        const refused = await open();
        await until(() => refused.closed);
        t.equal(refused.status, status, JSON.stringify(answer.slice(0, 40)));
        if (rest !== undefined) t.equal(refused.rest, rest);
        refused.socket.destroy();
      }
    },
  );
});
