/** SPIRE itself, server and agent, gives sidecars of a mesh without a control plane their certificates: waited for, rotated, and while the agent is away. With WHERRY_LONG=1 alone. */
import { realpathSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort } from "../../../src/demo/free-port.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";
import {
  call,
  closeCalls,
  eventually,
  openLoad,
  type Load,
} from "../../support/peers/call.ts";
import { GO_PEER_MISSING, goPeer } from "../../support/processes/go-peer.ts";
import {
  startFileSidecar,
  untilReady,
  type SidecarProcess,
} from "../../support/processes/sidecar-process.ts";
import {
  SPIRE_MISSING,
  startSpire,
  type Spire,
  type SvidFiles,
} from "../../support/processes/spire.ts";
import { needs } from "../../support/processes/tools.ts";
import type { WherryProcess } from "../../support/processes/wherry-process.ts";
import { OPEN_MESH, ORDERS_SERVICE } from "../../support/resources/yaml.ts";

const WITHIN = 30_000;
/** Seconds. SPIRE sets the begin of a certificate back by 10, and renews at half of its life: 2 or 3 after it came. */
const LIFE = 15;
const idOf = (account: string): string =>
  `spiffe://cluster.local/ns/shop/sa/${account}`;

/** One account for both instances: SPIRE tells programs apart here, as all have one user, and both run the same. */
const resources = (
  link: number,
  application: number,
): string => `${OPEN_MESH}---${ORDERS_SERVICE}---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: orders-1, namespace: shop, labels: { app: orders } }
spec:
  address: 127.0.0.1
  ports: { http: ${application} }
  link: { port: ${link} }
  serviceAccount: shop
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: orders, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/shop, cluster.local/ns/shop/sa/client] } }] }]
`;

/** Ends of the certificates that a sidecar has taken after its first. */
const rotations = ({ process }: SidecarProcess): ReadonlySet<string> =>
  new Set(
    [
      ...process.log.matchAll(
        /"expiresAt":"([^"]+)","msg":"the changed certificate is in use"/g,
      ),
    ].map(([, end = ""]) => end),
  );

async function untilRotated(
  sidecars: readonly SidecarProcess[],
): Promise<void> {
  const before = sidecars.map((each) => rotations(each).size);
  await eventually(
    "each has another certificate",
    WITHIN,
    () => Promise.resolve(sidecars.map((each) => rotations(each).size)),
    (counts) => counts.every((count, index) => count > (before[index] ?? 0)),
  );
}

async function untilSaid(
  process: { readonly log: string },
  pattern: RegExp,
): Promise<void> {
  await eventually(
    `the log has ${String(pattern)}`,
    WITHIN,
    () => Promise.resolve(process.log.slice(-4000)),
    (log) => pattern.test(log),
  );
}

/** Port of an application. */
async function serve(t: Test): Promise<number> {
  const server = createServer((_request, response) => response.end("orders"));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Two sidecars that are started before SPIRE knows of them: they wait and say why, until there is an entry for this Node. */
async function startSidecars(
  t: Test,
  spire: Spire,
  yaml: string,
  own: Readonly<Record<"orders" | "web", readonly string[]>>,
): Promise<Readonly<Record<"orders" | "web", SidecarProcess>>> {
  const directory = await temporaryDirectory({
    after: (run) => t.teardown(run),
  });
  const waiting: WherryProcess[] = [];
  const start = (app: "orders" | "web"): Promise<SidecarProcess> =>
    startFileSidecar({
      ...{ name: `${app}-1`, app, resources: yaml },
      directory: join(directory, app),
      more: ["--workload-api", spire.workloadApi, ...own[app]],
      onStart(process) {
        waiting.push(process);
        t.teardown(() => process.stop());
      },
    });
  const starting = Promise.all([start("orders"), start("web")]);
  // It is awaited below, where a test that has failed does not come.
  starting.catch(() => undefined);
  await eventually(
    "both are started",
    WITHIN,
    () => Promise.resolve(waiting.length),
    (count) => count === 2,
  );
  for (const process of waiting) {
    await untilSaid(
      process,
      /"reason":"[^"]*PERMISSION_DENIED: no identity issued","msg":"the Workload API gives no certificate yet"/,
    );
    t.notMatch(process.log, /the sidecar listens/, "and it serves nothing");
  }
  await spire.register(idOf("shop"), realpathSync(process.execPath), LIFE);
  const [orders, web] = await starting;
  for (const each of [orders, web]) await untilReady("it", each);
  return { orders, web };
}

