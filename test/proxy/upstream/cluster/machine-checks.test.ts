/** Health checks and requests of our own that this machine fails say nothing of the endpoint. */
import dns from "node:dns";
import t, { type Test } from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import { watchSource } from "../../../../src/core/watch.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import {
  resultOfError,
  type CheckResult,
} from "../../../../src/policy/health.ts";
import type { Cluster } from "../../../../src/policy/snapshot.ts";
import { Asker } from "../../../../src/proxy/upstream/cluster/ask.ts";
import {
  checkEndpoint,
  type CheckOptions,
} from "../../../../src/proxy/upstream/cluster/health-check.ts";
import {
  placeOf,
  poolSettingsOf,
  spoken,
} from "../../../../src/proxy/upstream/cluster/places.ts";
import { makePools } from "../../../../src/proxy/upstream/pool/pools.ts";
import { dialPlain } from "../../../../src/proxy/upstream/pool/dial.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import type { HealthCheck } from "../../../../src/resources/traffic-policy/health-check.ts";
import type { WorkloadSpec } from "../../../../src/resources/workload/schema.ts";
import { MeshError } from "../../../../src/mesh/errors.ts";
import { fakeAuthority } from "../../../support/certificates/certificate-authority.ts";
import { failConnects } from "../../../support/faults/connect-faults.ts";
import {
  self,
  service,
  VERSION,
  workload,
} from "../../../support/resources/policy-fixtures.ts";

const OURS = [
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "ENOBUFS",
  "EADDRNOTAVAIL",
  "EAGAIN",
];
const PORT = 9;

type AppProtocol = Cluster["appProtocol"];

function instance(over: "link" | "plain"): Resource<WorkloadSpec> {
  const made = workload("shop/a", "orders", {
    address: "127.0.0.1",
    ports: { http: over === "link" ? 8080 : PORT },
    link: { port: PORT },
  });
  if (over === "link") return made;
  const { link: _, ...spec } = made.spec;
  return { ...made, spec };
}

/** Of one endpoint at `PORT`; `outside`: an external Service, by its name. */
function clusterOf(
  appProtocol: AppProtocol,
  over: "link" | "plain" | "outside",
  host = "outside.example",
): Cluster {
  const port = { name: "http", port: 80, targetPort: PORT, appProtocol };
  const snapshot = compileSnapshot(
    over === "outside"
      ? [
          service("shop/orders", {
            location: "MESH_EXTERNAL",
            hosts: [host],
            ports: [{ name: "http", port: PORT, appProtocol }],
          }),
        ]
      : [service("shop/orders", { ports: [port] }), instance(over)],
    self(),
    VERSION,
  );
  const cluster =
    over === "outside"
      ? snapshot.destination(host, PORT)?.cluster
      : snapshot.destination("orders", 80)?.cluster;
  if (cluster?.endpoints.length !== 1) throw new Error("no cluster of one");
  return cluster;
}

/** A check of the only endpoint, and a request of our own to it. */
function asking(t: Test, cluster: Cluster): Omit<CheckOptions, "settings"> {
  const [endpoint] = cluster.endpoints;
  if (endpoint === undefined) throw new Error("there is no endpoint");
  const pools = makePools({
    clock: systemClock,
    credentials: watchSource(fakeAuthority().credentials("web")),
    linkProtocol: "h2",
    ownPorts: new Set(),
  });
  t.teardown(() => pools.destroy());
  const place = placeOf(cluster, endpoint);
  return {
    cluster,
    endpoint,
    signal: new AbortController().signal,
    pool: (tunnel) =>
      pools.find(
        place.kind === "link" ? place : spoken(place, tunnel),
        poolSettingsOf(cluster.settings),
      ),
  };
}

const WAYS: readonly (readonly [
  string,
  Partial<HealthCheck<number>>,
  AppProtocol,
  "link" | "plain",
])[] = [
  ["a connection in plaintext", { tcp: true }, "tcp", "plain"],
  ["a tunnel over the link", { tcp: true }, "tcp", "link"],
  ["a GET in plaintext", { path: "/healthz" }, "http", "plain"],
  ["a GET in HTTP/2", { path: "/healthz" }, "http2", "plain"],
  ["a GET over the link", { path: "/healthz" }, "http", "link"],
  ["gRPC", { grpc: { service: "" } }, "grpc", "link"],
];

