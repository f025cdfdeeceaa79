/** Captured connections to what is not held: what is at the other end is known before their first words are read. */
import { createServer, connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import t from "tap";
import type { AskingSidecar } from "../../support/control-plane/asking-sidecar.ts";
import { keptLog } from "../../support/laws/harness.ts";
import { RESOLVE_WITHIN } from "../../../src/agent/interest/questions.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

// Before what it changes is loaded: connections from 127.200.0.1 count as captured.
await import("../../support/fuzz/target/captured.ts");
const { database, startAsking, startApplication } =
  await import("../../support/control-plane/asking-sidecar.ts");
const { listening, resource, until } =
  await import("../../support/meshes/pair.ts");

/** A connection that was made to that port of this machine. */
function captured({ sidecar }: AskingSidecar, port: number): Socket {
  process.env["WHERRY_FUZZ_APP_PORT"] = String(port);
  return connect({
    host: "127.0.0.1",
    port: sidecar.ports.outbound ?? 0,
    localAddress: "127.200.0.1",
  });
}

/** All that comes on it, once it is over. */
function said(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });
}

function get(host: string): string {
  return `GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;
}

function asked({ plane }: AskingSidecar): string[] {
  return plane.said.flatMap(({ subscribe }) => subscribe);
}

void t.test("a call to the address of a workload asks for it", async (t) => {
  const mesh = await startAsking(t, { services: ["orders"] });
  const port = mesh.ports.get("orders") ?? 0;
  for (let time = 0; time < 2; time += 1) {
    const socket = captured(mesh, port);
    socket.write(get("whatever.example.com"));
    t.match(await said(socket), /^HTTP\/1\.1 200 .*orders \/$/s);
  }
  t.same(asked(mesh), [
    "self",
    `Address//127.0.0.1:${port}`,
    "Service/shop/orders",
  ]);
  t.match(mesh.log, [
    { destination: "orders.shop:80" },
    { destination: "orders.shop:80" },
  ]);
});

void t.test(
  "a caller that is silent at first is read as what the port is for",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const mesh = await startAsking(t, {
      services: ["orders"],
      sidecar: { clock },
    });
    const port = mesh.ports.get("orders") ?? 0;
    const socket = captured(mesh, port);
    await until(() => mesh.held().includes("orders"));
    // What goes outside passes as bytes after a moment of silence; a port for HTTP would refuse bytes.
    clock.advance(1000);
    socket.write(get("orders.shop"));
    t.match(await said(socket), /^HTTP\/1\.1 200 .*orders \/$/s);
  },
);

void t.test("a server that speaks first is heard", async (t) => {
  const server = createServer((socket) => socket.end("welcome"));
  const port = await listening(server);
  t.after(() => server.close());
  const mesh = await startAsking(t, {
    services: [],
    resources: database("db", port),
    sidecar: { clock: fakeClock({ wall: Date.now() }) },
  });
  t.equal(await said(captured(mesh, port)), "welcome");
  t.same(mesh.held(), ["db"]);
});

void t.test("what is nowhere in the mesh passes, or does not", async (t) => {
  const port = await startApplication(t, "outside");
  for (const [outboundTrafficPolicy, expected] of [
    ["ALLOW_ANY", /^HTTP\/1\.1 200 .*outside \/$/s],
    ["REGISTRY_ONLY", /^HTTP\/1\.1 502 .*UNKNOWN_DESTINATION/s],
  ] as const) {
    const mesh = await startAsking(t, {
      services: ["orders"],
      mesh: { outboundTrafficPolicy },
    });
    for (let time = 0; time < 2; time += 1) {
      const socket = captured(mesh, port);
      socket.write(get("example.com"));
      t.match(await said(socket), expected);
    }
    t.same(asked(mesh), [
      "self",
      `Address//127.0.0.1:${port}`,
      "Host//example.com",
    ]);
  }
});

