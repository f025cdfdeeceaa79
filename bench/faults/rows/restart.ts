/** Every sidecar is replaced under calls: by a newer process in its place, or stopped and started one after the other. */
import type { Bed } from "../bed.ts";
import { CALLEES, type HostName } from "../layout.ts";
import { NONE_FAILS, type Row, type Stretch } from "../row.ts";

/** Milliseconds. */
const QUIET = 3000;
const BETWEEN = 3000;
const AFTER = 6000;

export function restartRows(): Row[] {
  return [
    {
      name: "restart/in-place",
      goals: [NONE_FAILS],
      run: (bed) =>
        run(bed, ["caller", ...CALLEES], (name) => bed.takeOver(name)),
    },
    {
      name: "restart/rolling",
      goals: [NONE_FAILS],
      // Not the caller's: its applications are told to go before it.
      run: (bed) =>
        run(bed, CALLEES, async (name) => {
          await bed.sidecar(name).stop();
          await bed.startSidecar(name);
        }),
    },
  ];
}

async function run(
  bed: Bed,
  names: readonly HostName[],
  replace: (name: HostName) => Promise<void>,
): Promise<Stretch> {
  const { clock } = bed.around;
  const load = await bed.load("mixed");
  await bed.pause(QUIET);
  const faultAt = clock.now();
  for (const name of names) {
    await replace(name);
    await bed.pause(BETWEEN);
  }
  const healedAt = clock.now();
  await bed.pause(AFTER);
  return { records: await load.stop(), faultAt, healedAt };
}
