/** Whole processes: a revoked instance loses what it has open, without a control plane too, and comes back when that is undone or under another certificate. */
import { createServer, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort } from "../../../src/demo/free-port.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";
import { call, eventually } from "../../support/peers/call.ts";
import {
  closeOf,
  frame,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../../support/peers/websocket.ts";
import {
  startPlane,
  type PlaneProcess,
} from "../../support/processes/plane-process.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "../../support/processes/sidecar-process.ts";

const WITHIN = 60_000;
const OWN = "/apis/mesh.wherry.dev/v1alpha1";

/** The application of orders: answers, holds, streams, speaks WebSocket; and echoes bytes on a port of its own. */
async function startApplication(
  t: Test,
): Promise<{ http: number; tcp: number }> {
  const chat = new WebSocketApplication();
  const sockets = new Set<Socket>();
  const http = createServer((request, response: ServerResponse) => {
    if (request.url === "/hold") return;
    if (request.url === "/events") {
      response.setHeader("content-type", "text/event-stream");
      response.write("data: one\n\n");
    } else response.end("hello");
  });
  http.on("upgrade", (request, socket) => {
    const lines = [`${request.method ?? ""} ${request.url ?? ""} HTTP/1.1`];
    for (let at = 0; at < request.rawHeaders.length; at += 2)
      lines.push(
        `${request.rawHeaders[at] ?? ""}: ${request.rawHeaders[at + 1] ?? ""}`,
      );
    socket.unshift(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`));
    if (socket instanceof Socket) chat.accept(socket);
  });
  const tcp = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  const ports = { http: await freePort(), tcp: await freePort() };
  await new Promise<void>((done) => http.listen(ports.http, "127.0.0.1", done));
  await new Promise<void>((done) => tcp.listen(ports.tcp, "127.0.0.1", done));
  t.teardown(() => {
    http.closeAllConnections();
    http.close();
    for (const socket of sockets) socket.destroy();
    tcp.close();
  });
  return ports;
}

interface Bed {
  readonly directory: string;
  plane: PlaneProcess;
  web: SidecarProcess;
  orders: SidecarProcess;
  readonly startWeb: (state: string, token?: string) => Promise<SidecarProcess>;
  readonly startOrders: (token?: string) => Promise<SidecarProcess>;
  readonly upstreams: { readonly http: number; readonly tcp: number };
}

async function startBed(t: Test): Promise<Bed> {
  const directory = await temporaryDirectory({
    after: (run) => t.teardown(run),
  });
  const app = await startApplication(t);
  const plane = await startPlane(join(directory, "plane"));
  t.teardown(() => plane.process.stop());
  await put(plane, "namespaces/shop/services/orders", "Service", {
    ports: [
      { name: "http", port: 80, appProtocol: "http" },
      { name: "tcp", port: 9000, appProtocol: "tcp" },
    ],
    selector: { app: "orders" },
  });
  const upstreams = { http: await freePort(), tcp: await freePort() };
  const webApp = await freePort();
  const startWeb: Bed["startWeb"] = async (state, token) => {
    const web = await startSidecarProcess({
      ...{ push: plane.push, account: "web", application: webApp },
      state: join(directory, state),
      ...(token === undefined ? {} : { token }),
      more: [
        ...["--upstream", `${upstreams.http}=orders.shop:80`],
        ...["--upstream", `${upstreams.tcp}=orders.shop:9000`],
      ],
    });
    t.teardown(() => web.process.stop());
    return web;
  };
  const startOrders: Bed["startOrders"] = async (token) => {
    const orders = await startSidecarProcess({
      ...{ push: plane.push, account: "orders", application: app.http },
      state: join(directory, "orders"),
      ...(token === undefined ? {} : { token }),
      more: ["--app-port", `tcp=${app.tcp}`],
    });
    t.teardown(() => orders.process.stop());
    return orders;
  };
  const orders = await startOrders(await plane.token("orders"));
  const web = await startWeb("web", await plane.token("web"));
  await untilReady("orders", orders, "/readyz?application");
  await untilReady("web", web);
  const bed = {
    directory,
    plane,
    web,
    orders,
    startWeb,
    startOrders,
    upstreams,
  };
  await untilStatus(bed, 200);
  return bed;
}

async function put(
  { ask }: PlaneProcess,
  path: string,
  kind: string,
  spec: unknown,
): Promise<void> {
  const [name = "", , namespace] = path.split("/").reverse();
  const { status, text } = await ask("PUT", `${OWN}/${path}`, {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind,
    metadata: {
      name,
      ...(path.startsWith("namespaces/") ? { namespace } : {}),
    },
    spec,
  });
  if (status >= 300) throw new Error(text);
}

function untilStatus(
  { web }: Pick<Bed, "web">,
  wanted: number,
): Promise<unknown> {
  return eventually(
    `calls get ${wanted}`,
    WITHIN,
    async () =>
      (
        await call(`http://127.0.0.1:${web.outbound}/`, {
          headers: { host: "orders.shop" },
        })
      ).status,
    (status) => status === wanted,
  );
}