void t.test("a Service outside the mesh is found by its name", async (t) => {
  const port = await startApplication(t, "partner");
  const mesh = await startAsking(t, {
    services: [],
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
  const socket = captured(mesh, port);
  socket.write(get("api.example.com"));
  t.match(await said(socket), /partner \/$/);
  t.match(mesh.log, [{ destination: `partner.shop:${port}` }]);
});

void t.test("TLS is for the Service whose host it names", async (t) => {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("heard"));
  });
  const port = await listening(server);
  t.after(() => server.close());
  const mesh = await startAsking(t, {
    services: [],
    resources: [
      ...["first", "second"].map((name) =>
        resource("Service", name, {
          ports: [{ name: "tls", port: 443, appProtocol: "tls" }],
          selector: { app: "both" },
        }),
      ),
      resource(
        "Workload",
        "both-1",
        { address: "127.0.0.1", ports: { tls: port } },
        { labels: { app: "both" } },
      ),
    ],
  });
  for (const [servername, destination] of [
    ["second.shop", "second.shop:443"],
    ["third.shop", "first.shop:443"],
  ] as const) {
    const socket = captured(mesh, port);
    const tls = connectTls({ socket, servername, rejectUnauthorized: false });
    tls.on("error", () => undefined);
    await new Promise((resolve) => socket.once("close", resolve));
    await until(() => mesh.log.length > 0);
    t.match(mesh.log.pop(), { destination });
  }
});

void t.test("who says nothing is counted, and its port told", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  const { logger, lines } = keptLog();
  const server = createServer((socket) => socket.end("welcome"));
  const port = await listening(server);
  t.after(() => server.close());
  const mesh = await startAsking(t, {
    services: [],
    sidecar: { clock, logger },
  });
  const socket = captured(mesh, port);
  const answer = said(socket);
  const told = (): unknown[] =>
    lines.filter(({ msg }) => msg === "protocol not detected");
  await until(() => {
    clock.advance(250);
    return told().length > 0;
  });
  t.equal(await answer, "welcome");
  t.match(told(), [{ listener: "outbound", port, detail: /passed on/ }]);
});

void t.test(
  "where it is not known in time, its request is refused",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const mesh = await startAsking(t, {
      services: ["orders"],
      agent: { clock },
    });
    mesh.plane.silent = true;
    const socket = captured(mesh, mesh.ports.get("orders") ?? 0);
    socket.write(get("10.0.0.1"));
    const answer = said(socket);
    await until(() => asked(mesh).length === 2);
    clock.advance(RESOLVE_WITHIN);
    t.match(await answer, /^HTTP\/1\.1 503 .*x-wherry-reason: NO_CONFIG/s);
  },
);

void t.test(
  "where the config with the result is refused, a connection of bytes is closed",
  async (t) => {
    const [service, ...instances] = database("db", 6379);
    if (service === undefined) throw new Error("no Service");
    const annotations = { text: "x".repeat(20_000) };
    const mesh = await startAsking(t, {
      services: [],
      resources: [
        { ...service, metadata: { ...service.metadata, annotations } },
        ...instances,
      ],
      agent: { maxConfigBytes: 10_000 },
    });
    const socket = captured(mesh, 6379);
    socket.write("PING\r\n");
    t.equal(await said(socket), "");
    t.match(mesh.log, [{ authority: "127.0.0.1:6379", reason: "NO_CONFIG" }]);
  },
);

void t.test(
  "a caller that goes away meanwhile is missed by nobody",
  async (t) => {
    const mesh = await startAsking(t, { services: ["orders"] });
    mesh.plane.silent = true;
    const port = mesh.ports.get("orders") ?? 0;
    const socket = captured(mesh, port);
    await until(() => asked(mesh).length === 2);
    socket.destroy();
    mesh.plane.silent = false;
    await until(() => mesh.held().includes("orders"));
    const next = captured(mesh, port);
    next.write(get("orders.shop"));
    t.match(await said(next), /orders \/$/);
  },
);
