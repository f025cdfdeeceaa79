/** A control plane, two sidecars and the CLI: what a policy on trial would have refused, and callers that still come in plaintext. */
import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { runCli } from "../support/control-plane/cli.ts";
import { withLiveMesh, type LiveMesh } from "../support/meshes/live-mesh.ts";
import { eventually } from "../support/peers/call.ts";
import { resource } from "../support/meshes/pair.ts";

const SELECTOR = { matchLabels: { app: "orders" } };
const SERVICE = resource("Service", "orders", {
  ports: [{ name: "http", port: 80 }],
  selector: { app: "orders" },
});
const TRIED = resource(
  "AuthorizationPolicy",
  "readers",
  {
    selector: SELECTOR,
    rules: [
      {
        from: [{ source: { namespaces: ["shop"] } }],
        to: [{ operation: { paths: ["/open"] } }],
      },
    ],
  },
  { annotations: { "istio.io/dry-run": "true" } },
);
const PERMISSIVE = resource("PeerAuthentication", "open", {
  selector: SELECTOR,
  mtls: { mode: "PERMISSIVE" },
});

async function call(port: number, host: string, path: string): Promise<number> {
  const [response] = (await once(
    get({ host: "127.0.0.1", port, path, headers: { host } }),
    "response",
  )) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  return response.statusCode ?? 0;
}

async function withShop(
  use: (
    mesh: LiveMesh,
    cli: (...argv: string[]) => ReturnType<typeof runCli>,
    ports: { readonly outbound: number; readonly published: number },
  ) => Promise<void>,
): Promise<void> {
  const app = createServer((_request, response) => response.end("ok"));
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
  try {
    await withLiveMesh(async (mesh) => {
      for (const each of [SERVICE, TRIED, PERMISSIVE])
        await mesh.store.put(each, "absent");
      const { port } = app.address() as AddressInfo;
      const callee = await mesh.sidecar("shop/orders", { appPort: port });
      const caller = await mesh.sidecar("shop/web");
      const cli = (...argv: string[]): ReturnType<typeof runCli> =>
        runCli([
          ...argv,
          ...["--server", mesh.apiUrl, "--token-file", mesh.adminTokenFile],
        ]);
      await eventually(
        "the caller reaches the callee",
        20_000,
        () => call(caller.outbound, "orders.shop", "/open"),
        (status) => status === 200,
      );
      const { outbound } = caller;
      await use(mesh, cli, { outbound, published: callee.published });
    });
  } finally {
    app.close();
  }
}

void t.test(
  "what would have been refused, and who comes in plaintext",
  async (t) => {
    await withShop(async (_mesh, cli, { outbound, published }) => {
      const none = await cli("describe", "ap", "readers", "-n", "shop");
      t.match(none.out, /Changes no verdict: no call of the last hour/);
      for (const path of ["/secret?key=1", "/secret", "/open"])
        t.equal(await call(outbound, "orders.shop", path), 200, path);
      t.equal(await call(published, "orders.shop", "/open"), 200);

      const { out } = await eventually(
        "the control plane has been told",
        30_000,
        () => cli("describe", "ap", "readers", "-n", "shop"),
        (ran) => /plaintext/.test(ran.out) && /\/secret/.test(ran.out),
      );
      t.match(
        out,
        /Changes no verdict: 3 calls in the last hour, at 1 sidecar, the first \S+ ago/,
      );
      t.match(
        out,
        /refused +cluster\.local\/ns\/shop\/sa\/web +GET \/secret +\d+ +2 +\S+ ago +\S+ ago/,
      );
      t.match(out, /refused +plaintext 127\.0\.0\.1 +GET \/open +\d+ +1 /);
      t.notMatch(out, "key=1", "no query is shown");

      const json = await cli(
        "describe",
        "ap",
        "readers",
        "-n",
        "shop",
        "-o",
        "json",
      );
      t.match(JSON.parse(json.out), {
        status: {
          shadow: {
            calls: 3,
            sidecars: 1,
            more: 0,
            callers: [{ calls: 2 }, { calls: 1 }],
          },
        },
      });

      const plaintext = await cli("status", "--plaintext");
      t.match(
        plaintext.out,
        /shop\/orders-1 +\d+ +127\.0\.0\.1 +1 +\S+ ago +\S+ ago/,
      );
      t.equal(plaintext.out.trim().split("\n").length, 2, "and nobody else");
      const asked = await cli("status", "--plaintext", "-o", "json");
      t.match(JSON.parse(asked.out), {
        callers: [
          {
            namespace: "shop",
            workload: "orders-1",
            address: "127.0.0.1",
            calls: 1,
          },
        ],
      });
    });
  },
);