const RULES = {
  interval: 1000,
  timeout: 1000,
  unhealthyThreshold: 1,
  healthyThreshold: 1,
};

/** How the check ended; one that throws is judged by who asked for it. */
async function kindOf(check: Promise<CheckResult>): Promise<string> {
  return check.then(
    ({ kind }) => kind,
    (thrown: unknown) => resultOfError(thrown).kind,
  );
}

for (const [name, how, appProtocol, over] of WAYS)
  void t.test(`a health check that this machine fails: ${name}`, async (t) => {
    const options = asking(t, clusterOf(appProtocol, over));
    const settings = { ...RULES, ...how };
    for (const code of [...OURS, "ECONNREFUSED"]) {
      const faults = failConnects(PORT, code);
      const kind = await kindOf(checkEndpoint({ ...options, settings }));
      faults.release();
      t.equal(kind, code === "ECONNREFUSED" ? "unhealthy" : "unknown", code);
      t.equal(faults.failed, 1);
    }
  });

for (const [appProtocol, over] of [
  ["http", "link"],
  ["http", "plain"],
  ["grpc", "link"],
  ["tcp", "plain"],
] as const)
  void t.test(
    `a request of our own that this machine fails: ${appProtocol}, ${over}`,
    async (t) => {
      const { cluster, endpoint, pool } = asking(
        t,
        clusterOf(appProtocol, over),
      );
      const asker = new Asker({
        cluster: () => cluster,
        poolOf: (_endpoint, tunnel) => pool(tunnel),
        isOut: () => false,
        onResponse: () => undefined,
      });
      for (const code of OURS) {
        const faults = failConnects(PORT, code);
        const { signal } = new AbortController();
        const { kind } = await asker.ask(endpoint.key, signal);
        faults.release();
        t.equal(kind, "unknown", code);
        t.equal(faults.failed, 1);
      }
    },
  );

type Lookup = (
  name: string,
  options: unknown,
  done: (error: Error) => void,
) => void;

/** No name resolves while `use` runs. */
async function unresolved(
  code: string,
  use: () => Promise<void>,
): Promise<void> {
  const shape = dns as unknown as { lookup: Lookup };
  const real = shape.lookup;
  shape.lookup = (_name, _options, done) => {
    const error = Object.assign(new Error(`getaddrinfo ${code}`), { code });
    process.nextTick(() => done(error));
  };
  await use().finally(() => (shape.lookup = real));
}

/** What the resolver says, what a check makes of it, and what a call does. */
const RESOLVER = [
  ["EMFILE", "unknown", "MACHINE_ERROR"],
  ["EAI_MEMORY", "unknown", "MACHINE_ERROR"],
  // It does not answer, and nothing is known of the name.
  ["EAI_AGAIN", "unknown", "UNKNOWN_DESTINATION"],
  ["ENOTFOUND", "unhealthy", "UNKNOWN_DESTINATION"],
] as const;

void t.test("an external Service whose name does not resolve", async (t) => {
  const ways: readonly [Partial<HealthCheck<number>>, AppProtocol][] = [
    [{ tcp: true }, "tcp"],
    [{ path: "/healthz" }, "http"],
    [{ path: "/healthz" }, "http2"],
  ];
  for (const [code, expected, reason] of RESOLVER)
    await unresolved(code, async () => {
      // The failure of a name is remembered.
      const host = `${code.toLowerCase().replace("_", "-")}.example`;
      for (const [how, appProtocol] of ways) {
        const options = asking(t, clusterOf(appProtocol, "outside", host));
        const settings = { ...RULES, ...how };
        const kind = await kindOf(checkEndpoint({ ...options, settings }));
        t.equal(kind, expected, `${code} ${appProtocol}`);
      }
      const failed = await dialPlain({
        clock: systemClock,
        address: host,
        port: PORT,
        timeoutMs: 1000,
        observer: { available: ignore, closed: ignore, draining: ignore },
        signal: new AbortController().signal,
        protocol: "http/1.1",
        ownPorts: new Set(),
      }).catch((thrown: unknown) => thrown);
      t.ok(failed instanceof MeshError);
      t.match(failed, { code: reason, unprocessed: true }, code);
    });
});

function ignore(): void {
  // It is never connected.
}
