/** Action CUSTOM for what is not one short request over HTTP/1: WebSocket, gRPC, HTTP/2, bytes; and what a change of policy does to streams. */
import { once } from "node:events";
import {
  connect as connectHttp2,
  performServerHandshake,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect, type Socket } from "node:net";
import t from "tap";
import { grpcScript, httpScript } from "../../support/checks/providers.ts";
import { resource, until, withPair } from "../../support/meshes/pair.ts";
import {
  closeOf,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../../support/peers/websocket.ts";

function asking(...rules: readonly object[]): ReturnType<typeof resource> {
  return resource("AuthorizationPolicy", "ask", {
    ...{ selector: { matchLabels: { app: "orders" } }, action: "CUSTOM" },
    ...{ provider: { name: "opa" }, rules },
  });
}

function meshOf(server: object): Record<string, unknown> {
  return {
    authorization: {
      defaultAction: "ALLOW",
      providers: [{ name: "opa", timeout: "20s", ...server }],
    },
  };
}

const WEB = { caller: { upstream: [{ port: 0, to: "orders.shop" }] } };

async function opened(port: number, path: string): Promise<RawClient> {
  const client = await RawClient.open(
    port,
    handshake({}, `GET ${path} HTTP/1.1`),
  );
  await until(() => client.head !== "" || client.closed);
  return client;
}

void t.test(
  "a WebSocket is asked about once, and ends where a new rule asks a provider that was not asked",
  async (t) => {
    const app = new WebSocketApplication();
    const provider = await httpScript((request, response) =>
      response.writeHead(request.url === "/no" ? 401 : 200).end(),
    );
    try {
      await withPair(
        {
          ...WEB,
          rawApp: () => app.accept,
          mesh: meshOf({ http: { address: provider.address } }),
          resources: [
            asking({ to: [{ operation: { paths: ["/no", "/asked"] } }] }),
          ],
        },
        async (pair) => {
          const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
          const denied = await opened(port, "/no");
          t.equal(denied.status, 401);
          t.equal(app.sessions.length, 0);
          const asked = await opened(port, "/asked");
          t.equal(asked.status, 101);
          const free = await opened(port, "/free");
          t.equal(free.status, 101);
          t.equal(provider.asked.length, 2);
          pair.apply([asking({})]);
          await until(() => free.closed);
          const [last] = free.frames.slice(-1);
          t.equal(last && closeOf(last).code, 1008);
          t.equal(provider.asked.length, 2, "nobody is asked again");
          t.notOk(asked.closed, "its verdict holds");
          t.ok(
            pair.log.some(
              ({ direction, reason }) =>
                direction === "inbound" && reason === "PROVIDER_DENIED",
            ),
          );
          pair.apply([
            asking({}),
            resource("AuthorizationPolicy", "no", {
              action: "DENY",
              rules: [{ to: [{ operation: { paths: ["/asked"] } }] }],
            }),
          ]);
          await until(() => asked.closed);
          for (const client of [denied, asked, free]) client.socket.destroy();
        },
      );
    } finally {
      await provider.close();
    }
  },
);

/** A gRPC server that says yes. */
function grpcServer(heads: IncomingHttpHeaders[]): (socket: Socket) => void {
  return (socket) => {
    socket.on("error", () => undefined);
    const session = performServerHandshake(socket);
    session.on("error", () => undefined);
    session.on("stream", (stream, headers) => {
      heads.push(headers);
      stream.on("error", () => undefined);
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () =>
        stream.sendTrailers({ "grpc-status": "0" }),
      );
      stream.end();
    });
  };
}

