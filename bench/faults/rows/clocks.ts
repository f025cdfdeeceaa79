/** The control plane is started again with a clock that is wrong by more than a day, while certificates of a minute are renewed, and at last with the right one. */
import { UserError } from "../../../src/core/errors.ts";
import {
  findFaketime,
  shiftedMachine,
  type ShiftedMachine,
} from "../../../test/support/clocks/shifted-machine.ts";
import type { Bed } from "../bed.ts";
import { openBed } from "../open-bed.ts";
import {
  NONE_FAILS,
  p99Within,
  type Goal,
  type Row,
  type Stretch,
} from "../row.ts";

const HOUR = 3_600_000;
/** The shortest life of a certificate that a Mesh takes. */
const LIFE = "60s";
/** Milliseconds. What is in use at the beginning has ended before the clock is right again. */
const WRONG = 90_000;
const QUIET = 3000;
const AFTER = 45_000;
/** Certificates are renewed meanwhile, and none has to end. */
const WRONG_SHORT = 40_000;
const AFTER_SHORT = 15_000;

const RECOVERED: Goal = {
  text: "none fails 30 s after the clock is right",
  met: ({ failedAfter }) => failedAfter <= 30_000,
};

export function clockRows(short: boolean): Row[] {
  const machines = new WeakMap<Bed, ShiftedMachine>();
  return [25, -25].map((hours) => ({
    name: `clocks/control-plane-${Math.abs(hours)}h-${hours > 0 ? "ahead" : "behind"}`,
    goals: [NONE_FAILS, p99Within(2), RECOVERED],
    async open(around) {
      const library = findFaketime();
      if (library === undefined)
        throw new UserError("faketime is not installed");
      const bed = await openBed(around, undefined, LIFE);
      machines.set(bed, shiftedMachine(bed.directory, library));
      return bed;
    },
    run: (bed) => run(bed, machines.get(bed), hours * HOUR, short),
  }));
}

async function run(
  bed: Bed,
  machine: ShiftedMachine | undefined,
  ms: number,
  short: boolean,
): Promise<Stretch> {
  if (machine === undefined) throw new Error("no clock to move");
  const { clock } = bed.around;
  const load = await bed.load("mixed");
  const restart = async (ahead: number): Promise<void> => {
    await bed.controlPlane.stop("SIGKILL");
    machine.shift(ahead);
    await bed.startControlPlane(machine.environment);
  };
  await bed.pause(QUIET);
  const faultAt = clock.now();
  await restart(ms);
  await bed.pause(short ? WRONG_SHORT : WRONG);
  await restart(0);
  const healedAt = clock.now();
  await bed.pause(short ? AFTER_SHORT : AFTER);
  return { records: await load.stop(), faultAt, healedAt };
}
