/** What is called and not held: asked for once, and answered as if all had been held. */
import { request } from "node:http";
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import {
  database,
  callable,
  startApplication,
  startAsking,
  type AskingSidecar,
} from "../support/control-plane/asking-sidecar.ts";
import { resource, send, until } from "../support/meshes/pair.ts";

/** Names that were subscribed to, in their order. */
function asked({ plane }: AskingSidecar): string[] {
  return plane.said.flatMap(({ subscribe }) => subscribe);
}

function route(
  name: string,
  rule: Record<string, unknown>,
  metadata: Record<string, unknown> = {},
): Resource {
  return resource(
    "HTTPRoute",
    name,
    {
      parentRefs: [
        {
          group: "mesh.wherry.dev",
          kind: "Service",
          name,
          namespace: "shop",
        },
      ],
      rules: [rule],
    },
    metadata,
  );
}

void t.test("a first call is asked for, and answered", async (t) => {
  const mesh = await startAsking(t, { services: ["orders", "stock", "cards"] });
  const { plane, call, held, log, spans } = mesh;
  t.same(held(), [], "nothing was called");
  t.match(await call("orders.shop", { path: "/1" }), {
    status: 200,
    text: "orders /1",
  });
  t.same(held(), ["orders"]);
  t.same((await call("orders.shop", { path: "/2" })).text, "orders /2");
  t.same(
    plane.said.map(({ subscribe }) => subscribe),
    [["self"], ["Host//orders.shop"], ["Service/shop/orders"]],
  );
  t.match(log, [
    { path: "/1", destination: "orders.shop:80", status: 200 },
    { path: "/2", destination: "orders.shop:80", status: 200 },
  ]);
  const waits = spans.map(
    ({ attributes }) => attributes["wherry.config_wait_ms"],
  );
  t.equal(waits.filter((wait) => wait !== undefined).length, 1);
  const config = await send(mesh.sidecar.ports.admin ?? 0, {
    path: "/config",
    host: "127.0.0.1",
  });
  t.match(JSON.parse(config.text), {
    scope: "used",
    held: {
      services: [{ service: "shop/orders", why: "used", idleMinutes: 0 }],
      questions: [{ question: "Host//orders.shop", services: ["shop/orders"] }],
    },
  });
  const metrics = await send(mesh.sidecar.ports.metrics ?? 0, {
    path: "/metrics",
  });
  t.match(
    metrics.text,
    /^wherry_config_wait_seconds_count\{result="known"\} 1$/m,
  );
});

void t.test("one question serves all who wait", async (t) => {
  const mesh = await startAsking(t, { services: ["orders"] });
  mesh.plane.silent = true;
  const calls = Array.from({ length: 20 }, (_none, index) =>
    mesh.call("orders.shop", { path: `/${index}` }),
  );
  await until(() => asked(mesh).includes("Host//orders.shop"));
  mesh.plane.silent = false;
  t.same(
    (await Promise.all(calls)).map(({ text }) => text),
    calls.map((_call, index) => `orders /${index}`),
  );
  t.same(asked(mesh), ["self", "Host//orders.shop", "Service/shop/orders"]);
});

void t.test("every name of a Service is one to ask by", async (t) => {
  for (const host of [
    "orders",
    "ORDERS.shop",
    "orders.shop.svc",
    "orders.shop.svc.cluster.local",
    "orders.shop:80",
    "orders.shop.",
  ]) {
    const { call } = await startAsking(t, { services: ["orders"] });
    t.match(await call(host), { status: 200, text: "orders /" }, host);
  }
});

void t.test("a Service outside the mesh is found by its host", async (t) => {
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
      resource("Service", "dns", {
        location: "MESH_EXTERNAL",
        hosts: ["api.invalid"],
        ports: [{ port: 80, appProtocol: "http" }],
      }),
    ],
    mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
  });
  t.match(await mesh.call(`api.example.com:${port}`), {
    status: 200,
    text: "partner /",
  });
  t.match(await mesh.call("api.invalid"), { status: 502 });
  t.match(mesh.log, [
    { destination: `partner.shop:${port}` },
    { destination: "dns.shop:80", endpoint: "api.invalid:80" },
  ]);
});

void t.test(
  "what is nowhere in the mesh is outside it, and asked once",
  async (t) => {
    const mesh = await startAsking(t, { services: ["orders"] });
    const port = await startApplication(t, "outside");
    for (const path of ["/1", "/2"])
      t.match(await mesh.call(`127.0.0.1:${port}`, { path }), {
        status: 200,
        text: `outside ${path}`,
      });
    t.same(asked(mesh), ["self", "Host//127.0.0.1"]);
    t.match(mesh.log, [{ destination: "outside" }, { destination: "outside" }]);
  },
);

void t.test(
  "with REGISTRY_ONLY it is refused, until it comes to be",
  async (t) => {
    const mesh = await startAsking(t, {
      services: ["orders"],
      mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
    });
    const port = await startApplication(t, "late");
    for (let time = 0; time < 2; time += 1)
      t.match(await mesh.call("late.shop"), { reason: "UNKNOWN_DESTINATION" });
    t.same(asked(mesh), ["self", "Host//late.shop"]);
    mesh.plane.change(...callable("late", port));
    await until(() => mesh.held().includes("late"));
    t.match(await mesh.call("late.shop"), { status: 200, text: "late /" });
    mesh.plane.change("-Service/shop/late");
    await until(() => !mesh.held().includes("late"));
    t.match(await mesh.call("late.shop"), { reason: "UNKNOWN_DESTINATION" });
    t.same(
      asked(mesh),
      ["self", "Host//late.shop", "Service/shop/late"],
      "the answer is kept up to date",
    );
  },
);

