/** One of two applications stops responding: next to no call hangs there, none after a while, and its way back costs no call. */
import t from "tap";
import { call, closeCalls, type Called } from "../../support/peers/call.ts";
import { withPair, type Pair } from "../../support/meshes/pair.ts";
import {
  startStallingApplication,
  type Fault,
} from "../../support/processes/stalling-application.ts";

/** Calls a second. */
const RATE = 200;
/** Milliseconds of quiet, of the fault, and after it. */
const QUIET = 1000;
const STALLED = 7000;
const AFTER = 3500;
/** Calls that may fail besides those that were in flight when the fault began. */
const MOST_FAILED = 10;
/** Failed calls that a message names. */
const SHOWN = 5;
/** Milliseconds: a call that took longer has failed as well. */
const PATIENCE = 3000;

type Mix = "GET" | "POST" | "mixed";

interface Sent {
  /** Milliseconds since the fault began. */
  readonly at: number;
  readonly method: string;
  called: Called | undefined;
}

interface Run {
  readonly sent: readonly Sent[];
  readonly inFlight: number;
}

const passing = (ms: number): Promise<void> =>
  new Promise((resolve) => void setTimeout(resolve, ms));

function methodOf(mix: Mix, index: number): string {
  if (mix !== "mixed") return mix;
  return index % 2 === 0 ? "GET" : "POST";
}

function callOnce(pair: Pair, method: string): Promise<Called> {
  return call(`http://127.0.0.1:${pair.caller.ports.outbound ?? 0}/`, {
    method,
    headers: { host: "orders.shop" },
    ...(method === "POST" ? { body: "order" } : {}),
  });
}

/** Calls evenly spaced in time, whether or not the earlier ones have their responses. */
function load(
  pair: Pair,
  mix: Mix,
  began: () => number,
): { readonly sent: Sent[]; stop(): void } {
  const sent: Sent[] = [];
  const start = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - start) * RATE) / 1000;
    while (sent.length < due) {
      const method = methodOf(mix, sent.length);
      const at = performance.now() - began();
      const one: Sent = { at, method, called: undefined };
      sent.push(one);
      void callOnce(pair, method).then((called) => (one.called = called));
    }
  }, 5);
  return { sent, stop: () => clearInterval(timer) };
}

async function run(fault: Fault, mix: Mix): Promise<Run> {
  const applications = [
    await startStallingApplication(),
    await startStallingApplication(),
  ];
  let result: Run = { sent: [], inFlight: 0 };
  await withPair(
    {
      instances: 2,
      rawApp: (index) => (socket) => applications[index]?.accept(socket),
    },
    async (pair) => {
      // The first calls are slow: what is usual is to be known.
      for (let index = 0; index < RATE; index += 1)
        await callOnce(pair, methodOf(mix, index));
      let began = performance.now() + QUIET;
      const calls = load(pair, mix, () => began);
      const { sent } = calls;
      await passing(QUIET);
      began = performance.now();
      applications[0]?.begin(fault);
      const inFlight = sent.filter(({ called }) => called === undefined).length;
      await passing(STALLED);
      applications[0]?.end(fault);
      await passing(AFTER);
      calls.stop();
      // A machine that is busy elsewhere may take its time with the last ones.
      const last = sent.filter(({ at }) => at > STALLED);
      for (let waited = 0; waited < PATIENCE; waited += 50) {
        if (last.every(({ called }) => called !== undefined)) break;
        await passing(50);
      }
      result = { sent, inFlight };
    },
  );
  for (const each of applications) each.close();
  return result;
}

const isFailed = ({ called }: Sent): boolean =>
  called?.status !== 200 || called.ms > PATIENCE;

const told = ({ at, method, called }: Sent): string =>
  `${method} at ${Math.round(at)} ms: ${called?.status ?? "no response"}`;

// Each waits for most of its time.
t.jobs = 2;
// All nine: `npm run bench -- faults black-hole`.
for (const [fault, mix, grace] of [
  ["stop", "mixed", 3000],
  ["hang", "GET", 3000],
  ["hang", "POST", 3000],
  ["drip", "mixed", 6000],
] as const)
  void t.test(`${fault}, ${mix}`, { buffered: true }, async (t) => {
    const { sent, inFlight } = await run(fault, mix);
    const failed = sent.filter(isFailed);
    t.ok(sent.length > 1000, `${sent.length} calls`);
    t.ok(
      failed.length <= MOST_FAILED + inFlight,
      `${failed.length} failed, ${inFlight} were in flight: ${failed.slice(0, SHOWN).map(told).join("; ")}`,
    );
    t.same(
      failed.filter(({ at }) => at > grace).map(told),
      [],
      "none once it is known, and none when it is back",
    );
    if (fault !== "drip")
      t.same(
        failed.filter(({ method }) => method === "GET").map(told),
        [],
        "what may be repeated goes elsewhere",
      );
  });

t.teardown(closeCalls);
