/** `wherry sidecar --workload-api`: two sidecars without a control plane call each other on certificates of a Workload API, while these and their root rotate. */
import { mkdir, writeFile } from "node:fs/promises";
import { X509Certificate } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import { connect } from "node:tls";
import { once } from "node:events";
import t, { type Test } from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import type { CredentialPems } from "../../src/identity/credentials.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import {
  encodeSvids,
  startWorkloadApi,
  svidOf,
  type WorkloadApi,
} from "../support/certificates/workload-api.ts";
import { runCli, type Ran } from "../support/control-plane/cli.ts";
import {
  temporaryDirectory,
  until,
} from "../support/control-plane/push-control-plane.ts";
import { listening, send } from "../support/meshes/pair.ts";
import { ORDERS_SERVICE, OPEN_MESH } from "../support/resources/yaml.ts";

/** Nobody but web may call orders: the identity of the certificate decides. */
const ONLY_WEB = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: only-web, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }]
`;

interface Ports {
  readonly outbound: number;
  readonly link: number;
  readonly metrics: number;
}

interface Started {
  readonly api: WorkloadApi;
  readonly ports: Ports;
  /** Resolves once its command has ended. */
  readonly end: () => Promise<Ran>;
}

/** Its command runs in this process until the test ends. */
async function startSidecar(
  t: Test,
  account: string,
  resources: (ports: Ports) => string,
  more: readonly string[],
): Promise<Started> {
  const directory = join(await temporaryDirectory(t), account);
  await mkdir(directory);
  const api = await startWorkloadApi(t, directory);
  api.next = encodeSvids([svidOf(issuedTo(first, account))]);
  const ports = {
    outbound: await freePort(),
    link: await freePort(),
    metrics: await freePort(),
  };
  const file = join(directory, "mesh.yaml");
  await writeFile(file, resources(ports));
  const stop = new AbortController();
  const running = runCli(
    [
      ...["sidecar", "--name", `${account}-1`, "--label", `app=${account}`],
      ...["--resources", file, "--workload-api", api.address],
      ...["--state", join(directory, "state"), "--host", "127.0.0.1"],
      ...["--no-capture", "--outbound-port", String(ports.outbound)],
      ...["--link-port", String(ports.link), "--admin-port", "0"],
      ...["--metrics-port", String(ports.metrics), "--access-log", "none"],
      ...["--log-level", "silent", "--drain-timeout", "0s", ...more],
    ],
    { stop: stop.signal },
  );
  const end = (): Promise<Ran> => {
    stop.abort();
    return running;
  };
  t.teardown(end);
  const isReady = async (): Promise<boolean> => {
    const path = "/readyz";
    const answer = await send(ports.metrics, { path }).catch(() => undefined);
    return answer?.status === 200;
  };
  await until(isReady);
  return { api, ports, end };
}

const first = fakeAuthority();
const second = fakeAuthority();

function issuedTo(
  authority: typeof first,
  account: string,
  trustBundle = authority.bundle,
): CredentialPems {
  const issued = authority.issue({ id: authority.id(account) });
  return { ...issued, trustBundle };
}

/** Serial number of the certificate that a new handshake gets to see. */
async function shownAt(link: number): Promise<string> {
  const socket = connect({
    ...{ host: "127.0.0.1", port: link, ALPNProtocols: ["h2"] },
    rejectUnauthorized: false,
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  const shown = socket.getPeerX509Certificate()?.serialNumber ?? "";
  socket.destroy();
  return shown;
}

const serialOf = ({ certificateChain }: CredentialPems): string =>
  new X509Certificate(certificateChain).serialNumber;

void t.test(
  "to traffic, and through a rotation of leaf and root",
  async (t) => {
    const app = createServer((_request, response) => response.end("hello"));
    const appPort = await listening(app);
    t.teardown(() => app.close());
    const orders = await startSidecar(
      t,
      "orders",
      () => `${OPEN_MESH}---${ORDERS_SERVICE}${ONLY_WEB}`,
      ["--app-port", `http=${appPort}`],
    );
    const mesh = `${OPEN_MESH}---${ORDERS_SERVICE}---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: orders-1, namespace: shop, labels: { app: orders } }
spec:
  address: 127.0.0.1
  ports: { http: ${appPort} }
  serviceAccount: orders
  link: { port: ${orders.ports.link} }
`;
    const web = await startSidecar(t, "web", () => mesh, []);
    const stranger = await startSidecar(t, "stranger", () => mesh, []);
    const ask = async ({ ports }: Started): Promise<unknown> => {
      const { status, text, reason } = await send(ports.outbound);
      return status === 200 ? text : reason?.split(";")[0];
    };
    t.equal(await ask(web), "hello");
    t.equal(await ask(stranger), "NOT_ALLOWED", "by its certificate");

    const both = first.bundle + second.bundle;
    for (const [what, authority, bundle] of [
      ["another leaf, and a second root", first, both],
      ["issued under the second root", second, both],
      ["the first root is gone", second, second.bundle],
    ] as const) {
      for (const [account, { api }] of Object.entries({ orders, web })) {
        const issued = issuedTo(authority, account, bundle);
        api.push(encodeSvids([svidOf(issued)]));
        // Each call passes, whoever of the two has its new certificate by now.
        t.equal(await ask(web), "hello", `${what}: ${account} gets it`);
        if (account !== "orders") continue;
        await until(
          async () => (await shownAt(orders.ports.link)) === serialOf(issued),
        );
        t.equal(await ask(web), "hello", `${what}: orders shows it`);
      }
      t.equal(await ask(web), "hello", what);
    }
    t.equal(
      await ask(stranger),
      "TLS_FAILED",
      "one that still has the first root alone gets nowhere",
    );
    for (const { end } of [web, stranger, orders])
      t.match(await end(), { code: 0, err: "" }, "it ends as it is told to");
  },
);
