/** Nothing that the control plane acknowledged is lost, however often and at whatever moment it is killed under writes. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import { call, closeCalls, eventually, type Called } from "../support/call.ts";
import { cleanEnvironment, ROOT } from "../support/demo.ts";
import { seededRandom } from "../support/fake-clock.ts";

const KILLS = 60;
/** Each writes resources of its own, so that what must be there does not hang on who came first. */
const WRITERS = 8;
const NAMES = 5;
/** Writes that are acknowledged between a start and the kill, at most. */
const MOST = 120;

const choose = seededRandom(20_264);
const directory = t.testdir();
const state = join(directory, "state");
const api = `http://127.0.0.1:${await freePort()}`;

/** The port in a Service's spec; undefined: it is not there. */
type Value = number | undefined;

interface Held {
  /** What was acknowledged last. */
  acknowledged: Value;
  /** What was asked for and not answered: it may be in force, or never come to be. */
  readonly open: Value[];
}

const held = new Map<string, Held>();
for (let writer = 0; writer < WRITERS; writer += 1)
  for (let name = 0; name < NAMES; name += 1)
    held.set(`w${writer}/s${name}`, { acknowledged: undefined, open: [] });

let next = 1;
let acknowledged = 0;

function serviceOf(place: string, port: number): Record<string, unknown> {
  const [namespace, name] = place.split("/");
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, namespace },
    spec: { ports: [{ port }], selector: { app: name } },
  };
}

function urlOf(place: string): string {
  const [namespace = "", name = ""] = place.split("/");
  return `${api}/apis/mesh.wherry.dev/v1alpha1/namespaces/${namespace}/services/${name}`;
}

function ask(method: string, url: string, body?: unknown): Promise<Called> {
  const token = readFileSync(join(state, "admin.token"), "utf8").trim();
  return call(url, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** One write: a PUT, a DELETE, or all resources of the writer in one transaction. */
async function write(writer: number): Promise<Called> {
  const places = [...held.keys()].filter((each) =>
    each.startsWith(`w${writer}/`),
  );
  const place = places[Math.floor(choose() * NAMES)] ?? "";
  const kind = choose();
  const port = (next++ % 65_535) + 1;
  const wanted = new Map<string, Value>(
    kind < 0.2
      ? places.map((each) => [each, port])
      : [[place, kind < 0.4 ? undefined : port]],
  );
  for (const [each, value] of wanted) held.get(each)?.open.push(value);
  const answer =
    kind < 0.2
      ? await ask("POST", `${api}/apply`, {
          items: places.map((each) => serviceOf(each, port)),
        })
      : kind < 0.4
        ? await ask("DELETE", urlOf(place))
        : await ask("PUT", urlOf(place), serviceOf(place, port));
  // Of a process that is dying a part of an answer is none.
  if (answer.status === 0) return answer;
  // What is deleted may not be there: that it is not is acknowledged all the same.
  const gone = kind >= 0.2 && kind < 0.4 && answer.status === 404;
  for (const [each, value] of wanted) {
    const entry = held.get(each);
    if (entry === undefined) continue;
    entry.open.length = 0;
    entry.acknowledged = value;
  }
  acknowledged += 1;
  return gone ? { ...answer, status: 204 } : answer;
}

async function start(): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [
      join(ROOT, "src/main.ts"),
      ...["control-plane", "--profile", "development"],
      ...["--state", state, "--store", "sqlite", "--log-level", "error"],
      ...["--api", api.slice("http://".length), "--push", "127.0.0.1:0"],
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "ignore", "inherit"] },
  );
  await eventually(
    "the API answers",
    20_000,
    () => call(`${api}/readyz`),
    ({ status }) => status === 200,
  );
  return child;
}

/** What is there of each place. */
async function look(t: Test): Promise<Map<string, Value>> {
  const { status, text } = await ask(
    "GET",
    `${api}/apis/mesh.wherry.dev/v1alpha1/services`,
  );
  t.equal(status, 200);
  const { items } = JSON.parse(text) as {
    items: {
      metadata: { name: string; namespace: string };
      spec: { ports: [{ port: number }] };
    }[];
  };
  return new Map(
    items.map(({ metadata, spec }) => [
      `${metadata.namespace}/${metadata.name}`,
      spec.ports[0].port,
    ]),
  );
}

/** Those whose state is neither what was acknowledged last nor what was asked for since; what is there is the truth from now on. */
function compare(there: ReadonlyMap<string, Value>): string[] {
  const wrong: string[] = [];
  for (const [place, entry] of held) {
    const value = there.get(place);
    if (![entry.acknowledged, ...entry.open].includes(value))
      wrong.push(
        `${place} is ${value}: ${entry.acknowledged} was acknowledged, [${entry.open.join()}] was asked for`,
      );
    entry.acknowledged = value;
    entry.open.length = 0;
  }
  return wrong;
}

t.teardown(closeCalls);

void t.test(
  `${KILLS} kills under writes lose nothing that was acknowledged`,
  { timeout: 300_000 },
  async (t) => {
    const odd = new Set<string>();
    const lost: string[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      const child = await start();
      const exited = once(child, "exit");
      if (kill > 0) lost.push(...compare(await look(t)));
      const until = acknowledged + 1 + Math.floor(choose() * MOST);
      let dead = false;
      const writer = async (_: unknown, index: number): Promise<void> => {
        while (!dead) {
          const { status, text } = await write(index);
          if (status === 0) return;
          if (status >= 300) odd.add(`${status} ${text.slice(0, 200)}`);
          if (acknowledged < until) continue;
          dead = true;
          child.kill("SIGKILL");
        }
      };
      await Promise.all(Array.from({ length: WRITERS }, writer));
      await exited;
    }
    const child = await start();
    lost.push(...compare(await look(t)));
    child.kill("SIGKILL");
    t.same(lost, [], "nothing is lost, and nothing comes back");
    t.same([...odd], [], "each write is taken, or the process is dead");
    t.comment(`${acknowledged} writes were acknowledged`);
    t.ok(acknowledged > KILLS * 20, `${acknowledged} writes were acknowledged`);
  },
);
