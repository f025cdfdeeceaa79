/** The machine under the caller's sidecar, or under the control plane, lets it down: its disk, its file handles, or who reads its log. */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fill } from "../../../test/support/faults/full-disk.ts";
import { openBed, type Bed, type HostName, type Oddity } from "../bed.ts";
import { NAMESPACE, PORTS, SERVICE } from "../layout.ts";
import { NONE_FAILS, p99Within, type Row, type Stretch } from "../row.ts";

/** Milliseconds. */
const QUIET = 3000;
const LENGTH = 30_000;
const LENGTH_SHORT = 6000;
const AFTER = 10_000;
const AFTER_SHORT = 3000;
/** File handles that are left. */
const HANDLES_LEFT = 3;

interface Lack {
  /** The only host that it can come to; absent: both. */
  readonly only?: HostName;
  readonly odd: Omit<Oddity, "host">;
  /** What it returns ends it. */
  begin(bed: Bed, host: HostName): () => void;
}

const LACKS: Readonly<Record<string, Lack>> = {
  "full-disk": { odd: { smallDisk: true }, begin: (bed) => fill(bed.disk) },
  // Not the control plane's: the kernel does not take a disk away from a database that is open.
  "read-only-disk": {
    only: "caller",
    odd: { smallDisk: true },
    begin(bed) {
      remount(bed.disk, "ro");
      return () => remount(bed.disk, "rw");
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
        goals: [NONE_FAILS, p99Within(2)],
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
  end();
  const healedAt = clock.now();
  await bed.pause(short ? AFTER_SHORT : AFTER);
  return { records: await load.stop(), faultAt, healedAt };
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
