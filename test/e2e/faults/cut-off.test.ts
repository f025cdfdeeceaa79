/**
 * Law 17: the control plane is cut off from callees, callers and all of them for longer than a lease lasts, and the cuts heal: no call fails.
 *
 * ```
 *   caller: 200 calls/s → sidecar ──mutual TLS──▶ callee-1, callee-2: sidecar → application
 *        ╲______________________ cuts _______________╱
 *                     the test: control plane
 * ```
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  between,
  figuresOf,
  type CallRecord,
} from "../../../bench/faults/calls.ts";
import { NAMESPACE, PORTS, SERVICE } from "../../../bench/faults/layout.ts";
import { startLoad, type Load } from "../../../bench/faults/load.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { UNCONFIRMED_SINCE } from "../../../src/resources/workload/schema.ts";
import { eventually } from "../../support/peers/call.ts";
import { WHERRY } from "../../support/meshes/captured-mesh.ts";
import { ROOT } from "../../support/processes/demo.ts";
import {
  makeNetwork,
  whyNoHosts,
  type Host,
  type Network,
} from "../../support/meshes/hosts.ts";
import {
  MESH,
  service,
  startTestControlPlane,
  temporaryDirectory,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";

const CALLEES = ["callee-1", "callee-2"] as const;
const HOSTS = ["caller", ...CALLEES] as const;
type Name = (typeof HOSTS)[number];
/** Milliseconds; on a busy machine everything takes its time. */
const WITHIN = 60_000;
/** Calls in a row that tell by whom the rest is answered. */
const ENOUGH = 100;

class CutMesh {
  readonly #network: Network;
  readonly #plane: TestControlPlane;
  readonly #load: Load;
  #nudges = 0;

  constructor(network: Network, plane: TestControlPlane, load: Load) {
    this.#network = network;
    this.#plane = plane;
    this.#load = load;
  }

  async cut(...names: readonly Name[]): Promise<void> {
    for (const name of names) await this.#rules(name, "-I");
    // What is sent finds that nobody is there; without that, a keep-alive does, 10 s later.
    await this.#nudge();
  }

  async heal(...names: readonly Name[]): Promise<void> {
    for (const name of names) await this.#rules(name, "-D");
  }

  /** Resolves once exactly these have run out, and exactly those are marked. */
  async untilUnconfirmed(
    names: readonly string[],
    marked: readonly string[] = names,
  ): Promise<void> {
    await eventually(
      `${names.join(", ")} unconfirmed, ${marked.join(", ")} marked`,
      WITHIN,
      async () => ({
        unconfirmed: CALLEES.filter(
          (name) =>
            this.#plane.registry.lease(`shop/${name}`)?.confirmed === false,
        ),
        marked: (await this.#workloads())
          .filter(({ annotations = {} }) => annotations[UNCONFIRMED_SINCE])
          .map(({ name }) => name)
          .sort(),
      }),
      (now) =>
        now.unconfirmed.join() === names.join() &&
        now.marked.join() === marked.join(),
    );
  }

  async untilConnected(name: Name): Promise<void> {
    await eventually(
      `${name} is back`,
      WITHIN,
      () => this.#plane.push.status(),
      (all) => all.some((each) => each.name === name && each.connected),
    );
  }

  /** Resolves once these, and no others, answer calls. */
  async untilAnsweredBy(...names: readonly string[]): Promise<void> {
    await eventually(
      `${names.join()} answer`,
      WITHIN,
      async () => [
        ...new Set(
          (await this.#load.records()).slice(-ENOUGH).map(({ by }) => by),
        ),
      ],
      (by) => by.sort().join() === names.join(),
    );
  }

  /** Which instances there are. */
  async instances(): Promise<readonly string[]> {
    return (await this.#workloads()).map(({ name }) => name).sort();
  }

  /** The caller is a Workload too, which nobody calls. */
  async #workloads() {
    const { resources } = await this.#plane.store.list("Workload");
    return resources
      .map(({ metadata }) => metadata)
      .filter(({ name }) => name !== "caller");
  }

  /** A host that sends across the cut hears at once that the connection is gone. */
  async #rules(name: Name, order: "-I" | "-D"): Promise<void> {
    const plane = this.#network.machine.ipv4;
    const reset = ["-j", "REJECT", "--reject-with", "tcp-reset"];
    for (const rule of [
      ["INPUT", "-s", plane, "-p", "tcp", ...reset],
      [
        ...["OUTPUT", "-d", plane, "-p", "tcp"],
        // A reset itself passes: it is what tells the other side.
        ...["!", "--tcp-flags", "RST", "RST", ...reset],
      ],
    ]) {
      const { code, stderr } = await hostOf(this.#network, name).run([
        ...["iptables", "-w", order, ...rule],
      ]);
      if (code !== 0) throw new Error(stderr);
    }
  }

