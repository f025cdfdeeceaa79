/** Many sidecars at one control plane: they enrol all at once, operators list everything meanwhile, and the process is killed. Nobody is lost, and nobody is there twice. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { startAgent } from "../../src/agent/mesh-agent.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/log.ts";
import { freePort } from "../../src/demo/free-port.ts";
import { drawn } from "../support/drawn.ts";
import {
  call,
  closeCalls,
  eventually,
  type Called,
} from "../support/peers/call.ts";
import { cleanEnvironment, PROGRAM } from "../support/processes/demo.ts";

const SIDECARS = drawn("WHERRY_CROWD", 100, 150);
const OPERATORS = 8;
/** Each time that an operator lists everything. */
const ROUNDS = 8;
/** Services that nobody uses, so that lists are long. */
const SERVICES = 1000;
/** Milliseconds: a machine that others share takes its time, and nothing here is measured. */
const WITHIN = 120_000;

const directory = t.testdir();
const state = join(directory, "state");
const api = `http://127.0.0.1:${await freePort()}`;
const push = `127.0.0.1:${await freePort()}`;
const OWN = "/apis/mesh.wherry.dev/v1alpha1";
const LISTS = [`${OWN}/services`, `${OWN}/workloads`, "/status"] as const;

/** What the control plane logs from warnings on. */
let log = "";

async function start(): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [
      PROGRAM,
      ...["control-plane", "--profile", "development"],
      ...["--state", state, "--store", "sqlite", "--log-level", "warn"],
      ...["--api", api.slice("http://".length), "--push", push],
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  child.stdout.on("data", (chunk: Buffer) => (log += chunk.toString()));
  await eventually(
    "the API is ready",
    WITHIN,
    () => call(`${api}/readyz`),
    ({ status }) => status === 200,
  );
  return child;
}

function ask(method: string, path: string, body?: unknown): Promise<Called> {
  const token = readFileSync(join(state, "admin.token"), "utf8").trim();
  return call(`${api}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** Samples of the control plane's own metrics. */
async function metrics(): Promise<(name: string) => number> {
  const { text } = await call(`${api}/metrics`);
  const samples = new Map(
    text.split("\n").map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))] as const;
    }),
  );
  return (name) => samples.get(`wherry_control_plane_${name}`) ?? 0;
}

function whenAllAreIn(): Promise<(name: string) => number> {
  return eventually(
    "all sidecars are registered",
    WITHIN,
    metrics,
    (value) =>
      value("sidecars") === SIDECARS &&
      value('registrations_total{result="registered"}') >= SIDECARS,
  );
}

/** How often a connected sidecar was not any more. */
let lost = 0;

async function startSidecar(index: number, token: string): Promise<void> {
  const stateDirectory = join(directory, `sidecar-${index}`);
  mkdirSync(stateDirectory, { mode: 0o700 });
  const agent = await startAgent({
    ...{ controlPlane: push, stateDirectory, token },
    name: `crowd-${index}`,
    version: "1.2.3",
    workload: () => ({
      address: `10.0.0.${index + 1}`,
      ports: { http: 8080 },
      ttl: "10s",
    }),
    // What acts on itself, and the Services that it calls: none.
    interest: { services: [], hosts: [] },
    clock: systemClock,
    logger: silentLogger,
  });
  t.teardown(() => agent.close());
  let connected = false;
  agent.state.subscribe((now) => {
    if (connected && !now.connected) lost += 1;
    connected = now.connected;
  });
  await agent.setReady(true);
}

interface Workload {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
}

async function workloads(): Promise<readonly string[]> {
  const { text } = await ask("GET", `${OWN}/namespaces/shop/workloads`);
  const { items } = JSON.parse(text) as { readonly items: readonly Workload[] };
  return items.map(
    ({ metadata: { name, uid, resourceVersion } }) =>
      `${name} ${uid} ${resourceVersion}`,
  );
}

/** The statuses that an operator gets who lists everything again and again; one that is put off goes on with the next list. */
async function listAll(): Promise<readonly number[]> {
  const statuses: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    for (const path of LISTS) statuses.push((await ask("GET", path)).status);
  return statuses;
}

async function fill(): Promise<void> {
  const items = Array.from({ length: SERVICES }, (_, index) => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: `unused-${index}`, namespace: "other" },
    spec: { ports: [{ port: 80 }], selector: { app: `unused-${index}` } },
  }));
  const { status, text } = await ask("POST", "/apply", { items });
  if (status !== 200) throw new Error(text.slice(0, 500));
}

async function enrolmentToken(): Promise<string> {
  const { text } = await ask("POST", "/tokens/enrolment", {
    namespace: "shop",
    serviceAccount: "crowd",
    labels: { app: "crowd" },
    addresses: ["10.0.0.0/24"],
    uses: SIDECARS,
  });
  return (JSON.parse(text) as { token: string }).token;
}

t.teardown(closeCalls);

void t.test(
  "a crowd enrols, is listed and comes back",
  { timeout: 5 * WITHIN },
  async (t) => {
    let child = await start();
    t.teardown(() => void child.kill("SIGKILL"));
    await fill();
    const token = await enrolmentToken();
    await Promise.all(
      Array.from({ length: SIDECARS }, (_, index) =>
        startSidecar(index, token),
      ),
    );
    const enrolled = await whenAllAreIn();
    const issued = enrolled('enrolments_total{result="issued"}');
    t.ok(
      issued >= SIDECARS,
      `${issued} certificates by a token of as many uses: who lost a response asked again`,
    );
    // One that lost a response registers twice, and counts twice above.
    const before = await eventually(
      "each is there",
      WITHIN,
      workloads,
      ({ length }) => length === SIDECARS,
    );

    // What was lost while all came at once is no matter of the operators.
    lost = 0;
    const listed = new AbortController();
    const ready: number[] = [];
    const probe = (async () => {
      while (!listed.signal.aborted)
        ready.push((await call(`${api}/readyz`)).status);
    })();
    const statuses = (
      await Promise.all(Array.from({ length: OPERATORS }, listAll))
    ).flat();
    listed.abort();
    await probe;
    t.same(
      [...new Set(statuses)].filter((each) => each !== 429),
      [200],
    );
    t.same([...new Set(ready)], [200]);
    t.comment(
      `${statuses.length} lists, ${statuses.filter((each) => each === 429).length} put off; ${ready.length} times ready`,
    );
    t.equal(lost, 0, "no stream was lost");
    const value = await metrics();
    t.equal(value("streams"), SIDECARS);
    t.equal(value('leases{state="confirmed"}'), SIDECARS);
    t.equal(value('leases{state="unconfirmed"}'), 0);
    t.notMatch(log, /lease has run out/);

    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    child = await start();
    await whenAllAreIn();
    t.same(await workloads(), before, "each is there once, and as it was");
    t.notMatch(log, /lease has run out|is removed/);
  },
);
