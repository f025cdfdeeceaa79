/** Open-loop load: requests at the moments that a schedule has, whatever became of those before, and each measured from its moment. */
import { Pool } from "undici";
import { systemClock } from "../../src/core/clock.ts";
import { seededRandom } from "../../test/support/clocks/fake-clock.ts";
import { exponential } from "../simulate/engine.ts";
import { CLIENT_PORTS, DEADLINE, HOST } from "./layout.ts";

export interface LoadOptions {
  /** Requests a second in all. */
  readonly rate: number;
  readonly seed: number;
  /** Milliseconds that are not counted, and then those that are. */
  readonly warmUp: number;
  readonly duration: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Milliseconds between two looks at the schedule. */
const STEP = 1;

export async function run(options: LoadOptions): Promise<LoadResult> {
  const { rate, seed, warmUp, duration } = options;
  const random = seededRandom(seed);
  const pools = CLIENT_PORTS.map(
    (port) =>
      new Pool(`http://127.0.0.1:${port}`, {
        connections: 512,
        pipelining: 1,
        headersTimeout: 0,
        bodyTimeout: 0,
      }),
  );
  const took: number[] = [];
  let errors = 0;
  const underWay = new Set<Promise<void>>();
  const start = systemClock.now();
  const end = start + warmUp + duration;
  let next = start + exponential(random, 1000 / rate);

  const call = async (due: number): Promise<void> => {
    const pool = pools[Math.floor(random() * pools.length)];
    const left = due + DEADLINE - systemClock.now();
    const well = pool !== undefined && left > 0 && (await get(pool, left));
    if (due < start + warmUp) return;
    if (!well) errors += 1;
    took.push(well ? systemClock.now() - due : DEADLINE);
  };

  await new Promise<void>((resolve) => {
    const step = (): void => {
      const now = systemClock.now();
      for (
        ;
        next <= now && next < end;
        next += exponential(random, 1000 / rate)
      ) {
        const one = call(next).finally(() => underWay.delete(one));
        underWay.add(one);
      }
      if (next >= end) resolve();
      // Node's timers keep nobody alive here: the pools do.
      else systemClock.after(STEP, step);
    };
    step();
  });
  await Promise.all(underWay);
  for (const pool of pools) await pool.destroy();
  const sorted = Float64Array.from(took).sort();
  const at = (share: number): number =>
    sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
  return {
    requests: sorted.length,
    errors: errors / sorted.length,
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
  };
}

/** True for a 200 within `left` milliseconds. */
async function get(pool: Pool, left: number): Promise<boolean> {
  const abort = new AbortController();
  const cancel = systemClock.after(left, () => abort.abort());
  try {
    const { statusCode, body } = await pool.request({
      method: "GET",
      path: "/",
      headers: { host: HOST },
      signal: abort.signal,
    });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  } finally {
    cancel();
  }
}
