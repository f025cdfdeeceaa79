/** The first call to a Service that the sidecar has not used before, beside the next one; with the control plane alive, and with it dead. */
import type { Bed } from "../bed.ts";
import { figuresOf, spreadOf, type Figure, type Row } from "../figures.ts";
import { PORTS } from "../layout.ts";
import { callOnce, poolTo } from "../load.ts";
import { hostOf } from "../mesh.ts";

interface Calls {
  readonly first: readonly number[];
  readonly next: readonly number[];
  readonly failed: number;
  readonly fault: string | undefined;
}

export async function measureFirstCalls(bed: Bed): Promise<Figure[]> {
  const { fresh } = bed.shape;
  const middle = Math.ceil(fresh.length / 2);
  const sidecar = await bed.newSidecar();
  try {
    // What the first calls of the process load and compile is no Service's.
    await callAll(bed, bed.shape.used);
    await bed.pause(2000);
    const alive = await callAll(bed, fresh.slice(0, middle));
    const dead = await withoutControlPlane(bed, () =>
      callAll(bed, fresh.slice(middle)),
    );
    return figuresOf("first-call", [
      ...rows("", alive),
      ...rows(", control plane dead", dead),
    ]);
  } finally {
    await sidecar.stop();
  }
}

async function withoutControlPlane<T>(
  bed: Bed,
  use: () => Promise<T>,
): Promise<T> {
  await bed.controlPlane.stop();
  try {
    await bed.pause(1000);
    return await use();
  } finally {
    await bed.resumeControlPlane();
  }
}

function rows(suffix: string, { first, next, failed }: Calls): Row[] {
  const begun = spreadOf(first);
  const then = spreadOf(next);
  return [
    [`first call, p50${suffix}`, "ms", begun.p50],
    [`first call, p99${suffix}`, "ms", begun.p99],
    [`next call, p50${suffix}`, "ms", then.p50],
    [`next call, p99${suffix}`, "ms", then.p99],
    [`failed calls${suffix}`, "", failed],
  ];
}

/** Each Service twice, one call at a time. */
async function callAll(bed: Bed, services: readonly number[]): Promise<Calls> {
  const { clock, say } = bed.around;
  const pool = poolTo(PORTS.outbound);
  const first: number[] = [];
  const next: number[] = [];
  const faults: string[] = [];
  try {
    for (const service of services)
      for (const into of [first, next]) {
        const from = clock.now();
        const { fault } = await callOnce(pool, hostOf(service));
        if (fault === undefined) into.push(clock.now() - from);
        else faults.push(fault);
      }
  } finally {
    await pool.destroy();
  }
  const [fault] = faults;
  if (fault !== undefined)
    say(`  first-call: ${faults.length} calls failed: ${fault}`);
  return { first, next, failed: faults.length, fault };
}