/** What ends an open exchange, each by its name. */
async function openAll({
  upstreams,
}: Bed): Promise<readonly [string, Promise<unknown>][]> {
  const held = call(`http://127.0.0.1:${upstreams.http}/hold`, {
    method: "POST",
  }).then(
    ({ status }) => status,
    () => "cut",
  );
  const events = connect({ port: upstreams.http, host: "127.0.0.1" });
  events.on("error", () => undefined);
  events.write("GET /events HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
  await new Promise((resolve) => events.once("data", resolve));
  const tunnel = connect({ port: upstreams.tcp, host: "127.0.0.1" });
  tunnel.on("error", () => undefined);
  tunnel.write("hello");
  await new Promise((resolve) => tunnel.once("data", resolve));
  const chat = await RawClient.open(upstreams.http, handshake({}));
  chat.socket.write(frame(0x81, "hello", true));
  const frames = (count: number): Promise<unknown> =>
    eventually(
      "a frame",
      WITHIN,
      () => Promise.resolve(chat.frames.length),
      (now) => now >= count,
    );
  await frames(1);
  return [
    ["a call in flight", held],
    [
      "an event stream",
      new Promise((resolve) => events.once("close", resolve)),
    ],
    ["a tunnel", new Promise((resolve) => tunnel.once("close", resolve))],
    [
      "a WebSocket",
      frames(2).then(() => {
        const last = chat.frames.at(-1);
        return last && closeOf(last).code;
      }),
    ],
  ];
}

void t.test("an instance", async (t) => {
  const bed = await startBed(t);
  const { plane } = bed;
  const open = await openAll(bed);
  const since = performance.now();
  await put(plane, "revocations/stolen", "Revocation", {
    instance: "shop/web-1",
  });
  for (const [what, end] of open) {
    const result = await end;
    t.comment(
      `${what} ended after ${Math.round(performance.now() - since)} ms`,
    );
    if (what === "a WebSocket") t.equal(result, 1008, what);
    else t.not(result, 200, what);
  }
  await untilStatus(bed, 503);
  t.ok(
    (await bed.orders.metric("wherry_refusals_total", 'reason="revoked"')) > 0,
  );

  await plane.process.stop();
  await bed.orders.process.stop();
  bed.orders = await bed.startOrders();
  await untilReady("orders", bed.orders, "/readyz?application");
  const before = await bed.orders.metric(
    "wherry_refusals_total",
    'reason="revoked"',
  );
  t.equal(before, 0, "a new process");
  await untilStatus(bed, 503);

  const ports = { api: new URL(plane.api).host, push: plane.push };
  bed.plane = await startPlane(join(bed.directory, "plane"), { ports });
  t.teardown(() => bed.plane.process.stop());
  await bed.plane.ask("DELETE", `${OWN}/revocations/stolen`);
  await untilStatus(bed, 200);
});

void t.test("one certificate", async (t) => {
  const bed = await startBed(t);
  const { plane } = bed;
  const { text } = await plane.ask("GET", "/status");
  const { sidecars } = JSON.parse(text) as {
    sidecars: { name: string; certificateSerial: string }[];
  };
  const serial = sidecars.find(
    ({ name }) => name === "web-1",
  )?.certificateSerial;
  await put(plane, "revocations/one", "Revocation", { serial });
  await untilStatus(bed, 503);
  await bed.web.process.stop();
  bed.web = await bed.startWeb("web-again", await plane.token("web"));
  await untilReady("web", bed.web);
  await untilStatus(bed, 200);
});