void t.test("gRPC over HTTP/2: a denial is a status of gRPC", async (t) => {
  const heads: IncomingHttpHeaders[] = [];
  const provider = await grpcScript(({ attributes: { request } }) =>
    request.http?.headers["authorization"] === "Bearer yes"
      ? {
          status: { code: 0 },
          ok: { headers: [{ header: { key: "x-user", value: "alice" } }] },
        }
      : {
          status: { code: 16 },
          denied: {
            status: { code: 401 },
            headers: [
              { header: { key: "content-type", value: "text/html" } },
              { header: { key: "grpc-status", value: "0" } },
            ],
            body: "<p>log in</p>",
          },
        },
  );
  try {
    await withPair(
      {
        appProtocol: "grpc",
        rawApp: () => grpcServer(heads),
        mesh: meshOf({
          grpc: { address: provider.address },
          headersToApplication: ["x-user"],
          headersToCallerOnDeny: ["grpc-status", "content-type"],
        }),
        resources: [asking({})],
      },
      async (pair) => {
        const session = connectHttp2(
          `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
        );
        session.on("error", () => undefined);
        const call = async (token: string): Promise<IncomingHttpHeaders> => {
          const stream = session.request({
            ...{ ":method": "POST", ":path": "/shop.Orders/Get" },
            ...{ ":authority": "orders.shop", te: "trailers" },
            "content-type": "application/grpc",
            authorization: `Bearer ${token}`,
          });
          stream.end(Buffer.alloc(5));
          const [first] = (await once(stream, "response")) as [
            IncomingHttpHeaders,
          ];
          let last = first;
          stream.on("trailers", (trailers) => (last = trailers));
          stream.resume();
          await once(stream, "close");
          return { ...first, ...last };
        };
        t.match(await call("yes"), { ":status": 200, "grpc-status": "0" });
        t.equal(heads[0]?.["x-user"], "alice");
        const denied = await call("no");
        t.match(denied, {
          ":status": 200,
          "content-type": "application/grpc",
          "grpc-status": "16",
        });
        t.equal(heads.length, 1);
        session.destroy();
      },
    );
  } finally {
    provider.close();
  }
});

void t.test(
  "HTTP/2 callers, bodies held back and passed on whole",
  async (t) => {
    const body = Buffer.alloc(300_000, "x");
    let release: (() => void) | undefined;
    const provider = await httpScript((_request, response) => {
      release = () => response.end();
    });
    try {
      await withPair(
        {
          mesh: meshOf({ http: { address: provider.address } }),
          resources: [asking({})],
        },
        async (pair) => {
          const session = connectHttp2(
            `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
          );
          session.on("error", () => undefined);
          const stream = session.request({
            ...{ ":method": "POST", ":path": "/" },
            ":authority": "orders.shop",
          });
          stream.end(body);
          await until(() => release !== undefined);
          t.equal(
            await pair.metric(pair.callee, "wherry_active_requests", "inbound"),
            1,
            "it counts as a request in flight",
          );
          release?.();
          let text = "";
          stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
          await once(stream, "end");
          t.equal((JSON.parse(text) as { body: string }).body.length, 300_000);
          session.destroy();
        },
      );
    } finally {
      await provider.close();
    }
  },
);

void t.test("a caller that goes away calls the question off", async (t) => {
  let gone: (() => void) | undefined;
  const broken = new Promise<void>((resolve) => (gone = resolve));
  const provider = await httpScript((request) => {
    request.socket.on("close", () => gone?.());
  });
  try {
    await withPair(
      {
        mesh: meshOf({ http: { address: provider.address } }),
        resources: [asking({})],
      },
      async (pair) => {
        const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
        socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
        await until(() => provider.asked.length === 1);
        socket.destroy();
        await broken;
        await until(() =>
          pair.log.some(
            ({ direction, reason }) =>
              direction === "inbound" && reason === "CLIENT_CLOSED",
          ),
        );
        t.pass("and is told in the log");
      },
    );
  } finally {
    await provider.close();
  }
});

void t.test("bytes: gRPC is asked, and HTTP cannot be", async (t) => {
  const grpc = await grpcScript(({ attributes: { request, source } }) => ({
    status: {
      code:
        request.http?.method === undefined && source.principal !== "" ? 0 : 7,
    },
  }));
  const http = await httpScript((_request, response) => response.end());
  try {
    for (const [server, text] of [
      [{ grpc: { address: grpc.address } }, "welcome"],
      [{ http: { address: http.address } }, ""],
    ] as const)
      await withPair(
        {
          ...WEB,
          appProtocol: "tcp",
          rawApp: () => (socket) => {
            socket.on("error", () => undefined);
            socket.end("welcome");
          },
          mesh: meshOf(server),
          resources: [asking({ to: [{ operation: { paths: ["/only"] } }] })],
        },
        async (pair) => {
          const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
          const socket = connect(port, "127.0.0.1");
          socket.on("error", () => undefined);
          let got = "";
          socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
          await new Promise((resolve) => socket.once("close", resolve));
          t.equal(got, text);
          t.equal(
            pair.log.some(({ reason }) => reason === "PROVIDER_FAILED"),
            text === "",
          );
        },
      );
    t.equal(grpc.asked.length, 1);
    t.equal(http.asked.length, 0);
  } finally {
    grpc.close();
    await http.close();
  }
});
