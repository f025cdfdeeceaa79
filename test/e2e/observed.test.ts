/** A control plane, two sidecars and the CLI: what a policy on trial would have refused, and callers that still come in plaintext. */
import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { runCli } from "../support/control-plane/cli.ts";
import { withLiveMesh, type LiveMesh } from "../support/meshes/live-mesh.ts";
import { eventually } from "../support/peers/call.ts";
import { resource } from "../support/meshes/pair.ts";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

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
    ports: {
      readonly outbound: number;
      readonly published: number;
      /** An application, past all sidecars. */
      readonly appPort: number;
    },
  ) => Promise<void>,
): Promise<void> {
  const app = createServer((_request, response) => response.end("ok"));
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
  try {
    await withLiveMesh(async (mesh) => {
      for (const each of [SERVICE, TRIED, PERMISSIVE])
        await mesh.store.put(each, "absent");
      const { port: appPort } = app.address() as AddressInfo;
      const callee = await mesh.sidecar("shop/orders", { appPort });
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
      await use(mesh, cli, { outbound, published: callee.published, appPort });
    });
  } finally {
    app.close();
  }
}

void t.test(
  "what would have been refused, and who comes in plaintext",
  async (t) => {
    await withShop(async (_mesh, cli, { outbound, published, appPort }) => {
      const none = await cli("describe", "ap", "readers", "-n", "shop");
      t.match(none.out, /Changes no verdict: no call of the last hour/);
      for (const path of ["/secret?key=1", "/secret", "/open"])
        t.equal(await call(outbound, "orders.shop", path), 200, path);
      t.equal(await call(published, "orders.shop", "/open"), 200);
      const place = `127.0.0.1:${appPort}`;
      t.equal(await call(outbound, place, "/open"), 200);

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
      const egress = await eventually(
        "the control plane has been told by the caller as well",
        30_000,
        () => cli("status", "--egress"),
        ({ out }) => /passed through/.test(out),
      );
      t.match(
        egress.out,
        new RegExp(`shop/web-1 +web +${place} +passed through +1 +\\S+ ago`),
      );
    });
  },
);

const ENFORCED = { ...TRIED, metadata: { name: "readers", namespace: "shop" } };
const STRICT = resource("PeerAuthentication", "open", {
  selector: SELECTOR,
  mtls: { mode: "STRICT" },
});

void t.test(
  "a first ALLOW, its end, and STRICT say whom they hit",
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "wherry-impact-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const fileOf = (name: string, value: object): string => {
      const file = join(folder, `${name}.json`);
      writeFileSync(file, JSON.stringify(value));
      return file;
    };
    const allow = fileOf("allow", ENFORCED);
    const strict = fileOf("strict", STRICT);
    await withShop(async (mesh, cli, { outbound, published }) => {
      t.equal(await call(outbound, "orders.shop", "/secret"), 200);
      t.equal(await call(published, "orders.shop", "/open"), 200);
      await eventually(
        "the control plane has been told",
        30_000,
        () => cli("status", "--plaintext"),
        ({ out }) => /orders-1/.test(out),
      );

      const closes =
        /is the first ALLOW of shop\/orders-1: it closes them, and every call that no rule of an ALLOW matches is refused/;
      const dry = await cli("apply", "-f", allow, "--dry-run");
      t.match(dry.err, closes);
      t.match(
        dry.err,
        /would refuse calls of the last hour: .*cluster\.local\/ns\/shop\/sa\/web GET \/secret on port \d+ \(1 times\)/,
      );
      t.match(
        dry.err,
        /plaintext 127\.0\.0\.1 GET \/open on port \d+ \(1 times\)/,
      );
      t.notMatch(dry.err, /sa\/web GET \/open/, "what is allowed is not named");
      t.match((await cli("apply", "-f", allow)).err, closes);
      t.notMatch(
        (await cli("apply", "-f", allow)).err,
        closes,
        "it is there already",
      );
      await eventually(
        "it is in force",
        20_000,
        () => call(outbound, "orders.shop", "/secret"),
        (status) => status === 403,
      );
      const opens =
        /was the last ALLOW of shop\/orders-1: without it the Mesh's defaultAction decides there again/;
      const gone = await cli("delete", "-f", allow, "--dry-run");
      t.match(gone.err, opens);
      t.match(gone.err, /would let in calls that were refused: .*GET \/secret/);
      const named = await cli("delete", "ap", "readers", "-n", "shop");
      t.match(named.err, opens);

      const stricter = await cli("apply", "-f", strict, "--dry-run");
      t.match(
        stricter.err,
        /STRICT refuses callers that came in plaintext in the last hour: plaintext 127\.0\.0\.1/,
      );
      t.equal(
        await mesh.admin.put(STRICT).then(({ status }) => status),
        200,
        "it is a warning",
      );
      t.match((await cli("status", "--plaintext")).out, /no call in plaintext/);
    });
  },
);
