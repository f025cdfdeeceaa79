/** Another spelling of a host or of a path's escapes tries to pass a DENY, or to take another route than the one that policy judged (law 14). */
import type { RequestListener } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import t from "tap";
import { resource, withPair, type Pair } from "../../../support/meshes/pair.ts";

/** Tells what it sees: an application that serves by virtual host. */
const application: RequestListener = (request, response) => {
  response.setHeader("x-host", request.headers.host ?? "");
  response.setHeader("x-path", request.url ?? "");
  response.end("ok");
};

const RESOURCES = [
  resource("AuthorizationPolicy", "no-admin", {
    selector: { matchLabels: { app: "orders" } },
    action: "DENY",
    rules: [
      { to: [{ operation: { hosts: ["orders.shop", "[::1]"] } }] },
      { to: [{ operation: { paths: ["/caf%c3%a9/*"] } }] },
    ],
  }),
  resource("PeerAuthentication", "open", {
    selector: { matchLabels: { app: "orders" } },
    mtls: { mode: "PERMISSIVE" },
  }),
  resource("HTTPRoute", "escapes", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [
      {
        matches: [{ path: { type: "Exact", value: "/%c3%a9" } }],
        filters: [
          {
            type: "RequestRedirect",
            requestRedirect: { hostname: "moved.example", statusCode: 302 },
          },
        ],
      },
      { backendRefs: [{ name: "orders", port: 80 }] },
    ],
  }),
];

interface Seen {
  readonly status: number;
  readonly host: string | undefined;
  readonly path: string | undefined;
}

/** One request as it is written; what comes back. */
function raw(port: number, text: string): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let got = "";
    socket.setEncoding("latin1");
    socket.on("error", reject);
    socket.on("data", (chunk: string) => (got += chunk));
    socket.on("close", () =>
      resolve({
        status: Number(got.split(" ")[1] ?? 0),
        host: /^x-host: (.*)\r$/m.exec(got)?.[1],
        path: /^x-path: (.*)\r$/m.exec(got)?.[1],
      }),
    );
    socket.write(text);
  });
}

function http2(port: number, authority: string, path = "/"): Promise<Seen> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const failed = (): void => {
      session.destroy();
      resolve({ status: 400, host: undefined, path: undefined });
    };
    session.on("error", failed);
    const stream = session.request({ ":authority": authority, ":path": path });
    stream.on("error", failed);
    stream.on("response", (head) => {
      resolve({
        status: head[":status"] ?? 0,
        host: head["x-host"] as string | undefined,
        path: head["x-path"] as string | undefined,
      });
      session.destroy();
    });
    stream.end();
  });
}

type ListenerUnderTest = (
  pair: Pair,
  host: string,
  path?: string,
) => Promise<Seen>;

const outboundPort = (pair: Pair): number => pair.caller.ports.outbound ?? 0;
const upstreamPort = (pair: Pair): number =>
  pair.caller.ports.upstreams.get("orders.shop:80") ?? 0;
const publishedPort = (pair: Pair): number =>
  [...pair.callee.ports.published.values()][0] ?? 0;
const close = "Connection: close\r\n\r\n";

/** `leads`: the host says where the request goes, so one that is not the Service's arrives nowhere. */
const LISTENERS: readonly {
  readonly name: string;
  readonly leads: boolean;
  readonly ask: ListenerUnderTest;
}[] = [
  {
    name: "HTTP/1 Host, outbound",
    leads: true,
    ask: (pair, host, path = "/") =>
      raw(
        outboundPort(pair),
        `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${close}`,
      ),
  },
  {
    name: "absolute form, outbound",
    leads: true,
    ask: (pair, host, path = "/") =>
      raw(
        outboundPort(pair),
        `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${close}`,
      ),
  },
  {
    name: ":authority, outbound",
    leads: true,
    ask: (pair, host, path) => http2(outboundPort(pair), host, path),
  },
  {
    name: "HTTP/1 Host, --upstream",
    leads: false,
    ask: (pair, host, path = "/") =>
      raw(
        upstreamPort(pair),
        `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${close}`,
      ),
  },
  {
    name: "HTTP/1 Host, published",
    leads: false,
    ask: (pair, host, path = "/") =>
      raw(
        publishedPort(pair),
        `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${close}`,
      ),
  },
  {
    name: ":authority, published",
    leads: false,
    ask: (pair, host, path) => http2(publishedPort(pair), host, path),
  },
];

/** Spellings of the host that the policy denies. */
const DENIED = [
  "orders.shop",
  "ORDERS.Shop",
  "orders.shop.",
  "orders.shop:80",
  "Orders.shop.:80",
  "orders.shop:0080",
] as const;
/** Spellings of an address that the policy denies; the outbound listener would dial it. */
const DENIED_ADDRESS = ["[::1]", "[0:0:0::1]", "[::0.0.0.1]:80"] as const;
const REFUSED = [
  "orders.shop..",
  "orders.shop...",
  "orders.shop..:80",
  ".orders.shop",
  "orders..shop",
  ".",
  "orders.shop:",
  "x@orders.shop",
  "orders.shop%2e",
  "[::1%25lo]",
] as const;

void t.test("no spelling of a host passes a DENY on it", async (t) => {
  await withPair(
    {
      app: () => application,
      resources: RESOURCES,
      calleePublish: true,
      caller: { upstream: [{ port: 0, to: "orders.shop:80" }] },
    },
    async (pair) => {
      let passed = 0;
      for (const { name, leads, ask } of LISTENERS) {
        for (const host of [...DENIED, ...(leads ? [] : DENIED_ADDRESS)]) {
          const { status } = await ask(pair, host);
          if (status === 200) passed += 1;
          t.equal(status, 403, `${name}: ${host} is denied`);
        }
        for (const host of REFUSED) {
          const { status } = await ask(pair, host);
          if (status === 200) passed += 1;
          t.equal(status, 400, `${name}: ${host} is no host`);
        }
      }
      for (const host of REFUSED) {
        const target = /:[0-9]*$/.test(host) ? host : `${host}:80`;
        const { status } = await raw(
          outboundPort(pair),
          `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`,
        );
        t.equal(status, 400, `CONNECT ${target} is refused`);
      }
      t.comment(`spellings that passed the DENY: ${passed}`);
    },
  );
});

void t.test(
  "the application sees the host and the path that policy judged",
  async (t) => {
    await withPair(
      {
        app: () => application,
        resources: RESOURCES,
        calleePublish: true,
        caller: { upstream: [{ port: 0, to: "orders.shop:80" }] },
      },
      async (pair) => {
        for (const { name, leads, ask } of LISTENERS) {
          const host = leads ? "Orders.shop.svc.:0080" : "Admin.Shop.:0080";
          t.match(
            await ask(pair, host, "/a%c3%a9?q=%c3"),
            {
              status: 200,
              host: leads ? "orders.shop.svc:80" : "admin.shop:80",
              path: "/a%C3%A9?q=%c3",
            },
            name,
          );
          for (const path of ["/caf%c3%a9/x", "/caf%C3%A9/x", "/caf%C3%a9/x"])
            t.match(
              await ask(pair, host, path),
              { status: 403 },
              `${name}: ${path} is denied`,
            );
          const routed = new Set<number>();
          for (const path of ["/%c3%a9", "/%C3%A9", "/%c3%A9"])
            routed.add((await ask(pair, host, path)).status);
          t.equal(routed.size, 1, `${name}: one route for all escapes`);
          if (!name.includes("published"))
            t.same([...routed], [302], `${name}: the one that was written`);
        }
      },
    );
  },
);