void t.test("a name at a port that nobody has is unknown", async (t) => {
  const mesh = await startAsking(t, {
    services: ["orders"],
    mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
  });
  for (let time = 0; time < 2; time += 1)
    t.match(await mesh.call("orders.shop:81"), {
      reason: "UNKNOWN_DESTINATION",
    });
  t.same(asked(mesh), ["self", "Host//orders.shop"]);
});

void t.test("what breaks the grammar is not asked for", async (t) => {
  const mesh = await startAsking(t, { services: ["orders"] });
  t.match(await mesh.call("a..b"), { status: 400 });
  t.match(await mesh.call("[::1]:1"), { reason: "CONNECT_FAILED" });
  t.same(asked(mesh), ["self"]);
});

/** What CONNECT is answered. */
function tunnel(
  { sidecar }: AskingSidecar,
  target: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const asking = request({
      port: sidecar.ports.outbound,
      method: "CONNECT",
      path: target,
      agent: false,
    });
    asking.on("error", reject);
    asking.on("connect", ({ statusCode = 0 }, socket) => {
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
      socket.on("end", () => resolve({ status: statusCode, text }));
      if (statusCode === 200)
        socket.end("GET /tunnel HTTP/1.0\r\nhost: db\r\n\r\n");
    });
    asking.end();
  });
}

void t.test(
  "a tunnel asks for its target: a name, or an address",
  async (t) => {
    const port = await startApplication(t, "db");
    const mesh = await startAsking(t, {
      services: ["orders"],
      resources: database("db", port),
    });
    t.match(await tunnel(mesh, `127.0.0.1:${port}`), {
      status: 200,
      text: /db \/tunnel/,
    });
    t.match(mesh.log, [{ destination: "db.shop:5432" }]);
    t.same(asked(mesh), [
      "self",
      "Host//127.0.0.1",
      `Address//127.0.0.1:${port}`,
      "Service/shop/db",
    ]);
    t.match(await tunnel(mesh, "db.shop:5432"), { status: 200 });
    t.match(await tunnel(mesh, "orders.shop:80"), { status: 405 });
    t.match(mesh.log.at(-1), { reason: "TUNNEL_REFUSED" });
    t.equal(
      asked(mesh).filter((name) => name.startsWith("Host")).length,
      2,
      "the name of a Service that is held is not asked for",
    );
  },
);

void t.test("the Service of a local port is held from the start", async (t) => {
  const { plane, sidecar, held } = await startAsking(t, {
    services: ["orders", "stock"],
    declared: { hosts: ["orders.shop"], services: ["shop/stock"] },
    sidecar: { upstream: [{ port: 0, to: "orders.shop" }] },
  });
  t.same(held().sort(), ["orders", "stock"]);
  t.same(plane.said.length, 1);
  const port = sidecar.ports.upstreams.get("orders.shop") ?? 0;
  t.match(await send(port, { host: "anything" }), { text: "orders /" });
});

void t.test("a local port asks for a Service that is not held", async (t) => {
  const mesh = await startAsking(t, {
    services: ["orders"],
    sidecar: { upstream: [{ port: 0, to: "orders.shop" }] },
  });
  t.same(mesh.held(), []);
  const port = mesh.sidecar.ports.upstreams.get("orders.shop") ?? 0;
  t.match(await send(port, { host: "anything" }), { text: "orders /" });
  t.same(asked(mesh), ["self", "Host//orders.shop", "Service/shop/orders"]);
});

void t.test("with a Service comes what its routes lead to", async (t) => {
  const mesh = await startAsking(t, {
    services: ["orders", "orders-v2", "shadow", "stock"],
    resources: [
      route("orders", {
        backendRefs: [{ name: "orders-v2", port: 80 }],
        filters: [
          {
            type: "RequestMirror",
            requestMirror: { backendRef: { name: "shadow", port: 80 } },
          },
        ],
      }),
    ],
  });
  t.match(await mesh.call("orders.shop"), { text: "orders-v2 /" });
  t.same(mesh.held().sort(), ["orders", "orders-v2", "shadow"]);
  await until(() => mesh.log.length === 2);
  t.same(
    mesh.log.map(({ direction, destination, status }) => [
      direction,
      destination,
      status,
    ]),
    [
      ["outbound", "orders.shop:80", 200],
      ["mirror", "shadow.shop:80", 200],
    ],
  );
  t.same(asked(mesh), ["self", "Host//orders.shop", "Service/shop/orders"]);
  t.match(await mesh.call("orders-v2.shop"), { text: "orders-v2 /" });
  t.same(
    asked(mesh).slice(3),
    ["Service/shop/orders-v2"],
    "held already, and in use from now on",
  );
});

void t.test("a call fails over to another instance", async (t) => {
  const mesh = await startAsking(t, {
    services: ["orders"],
    resources: [
      resource(
        "Workload",
        "orders-2",
        { address: "127.0.0.1", ports: { http: 1 } },
        { labels: { app: "orders" } },
      ),
    ],
  });
  for (let time = 0; time < 8; time += 1)
    t.match(await mesh.call("orders.shop"), { status: 200 });
});

void t.test("other instances of its own Service are asked for", async (t) => {
  const mesh = await startAsking(t, {
    services: ["web"],
    resources: [
      resource(
        "Workload",
        "web-2",
        { address: "127.0.0.1", ports: { http: 1 }, ready: false },
        { labels: { app: "web" } },
      ),
    ],
  });
  t.same(mesh.held(), ["web"], "it is held for what it does to the sidecar");
  t.match(await mesh.call("web.shop"), { text: "web /" });
  t.same(asked(mesh), ["self", "Host//web.shop", "Service/shop/web"]);
});
