// Active health checks: HTTP, gRPC and TCP, over the link and in plaintext, and what the balancer makes of them.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { RequestListener } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { connect } from "node:net";
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import {
  listening,
  resource,
  send,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";

interface EndpointView {
  readonly key: string;
  readonly healthy: boolean;
}

interface ClusterView {
  readonly endpoints: readonly EndpointView[];
  readonly ejections: readonly {
    readonly reason: string;
    readonly evidence: string;
  }[];
}

async function cluster({ caller }: Pair): Promise<ClusterView> {
  const { text } = await send(caller.ports.admin ?? 0, {
    path: "/clusters",
    host: "127.0.0.1",
  });
  const { clusters } = JSON.parse(text) as { clusters: ClusterView[] };
  return clusters[0] ?? { endpoints: [], ejections: [] };
}

/** Waits until the endpoints' health is as given; the test's time-out ends it otherwise. */
async function health(pair: Pair, ...wanted: boolean[]): Promise<ClusterView> {
  for (;;) {
    const view = await cluster(pair);
    const seen = view.endpoints.map(({ healthy }) => healthy);
    if (JSON.stringify(seen) === JSON.stringify(wanted)) return view;
  }
}

function checks(healthCheck: Readonly<Record<string, unknown>>): Resource {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    loadBalancer: { simple: "ROUND_ROBIN" },
    // Half of two may be sick without panic.
    healthCheck: {
      interval: "100ms",
      unhealthyThreshold: 2,
      healthyThreshold: 1,
      ...healthCheck,
    },
  });
}

for (const plaintext of [false, true])
  void t.test(
    `HTTP ${plaintext ? "in plaintext" : "over the link"}: who fails is out, who is well again is back`,
    async (t) => {
      const well = [true, true];
      const asked: string[] = [];
      const app = (index: number): RequestListener => {
        return (request, response) => {
          if (request.url === "/healthz?deep=1") {
            asked.push(
              `${request.headers.host} ${request.headers["user-agent"]}`,
            );
            response.statusCode = well[index] === true ? 204 : 500;
            response.end();
          } else response.end(String(index));
        };
      };
      await withPair(
        {
          app,
          instances: 2,
          plaintext,
          resources: [checks({ path: "/healthz?deep=1" })],
        },
        async (pair) => {
          await pair.call();
          well[0] = false;
          const { ejections } = await health(pair, false, true);
          t.match(ejections, [
            {
              reason: "health-check",
              evidence: "the health check got status 500",
            },
          ]);
          for (let index = 0; index < 6; index += 1)
            t.equal((await pair.call()).text, "1");
          well[0] = true;
          await health(pair, true, true);
          t.strictSame(
            new Set(asked),
            new Set(["orders.shop wherry-health-check"]),
          );
        },
      );
    },
  );

void t.test("HTTP in plaintext is asked by undici", async (t) => {
  const asked: string[] = [];
  const note = (message: unknown): void => {
    const { request } = message as {
      readonly request: { readonly origin: string; readonly path: string };
    };
    asked.push(`${request.origin}${request.path}`);
  };
  subscribe("undici:request:create", note);
  t.teardown(() => unsubscribe("undici:request:create", note));
  await withPair(
    { plaintext: true, resources: [checks({ path: "/healthz" })] },
    async (pair) => {
      await pair.call();
      while (asked.length < 2) await cluster(pair);
      const url = `http://127.0.0.1:${pair.instances[0]?.appPort ?? 0}/healthz`;
      t.strictSame(new Set(asked), new Set([url]));
    },
  );
});

void t.test(
  "an application that is not there is out; one whose policy says no is not",
  async (t) => {
    await withPair(
      { instances: 2, resources: [checks({ path: "/healthz" })] },
      async (pair) => {
        await pair.call();
        const gone = pair.instances[0];
        gone?.app.close();
        if (gone !== undefined && "closeAllConnections" in gone.app)
          (gone.app.closeAllConnections as () => void)();
        const { ejections } = await health(pair, false, true);
        t.match(
          ejections[0]?.evidence,
          /its sidecar responded .* 503 \(APPLICATION_UNREACHABLE\)/,
        );
      },
    );
    let denied = 0;
    await withPair(
      {
        resources: [
          checks({ path: "/healthz", unhealthyThreshold: 1 }),
          resource("AuthorizationPolicy", "no-checks", {
            action: "DENY",
            rules: [{ to: [{ operation: { paths: ["/healthz"] } }] }],
          }),
        ],
      },
      async (pair) => {
        await pair.call();
        const seen = (): number =>
          pair.log.filter(({ path }) => path === "/healthz").length;
        while (seen() < 3) await cluster(pair);
        denied = seen();
        await health(pair, true);
      },
    );
    t.ok(denied >= 3);
  },
);

for (const plaintext of [false, true])
  void t.test(
    `TCP ${plaintext ? "in plaintext" : "over the link"}: a connection to the application is enough`,
    async (t) => {
      await withPair(
        {
          plaintext,
          rawApp: () => (socket) => void socket.on("error", () => undefined),
          appProtocol: "tcp",
          caller: {
            upstream: [{ port: 0, to: "orders.shop:80" }],
          },
          resources: [checks({ tcp: true, unhealthyThreshold: 1 })],
        },
        async (pair) => {
          const [port] = [...pair.caller.ports.upstreams.values()];
          const caller = connect(port ?? 0, "127.0.0.1");
          caller.on("error", () => undefined);
          await health(pair, true);
          caller.destroy();
          pair.instances[0]?.app.close();
          const { ejections } = await health(pair, false);
          t.equal(ejections[0]?.reason, "health-check");
        },
      );
    },
  );

void t.test(
  "gRPC: serving is well, not serving is not, nor is a service that it does not know",
  async (t) => {
    let status = 1;
    const services: string[] = [];
    const server = createHttp2Server((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        services.push(Buffer.concat(chunks).subarray(7).toString());
        response.writeHead(200, { "content-type": "application/grpc" });
        if (status < 0) {
          response.addTrailers({ "grpc-status": "5" });
          response.end();
          return;
        }
        response.addTrailers({ "grpc-status": "0" });
        response.end(Buffer.from([0, 0, 0, 0, 2, 8, status]));
      });
    });
    const port = await listening(server);
    t.teardown(() => server.close());
    await withPair(
      {
        plaintext: true,
        resources: [
          resource("Service", "cart", {
            ports: [{ port: 90, appProtocol: "grpc", name: "grpc" }],
            selector: { app: "cart" },
          }),
          resource(
            "Workload",
            "cart-1",
            { address: "127.0.0.1", ports: { grpc: port } },
            { labels: { app: "cart" } },
          ),
          resource("TrafficPolicy", "cart", {
            targetRefs: [{ kind: "Service", name: "cart" }],
            healthCheck: {
              grpc: { service: "shop.Cart" },
              interval: "100ms",
              unhealthyThreshold: 1,
              healthyThreshold: 1,
            },
          }),
        ],
      },
      async (pair) => {
        await pair.call({ host: "cart.shop:90" });
        await health(pair, true);
        status = 2;
        t.match(await health(pair, false), {
          ejections: [{ evidence: "it says that it does not serve" }],
        });
        status = 1;
        await health(pair, true);
        status = -1;
        const { ejections } = await health(pair, false);
        t.match(ejections.at(-1)?.evidence, /grpc-status 5/);
        t.ok(services.includes("shop.Cart"));
      },
    );
  },
);
