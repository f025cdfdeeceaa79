/** Nothing that the control plane acknowledged is lost, however often and at whatever moment it is killed under writes. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort } from "../../../src/demo/free-port.ts";
import { drawn } from "../../support/drawn.ts";
import { closeCalls, type Called } from "../../support/peers/call.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";
import {
  startPlane,
  type PlaneProcess,
} from "../../support/processes/plane-process.ts";

const KILLS = drawn("WHERRY_KILLS", 30, 60);
/** Each writes resources of its own, so that what must be there does not hang on who came first. */
const WRITERS = 8;
const NAMES = 5;
/** Writes that are acknowledged between a start and the kill, at most. */
const MOST = drawn("WHERRY_KILL_WRITES", 60, 120);

const choose = seededRandom(20_264);
const state = join(t.testdir(), "state");
/** The same at each start. */
const ports = {
  api: `127.0.0.1:${await freePort()}`,
  push: `127.0.0.1:${await freePort()}`,
};
const SERVICES = "/apis/mesh.wherry.dev/v1alpha1";

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

function pathOf(place: string): string {
  const [namespace = "", name = ""] = place.split("/");
  return `${SERVICES}/namespaces/${namespace}/services/${name}`;
}

/** One write: a PUT, a DELETE, or all resources of the writer in one transaction. */
async function write({ ask }: PlaneProcess, writer: number): Promise<Called> {
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
      ? await ask("POST", "/apply", {
          items: places.map((each) => serviceOf(each, port)),
        })
      : kind < 0.4
        ? await ask("DELETE", pathOf(place))
        : await ask("PUT", pathOf(place), serviceOf(place, port));
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

/** What is there of each place. */
async function look(
  t: Test,
  { ask }: PlaneProcess,
): Promise<Map<string, Value>> {
  const { status, text } = await ask("GET", `${SERVICES}/services`);
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
  { timeout: 550_000 },
  async (t) => {
    const odd = new Set<string>();
    const lost: string[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      const plane = await startPlane(state, { ports });
      if (kill > 0) lost.push(...compare(await look(t, plane)));
      const until = acknowledged + 1 + Math.floor(choose() * MOST);
      let dead = false;
      const writer = async (_: unknown, index: number): Promise<void> => {
        while (!dead) {
          const { status, text } = await write(plane, index);
          if (status === 0) return;
          if (status >= 300) odd.add(`${status} ${text.slice(0, 200)}`);
          if (acknowledged < until) continue;
          dead = true;
          plane.process.signal("SIGKILL");
        }
      };
      await Promise.all(Array.from({ length: WRITERS }, writer));
      await plane.process.stop();
    }
    const plane = await startPlane(state, { ports });
    lost.push(...compare(await look(t, plane)));
    await plane.process.stop();
    t.same(lost, [], "nothing is lost, and nothing comes back");
    t.same([...odd], [], "each write is taken, or the process is dead");
    t.comment(`${acknowledged} writes were acknowledged`);
    t.ok(acknowledged > KILLS * 20, `${acknowledged} writes were acknowledged`);
  },
);
