/** Captured connections to an HTTP proxy that is outside the mesh: what is meant for it arrives, and no name of the mesh leads past its policies. */
import { createServer, connect, type Socket } from "node:net";
import { once } from "node:events";
import t, { type Test } from "tap";
import type { AskingSidecar } from "../../support/control-plane/asking-sidecar.ts";

// Before what it changes is loaded: connections from 127.200.0.1 count as captured.
await import("../../support/fuzz/target/captured.ts");
const { startAsking, startApplication } =
  await import("../../support/control-plane/asking-sidecar.ts");
const { listening, resource, until } =
  await import("../../support/meshes/pair.ts");

/** Says `response` to each head that comes, and keeps what it got. */
async function forwardProxy(
  t: Test,
  response: string,
): Promise<{ readonly port: number; readonly got: string[] }> {
  const got: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      got.push(text);
      if (text.endsWith("\r\n\r\n")) socket.write(response);
    });
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: await listening(server), got };
}

/** A connection that was made to that port of this machine. */
function captured({ sidecar }: AskingSidecar, port: number): Socket {
  process.env["WHERRY_FUZZ_APP_PORT"] = String(port);
  return opened(sidecar, "127.200.0.1");
}

function opened({ ports }: AskingSidecar["sidecar"], from: string): Socket {
  const port = ports.outbound ?? 0;
  const socket = connect({ host: "127.0.0.1", port, localAddress: from });
  socket.on("error", () => undefined);
  return socket;
}

/** The head of the response to that head. */
async function reply(socket: Socket, head: string): Promise<string> {
  socket.write(head);
  let text = "";
  while (!text.includes("\r\n\r\n")) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    text += chunk.toString("latin1");
  }
  socket.destroy();
  return text;
}

const CONNECT =
  "CONNECT www.example.com:443 HTTP/1.1\r\nhost: www.example.com:443\r\n\r\n";
const GET = (url: string, host: string): string =>
  `GET ${url} HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
const EMPTY = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

void t.test("CONNECT is for the proxy that was dialled", async (t) => {
  const { port, got } = await forwardProxy(t, "HTTP/1.1 200 Opened\r\n\r\n");
  const mesh = await startAsking(t, { services: [] });
  const socket = captured(mesh, port);
  let heard = "";
  socket.on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
  socket.write(CONNECT);
  await until(() => heard !== "");
  t.equal(heard, "HTTP/1.1 200 Opened\r\n\r\n", "it is the proxy that says so");
  socket.write("bytes of TLS");
  await until(() => got.length > 1);
  t.same(got, [CONNECT, "bytes of TLS"]);
  socket.destroy();
  await until(() => mesh.log.length > 0);
  t.match(mesh.log, [{ destination: "outside" }]);
});

void t.test("a target in absolute form stays in it", async (t) => {
  const { port, got } = await forwardProxy(t, EMPTY);
  const mesh = await startAsking(t, { services: [] });
  for (const [request, line] of [
    [
      GET("http://www.example.com/a?b=c", "www.example.com"),
      "GET http://www.example.com/a?b=c HTTP/1.1\r\nhost: www.example.com\r\n",
    ],
    [
      GET("https://www.example.com", "www.example.com"),
      "GET https://www.example.com/ HTTP/1.1\r\nhost: www.example.com\r\n",
    ],
    [
      "OPTIONS http://www.example.com HTTP/1.1\r\nhost: www.example.com\r\n\r\n",
      "OPTIONS http://www.example.com HTTP/1.1\r\nhost: www.example.com\r\n",
    ],
    [
      GET("/a", "www.example.com"),
      "GET /a HTTP/1.1\r\nhost: www.example.com\r\n",
    ],
  ] as const) {
    t.match(await reply(captured(mesh, port), request), /^HTTP\/1\.1 200 /);
    const head = got.pop() ?? "";
    t.equal(head.slice(0, line.length), line);
  }
});

void t.test("where the sidecar is the proxy, it ends there", async (t) => {
  const { port, got } = await forwardProxy(t, EMPTY);
  const { sidecar } = await startAsking(t, { services: [] });
  const host = `127.0.0.1:${port}`;
  await reply(opened(sidecar, "127.0.0.1"), GET(`http://${host}/a`, host));
  t.match(got, [/^GET \/a HTTP\/1\.1\r\n/]);
});

void t.test("REGISTRY_ONLY refuses both, with the reason", async (t) => {
  const { port, got } = await forwardProxy(t, EMPTY);
  const mesh = await startAsking(t, {
    services: [],
    mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
  });
  for (const head of [
    CONNECT,
    GET("http://www.example.com/", "www.example.com"),
  ])
    t.match(
      await reply(captured(mesh, port), head),
      /^HTTP\/1\.1 502 .*UNKNOWN_DESTINATION/s,
    );
  t.same(got, []);
});

void t.test("a host of a Service is still that Service's", async (t) => {
  const port = await startApplication(t, "partner");
  const mesh = await startAsking(t, {
    services: ["orders"],
    resources: [
      resource("Service", "partner", {
        location: "MESH_EXTERNAL",
        resolution: "STATIC",
        hosts: ["api.example.com"],
        endpoints: [{ address: "127.0.0.1" }],
        ports: [{ port, appProtocol: "http" }],
      }),
    ],
  });
  const orders = mesh.ports.get("orders") ?? 0;
  for (const [to, host, destination] of [
    [port, "api.example.com", `partner.shop:${port}`],
    [orders, "orders.shop", "orders.shop:80"],
    [orders, "www.example.com", "orders.shop:80"],
  ] as const) {
    const url = `http://${host}/a`;
    t.match(
      await reply(captured(mesh, to), GET(url, host)),
      /^HTTP\/1\.1 200 /,
    );
    await until(() => mesh.log.length > 0);
    t.match(mesh.log.pop(), { destination });
  }
  t.match(await reply(captured(mesh, orders), CONNECT), /^HTTP\/1\.1 405 /);
});
