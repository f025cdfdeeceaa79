/** The machine under the caller's sidecar, or under the control plane, lets it down: its disk, its file handles, or who reads its log. */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fill } from "../../../test/support/faults/full-disk.ts";
import type { Bed } from "../bed.ts";
import {
  CALLEES,
  NAMESPACE,
  PORTS,
  SERVICE,
  type HostName,
} from "../layout.ts";
import type { Oddity } from "../odd-machine.ts";
import { openBed } from "../open-bed.ts";
import { isAlive } from "../probes.ts";
import {
  NONE_FAILS,
  p99Within,
  type Goal,
  type Row,
  type Stretch,
} from "../row.ts";

/** Milliseconds. */
const QUIET = 3000;
const LENGTH = 30_000;
const LENGTH_SHORT = 6000;
const AFTER = 10_000;
const AFTER_SHORT = 3000;
/** File handles that are left. */
const HANDLES_LEFT = 3;
/** Between two tries to write after it. */
const AGAIN = 100;

const ENDED = "processes that ended by themselves";
const WRITTEN = "until a change is taken again, ms";
const GOALS: readonly Goal[] = [
  NONE_FAILS,
  p99Within(2),
  { text: "no process ends", met: ({ more }) => more[ENDED] === 0 },
  {
    text: "a change is taken within 5 s of its end",
    met: ({ more }) => (more[WRITTEN] ?? Number.NaN) <= 5000,
  },
];

interface Lack {
  /** The only host that it can come to; absent: both. */
  readonly only?: HostName;
  readonly odd: Omit<Oddity, "host">;
  /** What it returns ends it. */
  begin(bed: Bed, host: HostName): () => void | Promise<void>;
}

const LACKS: Readonly<Record<string, Lack>> = {
  "full-disk": {
    odd: { disk: "small" },
    begin: (bed) => fill(bed.machine.disk),
  },
  // Not the control plane's: nobody can make a disk read-only while a database is open in it, unless it fails.
  "read-only-disk": {
    only: "caller",
    odd: { disk: "small" },
    begin(bed) {
      remount(bed.machine.disk, "ro");
      return () => remount(bed.machine.disk, "rw");
    },
  },
  // The kernel makes it read-only. To repair it takes the process's end, and that has to be one in order.
  "failed-disk": {
    only: "plane",
    odd: { disk: "failing" },
    begin(bed) {
      bed.machine.failingDisk.fail();
      return async () => {
        await bed.controlPlane.stop();
        bed.machine.failingDisk.repair();
        await bed.startControlPlane();
      };
    },
  },
  "no-handles": {
    odd: {},
    begin(bed, host) {
      const { pid } = bed.processOf(host);
      const open = readdirSync(`/proc/${pid}/fd`).length;
      const limit = (handles: number): void => {
        execFileSync("prlimit", ["--pid", String(pid), `--nofile=${handles}:`]);
      };
      limit(open + HANDLES_LEFT);
      return () => limit(4096);
    },
  },
  /** From its start on. */
  "blocked-log": {
    odd: { blockedLog: true },
    begin: () => () => undefined,
  },
};

const HOSTS: Readonly<Record<string, HostName>> = {
  sidecar: "caller",
  "control-plane": "plane",
};

export function machineRows(short: boolean): Row[] {
  return Object.entries(HOSTS).flatMap(([what, host]) =>
    Object.entries(LACKS)
      .filter(([, { only }]) => only === undefined || only === host)
      .map(([name, lack]) => ({
        name: `machine/${what}/${name}`,
        goals: GOALS,
        open: (around) => openBed(around, { host, ...lack.odd }),
        run: (bed) => run(bed, host, lack, short),
      })),
  );
}

function remount(directory: string, how: "ro" | "rw"): void {
  execFileSync("mount", ["-o", `remount,${how}`, directory]);
}

async function run(
  bed: Bed,
  host: HostName,
  lack: Lack,
  short: boolean,
): Promise<Stretch> {
  const { clock } = bed.around;
  const load = await bed.load("mixed");
  await bed.pause(QUIET);
  const faultAt = clock.now();
  const end = lack.begin(bed, host);
  // Something to write down, for both of them; a control plane that cannot says so.
  await bed.apply(changed(faultAt)).catch(() => undefined);
  await bed.pause(short ? LENGTH_SHORT : LENGTH);
  const ended = goneIn(bed);
  await end();
  const healedAt = clock.now();
  const written = await untilWritten(bed, healedAt);
  await bed.pause(short ? AFTER_SHORT : AFTER);
  return {
    records: await load.stop(),
    faultAt,
    healedAt,
    more: { [ENDED]: ended + goneIn(bed), [WRITTEN]: written },
  };
}

/** How many of the mesh's processes there are no more. */
function goneIn(bed: Bed): number {
  const hosts: readonly HostName[] = ["plane", "caller", ...CALLEES];
  return hosts.filter((host) => !isAlive(bed.processOf(host).pid)).length;
}

/** Milliseconds from then on. */
async function untilWritten(bed: Bed, from: number): Promise<number> {
  const { clock } = bed.around;
  await bed.until("a change is taken", bed.controlPlane, async () => {
    try {
      await bed.apply(changed(clock.now()));
      return true;
    } catch {
      await bed.pause(AGAIN);
      return false;
    }
  });
  return clock.now() - from;
}

function changed(mark: number): string {
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${SERVICE}, namespace: ${NAMESPACE}, annotations: { changed: "${mark}" } }
spec:
  ports: [{ name: http, port: 80, targetPort: ${PORTS.application}, appProtocol: http }]
  selector: { app: ${SERVICE} }
`;
}
