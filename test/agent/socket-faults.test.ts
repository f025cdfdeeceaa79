/** Each connection to the control plane, and each look for its address, fails once, from a sidecar's first start over a renewal: it starts and renews all the same, and no use of its token is lost. */
import dns from "node:dns";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startAgent } from "../../src/agent/mesh-agent.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  MESH,
  startTestControlPlane,
  temporaryDirectory,
} from "../support/control-plane/push-control-plane.ts";
import { failConnects } from "../support/faults/connect-faults.ts";

const HOUR = 3_600_000;
const NAME = "control-plane.test";
const ADDRESS = { address: "127.0.0.1", family: 4 };

interface Lookups {
  looked: number;
  failAt: number;
  code: string;
}

/** Names of this test are found by it, but for the one look that fails. */
const rows = new Map<string, Lookups>();

function find(name: string): void {
  const row = rows.get(name);
  // An address, by which the control plane listens.
  if (row === undefined) return;
  row.looked += 1;
  if (row.looked === row.failAt)
    throw Object.assign(new Error(`getaddrinfo ${row.code}`), {
      code: row.code,
    });
}

type Found = (error: unknown, address?: unknown, family?: number) => void;
type Options = { readonly all?: boolean };

// Both of Node's ways to look a name up; their shapes do not matter beyond what is called here.
const callbacks = dns as unknown as {
  lookup: (name: string, options: Options, done: Found) => void;
};
const promises = dns.promises as unknown as {
  lookup: (name: string) => Promise<unknown>;
};
callbacks.lookup = (name, { all }, done) => {
  process.nextTick(() => {
    try {
      find(name);
    } catch (thrown) {
      done(thrown);
      return;
    }
    if (all === true) done(null, [ADDRESS]);
    else done(null, ADDRESS.address, ADDRESS.family);
  });
};
promises.lookup = async (name) => {
  await Promise.resolve();
  find(name);
  return [ADDRESS];
};

interface Counts {
  readonly connects: number;
  readonly lookups: number;
}

interface Fault {
  readonly code: string;
  readonly connect?: number;
  readonly lookup?: number;
}

let beds = 0;

/** A first start and a renewal, on a control plane of its own. */
async function live(t: Test, what: string, fault: Fault): Promise<Counts> {
  // OpenSSL judges by the system's time: what is issued from here on is valid now.
  const clock = fakeClock({ wall: Date.now() - 13 * HOUR });
  const plane = await startTestControlPlane(t, { clock });
  await plane.store.put(MESH, "absent");
  const port = Number(plane.address.split(":").at(-1));
  const { connect, lookup = 0, code } = fault;
  const faults = failConnects(
    port,
    code,
    connect === undefined ? 0 : 1,
    (connect ?? 1) - 1,
  );
  beds += 1;
  const name = `${beds}.${NAME}`;
  const lookups: Lookups = { looked: 0, failAt: lookup, code };
  rows.set(name, lookups);
  // Time goes on, ten times as fast as it does.
  const timer = setInterval(() => clock.advance(50), 5);
  t.teardown(() => clearInterval(timer));
  const agent = await startAgent({
    controlPlane: `${name}:${port}`,
    stateDirectory: join(await temporaryDirectory(t), "state"),
    token: await plane.token({ uses: 1 }),
    version: "1.2.3",
    clock,
    logger: silentLogger,
  });
  t.teardown(() => agent.close());
  const { credentials, snapshot, state } = agent;
  const comes = async (event: string, is: () => boolean): Promise<void> => {
    for (let turn = 0; !is(); turn += 1) {
      if (turn === 3000) throw new Error(`${what}: it never came: ${event}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const isFollowing = (): boolean => state.value.connected;
  await comes("a certificate", () => credentials.value !== undefined);
  await comes("a config", () => snapshot.value !== undefined && isFollowing());
  const first = credentials.value;
  clock.advance(12.2 * HOUR);
  await comes("a renewal", () => credentials.value !== first);
  await comes("a connection under it", isFollowing);
  clearInterval(timer);
  faults.release();
  t.equal(faults.failed, connect === undefined ? 0 : 1, what);
  t.equal(credentials.value?.id, first?.id, what);
  t.notOk(state.value.lastError, what);
  return { connects: faults.tried, lookups: lookups.looked };
}

const CONNECT = ["EMFILE", "ENOBUFS", "EADDRNOTAVAIL", "ENOMEM"];
const LOOKUP = ["EMFILE", "EAI_AGAIN", "EAI_MEMORY", "ENFILE"];

void t.test("whichever fails once", async (t) => {
  const { connects, lookups } = await live(t, "model", { code: "" });
  t.ok(connects >= 4, `${connects} connections`);
  t.ok(lookups >= 4, `${lookups} look-ups`);
  const faults: Fault[] = [];
  for (let at = 1; at <= connects; at += 1)
    faults.push({ code: CONNECT[at % 4] ?? "", connect: at });
  for (let at = 1; at <= lookups; at += 1)
    faults.push({ code: LOOKUP[at % 4] ?? "", lookup: at });
  await Promise.all(
    faults.map((fault) => live(t, JSON.stringify(fault), fault)),
  );
});
