/** What policy does to a WebSocket: at its handshake, when it changes, and when the sidecar goes (trap 11). */
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import { fakeClock, passing } from "../support/clocks/fake-clock.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
  type PairOptions,
} from "../support/meshes/pair.ts";
import {
  closeOf,
  frame,
  handshake,
  RawClient,
  repeat,
  WebSocketApplication,
} from "../support/peers/websocket.ts";

interface Chat {
  readonly app: WebSocketApplication;
  readonly pair: Pair;
  /** Of the caller's sidecar: leads to the application. */
  readonly port: number;
  /** The same of the callee's, for strangers; 0 where it publishes none. */
  readonly published: number;
}

/** Two sidecars and an application of WebSockets behind them. */
async function withChat(
  options: PairOptions,
  use: (chat: Chat) => Promise<void>,
): Promise<void> {
  const app = new WebSocketApplication();
  const caller = { upstream: [{ port: 0, to: "orders.shop" }] };
  await withPair(
    { rawApp: () => app.accept, caller, ...options },
    async (pair) => {
      const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
      const [published = 0] = pair.callee.ports.published.values();
      await use({ app, pair, port, published });
    },
  );
}

async function answered(port: number, text: string): Promise<RawClient> {
  const client = await RawClient.open(port, text);
  await until(() => client.head !== "" || client.closed);
  return client;
}

function denial(path: string): Resource {
  return resource("AuthorizationPolicy", "no-chat", {
    selector: { matchLabels: { app: "orders" } },
    action: "DENY",
    rules: [{ to: [{ operation: { methods: ["GET"], paths: [path] } }] }],
  });
}

const open = resource("PeerAuthentication", "open", {
  mtls: { mode: "PERMISSIVE" },
});

void t.test(
  "what is no handshake of WebSocket is none to anybody",
  async (t) => {
    await withChat(
      {
        calleePublish: true,
        resources: [open],
      },
      async ({ app, port, published }) => {
        app.answer = () =>
          "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        for (const each of [port, published])
          for (const [what, text, status] of [
            ["POST", handshake({}, "POST /chat HTTP/1.1"), 400],
            ["HEAD", handshake({}, "HEAD /chat HTTP/1.1"), 400],
            ["no key", handshake({ "Sec-WebSocket-Key": "" }), 400],
            ["a short key", handshake({ "Sec-WebSocket-Key": "AAAA" }), 400],
            [
              "two keys",
              handshake({ "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" }),
              400,
            ],
            ["a body", handshake({ "Content-Length": "1" }) + "x", 400],
            [
              "a chunked body",
              handshake({ "Transfer-Encoding": "chunked" }) + "0\r\n\r\n",
              400,
            ],
            ["version 8", handshake({ "Sec-WebSocket-Version": "8" }), 426],
            ["no version", handshake({ "Sec-WebSocket-Version": "" }), 426],
          ] as const) {
            const before = app.sessions.length;
            const client = await answered(each, text);
            t.equal(client.status, status, what);
            t.match(client.head, /^connection: close\b/m, what);
            t.equal(app.sessions.length, before, `${what} reaches nobody`);
            if (status === 426) {
              t.match(client.head, /^sec-websocket-version: 13\r$/m);
              t.match(client.head, /^upgrade: websocket\r$/m);
            }
            client.socket.destroy();
          }
        for (const [what, text] of [
          ["HTTP/1.0", handshake({}, "GET /chat HTTP/1.0")],
          ["without Connection: upgrade", handshake({ Connection: "" })],
          ["another token", handshake({ Upgrade: "h2c" })],
        ] as const) {
          const client = await answered(port, text);
          t.equal(client.status, 200, `${what}: an ordinary request`);
          t.notMatch(app.sessions.at(-1)?.head, /upgrade/i);
          client.socket.destroy();
        }
      },
    );
  },
);

void t.test(
  "law 14: the handshake is authorized as the GET that it is",
  async (t) => {
    await withChat(
      {
        resources: [denial("/chat*")],
      },
      async ({ app, port }) => {
        for (const path of ["/chat", "/x/../chat", "/%63hat?a=1"]) {
          const client = await answered(
            port,
            // Bytes sent ahead are for the application alone, and only once it has agreed.
            `${handshake({}, `GET ${path} HTTP/1.1`)}GET /smuggled HTTP/1.1\r\nHost: orders.shop\r\n\r\n`,
          );
          await until(() => client.closed);
          t.equal(client.status, 403, path);
          t.match(
            client.head,
            /^x-wherry-reason: DENIED; policy=shop\/no-chat\r$/m,
          );
          t.notMatch(client.rest, /HTTP\/1/);
          client.socket.destroy();
        }
        t.equal(app.sessions.length, 0);
        const other = await answered(
          port,
          handshake({}, "GET /other HTTP/1.1"),
        );
        t.equal(other.status, 101);
        other.socket.destroy();
      },
    );
  },
);

void t.test("bytes sent ahead wait for the application's word", async (t) => {
  await withChat({}, async ({ port }) => {
    const client = await answered(
      port,
      handshake() + frame(0x81, "early", true).toString("latin1"),
    );
    t.equal(client.status, 101);
    await until(() => client.frames.length === 1);
    t.equal(String(client.frames[0]?.payload), "early");
    client.socket.destroy();
  });
});

