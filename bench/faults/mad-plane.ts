/** A control plane that serves as one does until it is told to go mad. */
import { fileURLToPath } from "node:url";
import type { MadPlaneTold } from "../../test/support/hostile/mad-plane-process.ts";
import type { Madness } from "../../test/support/hostile/madness.ts";
import type { Daemon, Host } from "../../test/support/meshes/hosts.ts";
import { SERVICE } from "./layout.ts";
import { ordered } from "./probes.ts";

const MAD_PLANE = fileURLToPath(
  new URL("../../test/support/hostile/mad-plane-process.ts", import.meta.url),
);

export interface MadPlane extends MadPlaneTold {
  readonly daemon: Daemon;
  /** From now on; undefined: it serves. */
  madden(madness: Madness | undefined): Promise<void>;
}

/** `addresses`: those that its tokens are for. */
export async function startMadPlane(
  host: Host,
  addresses: readonly string[],
): Promise<MadPlane> {
  const daemon = host.start([
    // It has a machine of its own elsewhere: it gets what the sidecars and their applications leave of this one.
    ...["chrt", "--idle", "0"],
    ...[process.execPath, "--disable-warning=ExperimentalWarning", MAD_PLANE],
    ...[host.ipv4, SERVICE, ...addresses.map((each) => `${each}/32`)],
  ]);
  await daemon.prints("}\n");
  const [line = ""] = daemon.lines;
  const told = JSON.parse(line) as MadPlaneTold;
  const url = `http://${host.ipv4}:${told.orders}/`;
  return {
    ...told,
    daemon,
    madden: (madness) => ordered(url, "POST", madness ?? ""),
  };
}
