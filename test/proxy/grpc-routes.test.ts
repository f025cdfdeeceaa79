/** GRPCRoute on the wire: calls of gRPC over HTTP/2 meet the rule of their method, and refusals speak gRPC. */
import { once } from "node:events";
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import {
  resource,
  until,
  withPair,
  type PairOptions,
} from "../support/meshes/pair.ts";

/** A message of two octets. */
const MESSAGE = Buffer.from("\0\0\0\0\u0002hi", "latin1");

/** A server of gRPC that answers each call with the message that it got, and tells its head. */
function grpcServer(heads: IncomingHttpHeaders[]): (socket: Socket) => void {
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    heads.push(headers);
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": "0" }),
    );
    stream.pipe(stream);
  });
  return (socket) => server.emit("connection", socket);
}

interface Called {
  readonly status: string | undefined;
  readonly reason: string | undefined;
  readonly message: string;
  readonly headers: IncomingHttpHeaders;
}

async function call(
  session: ClientHttp2Session,
  path: string,
  more: Record<string, string> = {},
): Promise<Called> {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    ":authority": "orders.shop:80",
    "content-type": "application/grpc",
    te: "trailers",
    ...more,
  });
  stream.end(MESSAGE);
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (got: IncomingHttpHeaders) => (trailers = got));
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const [[headers]] = (await Promise.all([
    once(stream, "response"),
    once(stream, "close"),
  ])) as [[IncomingHttpHeaders], unknown];
  const text = (name: string): string | undefined => {
    const value = trailers[name] ?? headers[name];
    return typeof value === "string" ? value : undefined;
  };
  return {
    status: text("grpc-status"),
    reason: text("x-wherry-reason"),
    message: Buffer.concat(chunks).toString("latin1"),
    headers,
  };
}

function service(name: string, app: string): Resource {
  return resource("Service", name, {
    ports: [{ name: "http", port: 80, appProtocol: "grpc" }],
    selector: { app },
  });
}

function routes(...rules: object[]): Resource[] {
  return [
    service("shadow", "orders"),
    service("nobody", "nobody"),
    resource("GRPCRoute", "orders", {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
      ],
      rules,
    }),
  ];
}

/** Runs `use` with a pair whose application is a gRPC server. */
async function withGrpc(
  options: PairOptions,
  use: (
    session: ClientHttp2Session,
    heads: IncomingHttpHeaders[],
  ) => Promise<void>,
): Promise<void> {
  const heads: IncomingHttpHeaders[] = [];
  await withPair(
    { appProtocol: "grpc", rawApp: () => grpcServer(heads), ...options },
    async (pair) => {
      const session = connect(
        `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
      );
      try {
        await use(session, heads);
      } finally {
        session.destroy();
      }
    },
  );
}

void t.test(
  "calls go by service and method; what no rule takes is UNIMPLEMENTED",
  async (t) => {
    const resources = routes(
      {
        matches: [{ method: { service: "shop.Cart", method: "Add" } }],
        filters: [
          {
            type: "RequestHeaderModifier",
            requestHeaderModifier: { set: [{ name: "x-rule", value: "add" }] },
          },
          {
            type: "ResponseHeaderModifier",
            responseHeaderModifier: { set: [{ name: "x-by", value: "route" }] },
          },
        ],
        backendRefs: [{ name: "orders", port: 80 }],
      },
      {
        matches: [{ method: { service: "shop.Cart" } }],
        backendRefs: [{ name: "nobody", port: 80 }],
      },
      {
        matches: [
          { method: { type: "RegularExpression", service: "old\\..*" } },
        ],
        backendRefs: [{ name: "gone", port: 80 }],
      },
    );
    await withGrpc({ resources }, async (session, heads) => {
      const added = await call(session, "/shop.Cart/Add");
      t.match(added, { status: "0", message: MESSAGE.toString("latin1") });
      t.equal(added.headers["x-by"], "route");
      t.match(heads, [{ ":path": "/shop.Cart/Add", "x-rule": "add" }]);
      t.match(await call(session, "/shop.Cart/Get"), {
        status: "14",
        reason: "NO_ENDPOINT",
      });
      t.match(
        await call(session, "/old.Cart/Get"),
        { status: "14", reason: "BACKEND_INVALID; policy=shop/orders" },
        "GRPCRouteRule.backendRefs: UNAVAILABLE",
      );
      t.match(await call(session, "/shop.Orders/List"), {
        status: "12",
        reason: "NO_ROUTE",
      });
      t.equal(heads.length, 1);
    });
  },
);

void t.test(
  "a mirrored call reaches the shadow whole, and its answer nobody",
  async (t) => {
    const resources = routes({
      filters: [
        {
          type: "RequestMirror",
          requestMirror: { backendRef: { name: "shadow", port: 80 } },
        },
      ],
      backendRefs: [{ name: "orders", port: 80 }],
    });
    await withGrpc({ resources }, async (session, heads) => {
      t.match(await call(session, "/shop.Cart/Add"), {
        status: "0",
        message: MESSAGE.toString("latin1"),
      });
      await until(() => heads.length === 2);
      t.match(heads[1], {
        ":path": "/shop.Cart/Add",
        ":authority": "orders.shop-shadow:80",
        "x-mirrored-from": "orders.shop:80",
      });
    });
  },
);
