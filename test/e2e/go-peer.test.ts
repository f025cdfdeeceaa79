/** A program in Go (crypto/tls, go-spiffe) enrols and renews at the push port, calls an enrolled sidecar, and is called by one. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  withControlPlane,
  type Running,
} from "../support/control-plane/cli.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "../support/processes/sidecar-process.ts";
import {
  GO_PEER_MISSING,
  goPeer,
  goServer,
  type Flags,
} from "../support/processes/go-peer.ts";
import { needs } from "../support/processes/tools.ts";
import { ORDERS_SERVICE } from "../support/resources/yaml.ts";

const CONTROL_PLANE =
  "spiffe://cluster.local/ns/wherry-system/sa/control-plane";
const idOf = (account: string): string =>
  `spiffe://cluster.local/ns/shop/sa/${account}`;

interface Issued {
  readonly id: string;
  readonly controlPlane: string;
}

interface Called {
  readonly status: number;
  readonly body: string;
  readonly reason: string;
  readonly peer: string;
  readonly protocol: string;
}

/** `goPort`: of the server in Go. */
function resources(goPort: number): string {
  return `${ORDERS_SERVICE}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: orders, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/go-client] } }] }]
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: go, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: go }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: go-1, namespace: shop, labels: { app: go } }
spec:
  address: 127.0.0.1
  ports: { http: 80 }
  link: { port: ${goPort} }
  serviceAccount: go-server
`;
}

async function tokenFor(
  { cli }: Running,
  account: string,
  label = account,
): Promise<string> {
  const { out, err } = await cli(
    ...["token", "create", "--namespace", "shop"],
    ...["--service-account", account, "--label", `app=${label}`],
  );
  if (out === "") throw new Error(err);
  return out.trim();
}

async function startSidecar(
  t: Test,
  running: Running,
  directory: string,
  name: string,
  appPort: number,
  protocol: string,
): Promise<SidecarProcess> {
  const sidecar = await startSidecarProcess({
    push: running.controlPlane.pushAddress,
    token: await tokenFor(running, "orders"),
    account: "orders",
    name,
    state: join(directory, name),
    application: appPort,
    more: ["--link-protocol", protocol],
  });
  t.teardown(() => sidecar.process.stop());
  await untilReady(name, sidecar, "/readyz?application");
  return sidecar;
}

void t.test("a workload in Go", needs(GO_PEER_MISSING), async (t) => {
  const running = await withControlPlane(t);
  const { pushAddress: address } = running.controlPlane;
  const directory = await mkdtemp(join(tmpdir(), "wherry-go-"));
  t.teardown(async () => {
    closeCalls();
    await rm(directory, { recursive: true, force: true });
  });
  const filesOf = (account: string): Flags => ({
    certificate: join(directory, `${account}.crt`),
    key: join(directory, `${account}.key`),
    bundle: join(directory, `${account}.bundle`),
  });

  await t.test("enrols and renews at the push port", async (t) => {
    for (const account of ["go-client", "go-server", "go-other"]) {
      const request = { address, peer: CONTROL_PLANE, ...filesOf(account) };
      const token = await tokenFor(running, account, "go");
      const expected = { id: idOf(account), controlPlane: CONTROL_PLANE };
      t.match(
        await goPeer<Issued>("enrol", { ...request, token, name: account }),
        expected,
        `${account} enrols`,
      );
      t.match(
        await goPeer<Issued>("renew", request),
        expected,
        `${account} renews`,
      );
    }
    await t.rejects(
      goPeer("renew", {
        address,
        peer: idOf("orders"),
        ...filesOf("go-client"),
      }),
      /unexpected ID "spiffe:\/\/cluster\.local\/ns\/wherry-system\/sa\/control-plane"/,
      "and says nothing to a server with another identity",
    );
  });

  await t.test(
    "reads every certificate and request that is ours",
    async (t) => {
      const { generatePrivateKey } =
        await import("../../src/identity/private-key.ts");
      const { createCsr } = await import("../../src/identity/x509.ts");
      const file = join(directory, "all.pem");
      const { trustBundle } = running.controlPlane.authority;
      const { certificateChain } =
        running.controlPlane.authority.own(CONTROL_PLANE);
      await writeFile(
        file,
        certificateChain + trustBundle + createCsr(generatePrivateKey()),
      );
      const read = await goPeer<{ subject: string; error?: string }[]>(
        "parse",
        {
          certificate: file,
        },
      );
      t.equal(read.length, 4);
      t.same(
        read.filter(({ error }) => error !== undefined),
        [],
      );
    },
  );

  const application = createServer((_request, response) =>
    response.end("orders"),
  );
  await new Promise<void>((resolve) =>
    application.listen(0, "127.0.0.1", () => resolve()),
  );
  t.teardown(() => {
    application.closeAllConnections();
    application.close();
  });
  const { port: appPort } = application.address() as AddressInfo;

  for (const protocol of ["h2", "http/1.1"])
    await t.test(`over ${protocol}`, async (t) => {
      const server = await goServer({
        ...filesOf("go-server"),
        peer: idOf("orders"),
        alpn: protocol,
      });
      t.teardown(() => server.stop());
      const file = join(directory, "resources.yaml");
      await writeFile(file, resources(server.port));
      t.match(await running.cli("apply", "-f", file), { code: 0 });
      const name = protocol === "h2" ? "orders-1" : "orders-2";
      const sidecar = await startSidecar(
        t,
        running,
        directory,
        name,
        appPort,
        protocol,
      );
      const callLink = (account: string, more: Flags = {}): Promise<Called> =>
        goPeer<Called>("call", {
          ...filesOf(account),
          address: `127.0.0.1:${sidecar.link}`,
          peer: idOf("orders"),
          destination: "orders.shop:80",
          alpn: protocol,
          path: "/list?all=1",
          ...more,
        });

      t.match(
        await eventually(
          "the policy is in force",
          10_000,
          () => callLink("go-client"),
          ({ status }) => status === 200,
        ),
        {
          status: 200,
          body: "orders",
          peer: idOf("orders"),
          protocol,
        },
        "it calls the sidecar, which knows it",
      );
      t.match(
        await callLink("go-other"),
        { status: 403, reason: /^NOT_ALLOWED/ },
        "another identity is refused by policy",
      );
      t.match(
        await callLink("go-client", { destination: "else.shop:80" }),
        { status: 421, reason: /^MISDIRECTED/ },
        "and only what the workload declares is reached",
      );
      await t.rejects(
        callLink("go-client", { peer: idOf("payments") }),
        /unexpected ID "spiffe:\/\/cluster\.local\/ns\/shop\/sa\/orders"/,
        "it calls nobody else",
      );

      const response = await eventually(
        "the sidecar calls the server in Go",
        10_000,
        () =>
          call(`http://127.0.0.1:${sidecar.outbound}/stock?of=1`, {
            headers: { host: "go.shop" },
          }),
        ({ status }) => status === 200,
      );
      t.match(
        JSON.parse(response.text),
        {
          caller: idOf("orders"),
          protocol: protocol === "h2" ? "HTTP/2.0" : "HTTP/1.1",
          path: "/stock?of=1",
          destination: "go.shop:80",
        },
        "the sidecar calls it, which knows the sidecar",
      );
    });
});
