/** `/metrics` of the control plane: what it tells, and that it names nothing of the mesh. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  startControlPlane,
  type ControlPlane,
} from "../../src/control-plane/control-plane.ts";
import { createEnrolmentToken } from "../../src/control-plane/enrolment/enrolment-token.ts";
import { makeControlPlaneMeters } from "../../src/control-plane/meters.ts";
import { meterStore } from "../../src/control-plane/store/metered.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/log.ts";
import { makeMetrics } from "../../src/telemetry/metrics.ts";
import { controlPlaneMetrics } from "../../src/tools/docs/metrics.ts";
import { rig, service, SHOP } from "../support/control-plane/api.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  serving,
  startTestAgent,
  temporaryDirectory,
} from "../support/control-plane/push-control-plane.ts";

async function start(t: Test): Promise<ControlPlane> {
  const running = await startControlPlane({
    stateDirectory: join(await temporaryDirectory(t), "state"),
    store: "sqlite",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
  });
  t.teardown(() => running.close());
  return running;
}

/** Samples by their names and labels. */
function samplesOf(text: string): Map<string, number> {
  return new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), Number(line.slice(at + 1))] as const;
      }),
  );
}

void t.test(
  "it tells of sidecars, pushes, leases, the store and certificates, and names none of them",
  async (t) => {
    const { store, authority, apiUrl, pushAddress, adminTokenFile } =
      await start(t);
    const { text: token } = await createEnrolmentToken(store, systemClock, {
      namespace: "secret-namespace",
      serviceAccount: "secret-account",
      labels: { app: "secret-label" },
      addresses: ["10.0.0.0/24"],
      ttl: 3_600_000,
      uses: 1,
      ca: authority.fingerprint,
    });
    const agent = await startTestAgent(t, {
      controlPlane: pushAddress,
      token,
      name: "secret-instance",
      workload: () => ({ address: "10.0.0.1", ports: { http: 8080 } }),
    });
    await serving(agent);
    await agent.setReady(true);
    const admin = readFileSync(adminTokenFile, "utf8").trim();
    for (const path of [
      "/apis/mesh.wherry.dev/v1alpha1/namespaces/secret-namespace/workloads/secret-instance",
      "/secret-path",
    ])
      await fetch(`${apiUrl}${path}`, {
        headers: { authorization: `Bearer ${admin}` },
      });
    const response = await fetch(`${apiUrl}/metrics`);
    t.equal(response.status, 200, "as the health checks, without a token");
    t.match(
      response.headers.get("content-type"),
      /^text\/plain; version=0\.0\.4/,
    );
    const text = await response.text();
    t.notMatch(text, /secret|admin|wherry1|127\.0|10\.0|spiffe/);
    const samples = samplesOf(text);
    const value = (name: string): number =>
      samples.get(`wherry_control_plane_${name}`) ?? Number.NaN;
    t.equal(value("sidecars"), 1);
    t.equal(value("streams"), 1);
    t.equal(value('enrolments_total{result="issued"}'), 1);
    t.equal(value('registrations_total{result="registered"}'), 1);
    t.equal(value('leases{state="confirmed"}'), 1);
    t.equal(value('leases{state="unconfirmed"}'), 0);
    t.equal(value("self_preservation"), 1, "it has just started");
    t.ok(value('pushes_total{result="acknowledged"}') >= 1);
    t.ok(value("acknowledged_seconds_count") >= 1);
    t.ok(value("pushed_bytes_total") > 0);
    t.equal(value("store_revision"), await store.revision());
    t.equal(value("store_failing"), 0);
    t.ok(value("store_bytes") > 4096);
    t.ok(value('store_write_seconds_count{result="written"}') >= 3);
    t.ok(value('certificate_expiry_seconds{certificate="root"}') > 1e8);
    t.ok(value('certificate_expiry_seconds{certificate="own"}') > 80_000);
    t.ok(value('event_loop_delay_seconds{quantile="1"}') >= 0);
    t.ok(value("resident_memory_bytes") > 1e7);
    t.equal(
      value(
        'api_requests_total{route="/apis/mesh.wherry.dev/v1alpha1/namespaces/:namespace/workloads/:name",method="GET",status="200"}',
      ),
      1,
    );
    t.equal(
      value('api_requests_total{route="none",method="GET",status="404"}'),
      1,
    );
  },
);

void t.test("what is asked often is put together once a second", async (t) => {
  const { call, clock, options } = await rig(t);
  let asked = 0;
  Object.assign(options, { metrics: () => Promise.resolve(String(++asked)) });
  const got = async (): Promise<string> => (await call("GET", "/metrics")).text;
  t.equal(await got(), "1");
  clock.advance(999);
  t.equal(await got(), "1");
  clock.advance(1);
  t.equal(await got(), "2");
});

void t.test(
  "requests are counted by route, and watches not timed",
  async (t) => {
    const { call, options } = await rig(t);
    await call("POST", `${SHOP}/services`, service("web"));
    await call("GET", `${SHOP}/services`);
    await call("GET", `${SHOP}/services`);
    await call("GET", `${SHOP}/services?watch=1&timeoutSeconds=0`);
    const samples = samplesOf(await options.metrics());
    const route =
      'route="/apis/mesh.wherry.dev/v1alpha1/namespaces/:namespace/services"';
    const of = (name: string, more: string): number | undefined =>
      samples.get(`wherry_control_plane_api_${name}{${route},${more}}`);
    t.equal(of("requests_total", 'method="POST",status="201"'), 1);
    t.equal(of("requests_total", 'method="GET",status="200"'), 2);
    t.equal(of("requests_total", 'method="GET",status="400"'), 1);
    t.equal(of("request_seconds_count", 'method="GET"'), 2);
  },
);

void t.test("writes of a store are timed by what became of them", async (t) => {
  const clock = fakeClock();
  const meters = makeControlPlaneMeters(makeMetrics({ maxSeries: 100 }));
  const store = meterStore(
    openMemoryStore({ clock }),
    meters.storeWrites,
    clock,
  );
  const resource = {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop" },
    spec: {},
  };
  await store.put(resource, "absent");
  await store.setNote("a", "b");
  await t.rejects(store.put(resource, "absent"));
  await store.close();
  await t.rejects(store.put(resource, undefined));
  t.same(
    [...meters.storeWrites.series()].map(([[result], { count }]) => [
      result,
      count,
    ]),
    [
      ["written", 2],
      ["conflict", 1],
      ["failed", 1],
    ],
  );
});

void t.test("each has a name of its own, and a unit last", (t) => {
  for (const { name, help } of controlPlaneMetrics()) {
    t.match(name, /^wherry_(?:control_plane|machine|clock)_/);
    t.match(help, /\.$/);
  }
  t.end();
});
