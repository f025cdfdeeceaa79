// The machine fails under load, at each part in turn: no process ends, calls go on, and all is well soon after.
import { setTimeout as passing } from "node:timers/promises";
import t from "tap";
import { drawn } from "../support/drawn.ts";
import { closeCalls, eventually, type Called } from "../support/peers/call.ts";
import {
  blockedLog,
  injectedCalls,
  fullDisk,
  noHandles,
  readOnlyDatabase,
  readOnlyDisk,
  startFaultBed,
  type Part,
  type TakeAway,
} from "../support/faults/machine-faults.ts";

/** Milliseconds that each fault lasts; `npm run bench -- faults` has longer ones. */
const LASTS = drawn("WHERRY_MACHINE_FAULT_MS", 2500, 4000);
/** Milliseconds in which the disk is written to once: a change is kept some time after it came. */
const COUNTED_WITHIN = 20_000;
/** Milliseconds in which all is well again. */
const WELL_WITHIN = 5000;

const PARTS: readonly Part[] = ["plane", "caller", "callee"];

interface Fault {
  readonly name: string;
  readonly take: TakeAway;
  readonly parts: readonly Part[];
  /** Statuses of a change of the mesh while it lasts, at the control plane. */
  readonly changes: readonly number[];
}

const FAULTS: readonly Fault[] = [
  { name: "ENOSPC", take: fullDisk, parts: PARTS, changes: [503] },
  {
    name: "EROFS",
    take: readOnlyDisk,
    parts: ["caller", "callee"],
    changes: [],
  },
  { name: "EROFS", take: readOnlyDatabase, parts: ["plane"], changes: [503] },
  {
    name: "EIO",
    take: injectedCalls("fsync,fdatasync", "error=EIO"),
    parts: PARTS,
    changes: [503],
  },
  { name: "EMFILE", take: noHandles, parts: PARTS, changes: [200] },
  { name: "a blocked log", take: blockedLog, parts: PARTS, changes: [200] },
];

/** Those that whatever is kept on the disk feels. */
const DISK: ReadonlySet<string> = new Set(["ENOSPC", "EROFS", "EIO"]);

const bed = await startFaultBed();
t.teardown(async () => {
  closeCalls();
  await bed.close();
});

async function machineErrors(part: Part): Promise<number> {
  const name = "wherry_machine_errors_total";
  if (part !== "plane") return bed[part].metric(name);
  const { text } = await bed.plane.ask("GET", "/metrics");
  return text
    .split("\n")
    .filter((line) => line.startsWith(name))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

function failures(results: readonly Called[]): string[] {
  return results
    .filter(({ status }) => status !== 200)
    .map(({ status, text }) => `${status} ${text.slice(0, 200)}`);
}

for (const { name, take, parts, changes } of FAULTS)
  for (const part of parts)
    void t.test(`${name} at the ${part}`, async (t) => {
      const load = await bed.load();
      await passing(500);
      const giveBack = take(bed.processOf(part), bed.stateOf(part));
      if (giveBack === undefined) {
        await load.stop();
        t.pass("cannot be made here");
        return;
      }
      const counted = await machineErrors(part);
      const statuses = new Set<number>();
      const until = performance.now() + LASTS;
      while (performance.now() < until) {
        statuses.add(await bed.change());
        await passing(200);
      }
      const ready = await bed.plane.ask("GET", "/readyz");
      if (DISK.has(name))
        await eventually(
          "it is counted",
          COUNTED_WITHIN,
          () => machineErrors(part),
          (count) => count > counted,
        );
      await giveBack();
      if (part === "plane") {
        // The first may come before strace has taken hold.
        t.equal([...statuses].at(-1), changes.at(-1), [...statuses].join(" "));
        t.notOk(statuses.has(500), "what it cannot do has a reason");
        t.equal(ready.status, changes.includes(503) ? 503 : 200, ready.text);
      } else t.same([...statuses], [200], "the control plane does not need it");
      await bed.settled(WELL_WITHIN);
      t.equal(await bed.change(), 200);
      await bed.settled(WELL_WITHIN);
      const results = await load.stop();
      t.ok(results.length > 100, `${results.length} calls`);
      t.same(failures(results), [], "no call fails");
      for (const each of PARTS)
        t.equal(bed.processOf(each).ended, undefined, `${each} goes on`);
    });