  /** A change that concerns every sidecar. */
  async #nudge(): Promise<void> {
    this.#nudges += 1;
    const nudge = String(this.#nudges);
    await this.#plane.store.put(
      { ...MESH, metadata: { ...MESH.metadata, labels: { nudge } } },
      undefined,
    );
  }
}

function hostOf(network: Network, name: Name): Host {
  const host = network.hosts.get(name);
  if (host === undefined) throw new Error(`no host ${name}`);
  return host;
}

async function startSidecar(
  network: Network,
  plane: TestControlPlane,
  name: Name,
  state: string,
): Promise<void> {
  const host = hostOf(network, name);
  const isCallee = name !== "caller";
  const serviceAccount = isCallee ? SERVICE : name;
  const token = await plane.token({
    serviceAccount,
    labels: { app: serviceAccount },
  });
  if (isCallee) {
    const application = host.start([
      ...[process.execPath, "--disable-warning=ExperimentalWarning"],
      ...[join(ROOT, "bench", "faults", "application.ts"), name],
    ]);
    await application.prints("the application listens");
  }
  const sidecar = host.start(
    [
      ...WHERRY,
      "sidecar",
      ...["--control-plane", plane.address, "--name", name],
      ...["--address", host.ipv4, "--no-capture", "--ttl", "1s"],
      ...["--state", join(state, name), "--access-log", "none"],
      ...(isCallee ? ["--app-port", `http=${PORTS.application}`] : []),
    ],
    { environment: { WHERRY_TOKEN: token } },
  );
  await eventually(
    `the sidecar of ${name} is ready`,
    WITHIN,
    async () => {
      const { code } = await host.run([
        ...["curl", "-sf", "-o", "/dev/null", "--noproxy", "*"],
        ...["--max-time", "2", `http://${host.ipv4}:${PORTS.metrics}/readyz`],
      ]);
      return { code, printed: sidecar.printed };
    },
    ({ code }) => code === 0,
  );
}

async function startMesh(
  t: Test,
): Promise<{ readonly mesh: CutMesh; readonly load: Load }> {
  const network = makeNetwork(HOSTS);
  const plane = await startTestControlPlane(t, {
    host: network.machine.ipv4,
    gather: { quiet: 10, most: 100 },
    grace: 0,
  });
  t.after(() => network.close());
  const ports = [{ port: 80, targetPort: PORTS.application }];
  for (const resource of [MESH, service(SERVICE, { ports }, NAMESPACE)])
    await plane.store.put(resource, "absent");
  const state = await temporaryDirectory(t);
  await Promise.all(
    HOSTS.map((name) => startSidecar(network, plane, name, state)),
  );
  const load = await startLoad({
    host: hostOf(network, "caller"),
    file: join(state, "calls"),
    mix: "mixed",
    answering: CALLEES,
    around: {
      directory: state,
      dist: ROOT,
      clock: systemClock,
      short: true,
      rounds: 1,
      progress: () => undefined,
    },
  });
  return { mesh: new CutMesh(network, plane, load), load };
}

/** Each call that failed, in words. */
function failures(records: readonly CallRecord[]): string[] {
  return records
    .filter(({ fault }) => fault !== "")
    .map(({ due, method, by, fault }) => `${due} ${method} ${by} ${fault}`);
}

const skip = whyNoHosts() ?? false;
void t.test(
  "no call fails while the control plane is cut off from callees, callers, and all",
  { skip },
  async (t) => {
    const began = systemClock.now();
    const { mesh, load } = await startMesh(t);

    await mesh.cut("callee-1");
    await mesh.untilUnconfirmed(["callee-1"]);
    await mesh.untilAnsweredBy("callee-2");
    await mesh.heal("callee-1");
    await mesh.untilUnconfirmed([]);
    await mesh.untilAnsweredBy(...CALLEES);

    await mesh.cut("caller", "callee-2");
    await mesh.untilUnconfirmed(["callee-2"]);
    await mesh.untilAnsweredBy(...CALLEES);
    await mesh.heal("caller");
    await mesh.untilConnected("caller");
    await mesh.untilAnsweredBy("callee-1");
    await mesh.heal("callee-2");
    await mesh.untilAnsweredBy(...CALLEES);

    await mesh.cut(...HOSTS);
    await mesh.untilUnconfirmed(CALLEES, []);
    await mesh.untilAnsweredBy(...CALLEES);
    await mesh.heal("caller");
    await mesh.untilConnected("caller");
    t.same(await mesh.instances(), CALLEES, "the last of the Service stay");
    await mesh.untilAnsweredBy(...CALLEES);
    await mesh.heal(...CALLEES);
    await mesh.untilUnconfirmed([]);

    const records = await load.stop();
    const { calls } = figuresOf(between(records, began, Infinity));
    t.ok(calls > 1000, `${calls} calls`);
    t.same(failures(records), [], "not one of them failed");
    t.same(await mesh.instances(), CALLEES);
  },
);