async function untilCalled(load: Load, more: number): Promise<void> {
  const { length } = load.results;
  await eventually(
    "calls go on",
    WITHIN,
    () => Promise.resolve(load.results.length),
    (count) => count >= length + more,
  );
}

/** As SPIRE tells to do it: each step waits until the one before has reached everybody. */
async function rotateRoot(
  spire: Spire,
  sidecars: readonly SidecarProcess[],
): Promise<void> {
  const untilRoots = (count: number): Promise<unknown> =>
    eventually(
      `the agent has ${count} roots`,
      WITHIN,
      () => spire.fetch(),
      ({ roots }) => roots === count,
    );
  const old = await spire.signing();
  const next = await spire.authority("prepare");
  await untilRoots(2);
  await spire.authority("activate", next);
  await spire.authority("taint", old);
  // The first may have been under way.
  await untilRotated(sidecars);
  await untilRotated(sidecars);
  await spire.authority("revoke", old);
  await untilRoots(1);
  await untilRotated(sidecars);
}

async function wholeMesh(t: Test): Promise<void> {
  const spire = await startSpire("cluster.local");
  t.teardown(() => spire.close());
  await spire.register(idOf("client"), realpathSync(spire.agentProgram), 3600);
  const [link, application] = [await freePort(), await serve(t)];
  const { orders, web } = await startSidecars(
    t,
    spire,
    resources(link, application),
    {
      web: [],
      orders: ["--link-port", `${link}`, "--app-port", `http=${application}`],
    },
  );
  const first = await spire.fetch();
  const peerCalls = ({
    certificate,
    key,
    bundle,
  }: Omit<SvidFiles, "roots"> = first): Promise<{ readonly status: number }> =>
    goPeer("call", {
      ...{ certificate, key, bundle },
      ...{ address: `127.0.0.1:${link}`, peer: idOf("shop"), alpn: "h2" },
      destination: "orders.shop:80",
    });
  const load = openLoad(40, () =>
    call(`http://127.0.0.1:${web.outbound}/`, {
      headers: { host: "orders.shop" },
    }),
  );
  t.teardown(async () => {
    await load.stop();
    closeCalls();
  });
  t.match(
    await peerCalls(),
    { status: 200 },
    "a peer with a certificate of SPIRE",
  );
  await untilRotated([orders, web]);
  await untilCalled(load, 20);
  t.match(await peerCalls(), { status: 200 }, "after a rotation");

  await spire.killAgent();
  for (const { process } of [orders, web])
    await untilSaid(
      process,
      /"msg":"the Workload API cannot be reached; the certificate in use stays"/,
    );
  await untilCalled(load, 20);
  t.match(await peerCalls(), { status: 200 }, "without the agent");

  await spire.startAgent();
  await untilRotated([orders, web]);
  await untilCalled(load, 20);

  await rotateRoot(spire, [orders, web]);
  await untilCalled(load, 20);
  const last = await spire.fetch();
  t.match(await peerCalls(last), { status: 200 }, "under the new root");
  await t.rejects(
    peerCalls({ ...first, bundle: last.bundle }),
    /tls|EOF|reset|broken pipe/,
    "nothing of the old root is taken",
  );
  const results = await load.stop();
  t.same(
    results.filter(({ status }) => status !== 200),
    [],
    `${results.length} calls`,
  );
}

if (process.env["WHERRY_LONG"] === "1")
  void t.test(
    "a mesh that SPIRE gives certificates to",
    needs([...SPIRE_MISSING, ...GO_PEER_MISSING]),
    wholeMesh,
  );
