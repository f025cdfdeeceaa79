/** The control plane is killed and started again, sooner or later than all certificates have ended. */
import type { Bed } from "../bed.ts";
import { openBed } from "../open-bed.ts";
import {
  NONE_FAILS,
  p99Within,
  type Goal,
  type Row,
  type Stretch,
} from "../row.ts";

/** Seconds. */
const LENGTHS = [2, 30, 180];
const SHORT = [4];
/** The shortest life of a certificate that a Mesh takes, and how long the control plane is away then. */
const LIFE = "60s";
const PAST_LIFE = 75;
/** Milliseconds. */
const QUIET = 3000;
const AFTER = 20_000;
const AFTER_SHORT = 6000;

const SOON_BACK: Goal = {
  text: "none fails 10 s after it is back",
  met: ({ failedAfter }) => failedAfter <= 10_000,
};

export function outageRows(short: boolean): Row[] {
  return [
    ...(short ? SHORT : LENGTHS).map((seconds) => ({
      name: `outage/${seconds}s`,
      goals: [NONE_FAILS, p99Within(2)],
      run: (bed: Bed) => run(bed, seconds, short ? AFTER_SHORT : AFTER),
    })),
    {
      name: "outage/certificates-end",
      goals: [SOON_BACK],
      open: (around) => openBed(around, undefined, LIFE),
      run: (bed) => run(bed, PAST_LIFE, AFTER),
    },
  ];
}

async function run(bed: Bed, seconds: number, after: number): Promise<Stretch> {
  const { clock } = bed.around;
  const load = await bed.load("mixed");
  await bed.pause(QUIET);
  const faultAt = clock.now();
  await bed.controlPlane.stop("SIGKILL");
  await bed.pause(seconds * 1000);
  await bed.startControlPlane();
  const healedAt = clock.now();
  await bed.pause(after);
  return { records: await load.stop(), faultAt, healedAt };
}
