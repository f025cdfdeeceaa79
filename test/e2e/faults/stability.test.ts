// The control plane is killed, or comes back without its memory: traffic must not notice (law 8, design.md).
import { rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { GRACE } from "../../../src/control-plane/registry/preservation.ts";
import {
  call,
  closeCalls,
  eventually,
  openLoad,
  type Called,
} from "../../support/peers/call.ts";
import { drawn } from "../../support/drawn.ts";
import { startDemo } from "../../support/processes/demo.ts";

/** Milliseconds: the time after which a workload that no longer calls is forgotten. */
const LEASE = 15_000;
/** Calls a second: each goes through two to eight sidecars, for two minutes. */
const RATE = drawn("WHERRY_STABILITY_RATE", 10, 50);
/** Leases that run out while the control plane is dead. */
const LEASES = drawn("WHERRY_STABILITY_LEASES", 1, 3);

const demo = await startDemo();
const outbound = `http://127.0.0.1:${demo.instance("web-1").ports.outbound}`;
const CALLS: readonly ((index: number) => Promise<Called>)[] = [
  () => call(`${outbound}/products`, { headers: { host: "catalog.shop" } }),
  () => call(`${outbound}/orders`, { headers: { host: "orders.shop" } }),
  () => call(`${outbound}/quote`, { headers: { host: "payments.shop" } }),
  () =>
    call(`${outbound}/payments`, {
      method: "POST",
      body: '{"amount":100}',
      headers: { host: "payments.shop" },
    }),
  () => call(`${demo.file.web}/`),
];
const traffic = (index: number): Promise<Called> =>
  (CALLS[index % CALLS.length] ?? (() => Promise.reject(new Error("no call"))))(
    index,
  );
const failures = (results: readonly Called[]): string[] =>
  results
    .filter(({ status }) => status !== 200 && status !== 201)
    .map(
      ({ status, headers, text }) =>
        `${status} ${String(headers["x-wherry-reason"])} ${text.slice(0, 200)}`,
    );
const passing = (ms: number): Promise<void> =>
  new Promise((resolve) => void setTimeout(resolve, ms));
const config = async (instance: string): Promise<string> =>
  (await call(`http://127.0.0.1:${demo.instance(instance).ports.admin}/config`))
    .text;

t.teardown(async () => {
  closeCalls();
  await demo.stop();
});

void t.test(
  "a killed control plane, a sidecar restarted meanwhile, and its return cost no request",
  async (t) => {
    const load = openLoad(RATE, traffic);
    await passing(2000);
    await demo.must("demo", "kill", "control-plane");
    const died = performance.now();
    await demo.must("demo", "stop", "catalog-2/sidecar");
    await demo.must("demo", "start", "catalog-2/sidecar");
    await eventually(
      "the restarted sidecar is ready",
      20_000,
      () =>
        call(
          `http://127.0.0.1:${demo.instance("catalog-2").ports.metrics}/readyz?application`,
        ),
      ({ status }) => status === 200,
    );
    t.match(
      JSON.parse(await config("catalog-2")),
      { source: "disk" },
      "it says that it serves from disk",
    );
    t.match(await demo.log("catalog-2/sidecar"), /disk/);
    await passing(LEASES * LEASE + 2000 - (performance.now() - died));
    await demo.must("demo", "start", "control-plane");
    await eventually(
      "the control plane is back",
      20_000,
      () => call(`${demo.file.api}/readyz`),
      ({ status }) => status === 200,
    );
    const returned = performance.now();

    await eventually(
      "all sidecars are connected again",
      10_000,
      () => demo.must("status", "-o", "json"),
      (text) =>
        (
          JSON.parse(text) as { sidecars: { connected: boolean }[] }
        ).sidecars.filter(({ connected }) => connected).length === 9,
    );
    t.equal(
      (await demo.wherry("apply", "-f", "config/try/split.yaml")).code,
      0,
    );
    await eventually(
      "a change after the return is in force everywhere",
      5000,
      () => demo.must("get", "httproute", "payments", "-n", "shop"),
      (text) => /in force at (\d+) of \1 /.test(text),
    );

    await passing(GRACE + LEASE + 5000 - (performance.now() - returned));
    const results = await load.stop();
    t.same(failures(results), [], `of ${results.length} requests none failed`);
    t.ok(results.length > RATE * 90, `${results.length} requests`);
  },
);

void t.test(
  "a lost database empties no mesh: sidecars keep what they have until an operator says otherwise",
  async (t) => {
    const load = openLoad(RATE, traffic);
    await demo.must("demo", "kill", "control-plane");
    for (const file of ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"])
      await rm(join(demo.state, file), { force: true });
    await demo.must("demo", "start", "control-plane");
    await eventually(
      "the control plane is back",
      20_000,
      () => call(`${demo.file.api}/readyz`),
      ({ status }) => status === 200,
    );
    const status = await eventually(
      "every sidecar has refused the other store",
      15_000,
      () => demo.must("status"),
      (text) => (text.match(/refused revision/g) ?? []).length === 9,
    );
    t.match(status, /another store|store accept/);
    const { id } = JSON.parse(
      await demo.must("store", "show", "-o", "json"),
    ) as { id: string };
    t.match(status, id);

    // The operator restores what the mesh shall have, and says so.
    await demo.must("apply", "-f", "config/demo.yaml");
    await demo.apply(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {${demo.instance("web-1").ports.application}: {mode: PERMISSIVE}}}
`);
    await demo.must("store", "accept", id);
    await eventually(
      "the sidecars go on with the new store",
      10_000,
      () => demo.must("status", "-o", "json"),
      (text) => {
        const { sidecars } = JSON.parse(text) as {
          sidecars: { acknowledged?: { store: string }; refused?: unknown }[];
        };
        return (
          sidecars.length === 9 &&
          sidecars.every(
            ({ acknowledged, refused }) =>
              acknowledged?.store === id && refused === undefined,
          )
        );
      },
    );
    await passing(2000);
    const results = await load.stop();
    t.same(failures(results), [], `of ${results.length} requests none failed`);
  },
);