void t.test(
  "what a change of policy forbids is closed with 1008, between two frames",
  async (t) => {
    await withChat(
      {
        calleePublish: true,
        resources: [open],
      },
      async ({ app, pair, port, published }) => {
        const quiet = await answered(port, handshake());
        const busy = await answered(port, handshake());
        const stranger = await answered(published, handshake());
        const allowed = await answered(
          port,
          handshake({}, "GET /other HTTP/1.1"),
        );
        const whole = frame(0x82, "y".repeat(300), false);
        const [atQuiet, atBusy] = app.sessions;
        // In the middle of a frame it says nothing else, be it that it hears a Close and a FIN.
        app.onFrame = (session, each) => {
          if (session !== atBusy) repeat(session, each);
        };
        atBusy?.socket.removeAllListeners("end");
        atBusy?.socket.write(whole.subarray(0, 100));
        await until(() => busy.reader.within);

        pair.apply([open, denial("/chat")]);
        await until(() => quiet.closed && stranger.closed);
        t.strictSame(quiet.frames.map(closeOf), [
          { code: 1008, reason: "DENIED" },
        ]);
        t.strictSame(
          stranger.frames.map(closeOf),
          [{ code: 1008, reason: "" }],
          "a stranger learns no reason",
        );
        await until(() => atQuiet?.frames.length === 1);
        t.match(atQuiet?.frames.map(closeOf), [{ code: 1008 }]);
        t.notOk(busy.closed, "its frame is under way");
        atBusy?.socket.write(whole.subarray(100));
        await until(() => busy.closed);
        t.equal(busy.frames[0]?.payload.length, 300, "it comes whole");
        t.match(
          closeOf(busy.frames[1] ?? { first: 0, payload: Buffer.alloc(2) }),
          {
            code: 1008,
          },
        );
        atBusy?.socket.destroy();
        for (const client of [quiet, busy, stranger]) client.socket.end();
        await until(
          () =>
            pair.log.filter(
              ({ direction, reason, status }) =>
                direction === "inbound" &&
                reason === "DENIED" &&
                status === 101,
            ).length === 3,
        );
        allowed.socket.write(frame(0x81, "still here", true));
        await until(() => allowed.frames.length === 1);
        allowed.socket.destroy();
      },
    );
  },
);

void t.test("a sidecar that goes says 1001 on both sides", async (t) => {
  await withChat({}, async ({ app, pair, port }) => {
    const client = await answered(port, handshake());
    const gone = pair.callee.shutDown();
    await until(() => client.closed);
    t.strictSame(client.frames.map(closeOf), [
      { code: 1001, reason: "DRAINING" },
    ]);
    client.socket.end();
    await gone;
    t.match(app.sessions[0]?.frames.map(closeOf), [{ code: 1001 }]);
    t.match(
      pair.log.find(({ direction }) => direction === "inbound"),
      { status: 101, reason: "DRAINING" },
    );
  });
});

void t.test(
  "a route's time-outs and retries are the handshake's",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    let refusals = 1;
    await withChat(
      {
        clock,
        resources: [
          resource("HTTPRoute", "chat", {
            parentRefs: [
              { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
            ],
            rules: [
              {
                backendRefs: [{ name: "orders", port: 80 }],
                timeouts: { request: "2s" },
                retry: { codes: [503], attempts: 1 },
              },
            ],
          }),
        ],
      },
      async ({ app, pair, port }) => {
        app.answer = () =>
          refusals-- > 0
            ? "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
            : undefined;

        const { value: client } = await passing(
          clock,
          answered(port, handshake()),
        );
        t.equal(client.status, 101);
        t.equal(app.sessions.length, 2, "once more, after the 503");
        clock.advance(60_000);
        client.socket.write(frame(0x81, "late", true));
        await until(() => client.frames.length === 1);
        client.socket.destroy();
        await until(() => pair.log.length === 3);
        t.match(
          pair.log.find(({ direction }) => direction === "outbound"),
          { status: 101, attempts: 2, retried: "server-error" },
        );

        app.answer = () => "";
        const { value: stuck } = await passing(
          clock,
          answered(port, handshake()),
        );
        t.equal(stuck.status, 504);
        t.match(stuck.head, /^x-wherry-reason: REQUEST_TIMEOUT\r$/m);
        stuck.socket.destroy();
      },
    );
  },
);

void t.test(
  "one in which nothing moves ends after the idle time of tunnels",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withChat(
      {
        clock,
        mesh: { defaults: { timeouts: { streamIdle: "1s" } } },
        resources: [
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            connectionPool: { tcp: { idleTimeout: "10s" } },
          }),
        ],
      },
      async ({ pair, port }) => {
        const client = await answered(port, handshake());
        clock.advance(9000);
        client.socket.write(frame(0x89, "", true));
        await until(() => client.frames.length === 1);
        clock.advance(9000);
        t.notOk(client.closed, "a ping is a sign of life");
        await passing(
          clock,
          until(() => client.closed),
        );
        t.match(client.frames.slice(1).map(closeOf), [
          { code: 1001, reason: "IDLE_TIMEOUT" },
        ]);
        client.socket.end();
        await until(() =>
          pair.log.some(({ reason }) => reason === "IDLE_TIMEOUT"),
        );
      },
    );
  },
);
