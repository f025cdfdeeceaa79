/** A caller that does nothing wrong and calls evenly while others attack: what it got, and for who measures, its 99th percentile. */
import type { Agent } from "node:http";
import { call, openLoad } from "../peers/call.ts";
import type { LoneSidecar } from "../processes/lone-sidecar.ts";

/** Calls a second, and milliseconds of one window. */
const RATE = 150;
const WINDOW = 1500;

export interface Windows {
  /** The 99th percentile of each window, milliseconds. */
  readonly p99: readonly number[];
  /** Calls that were answered with 200. */
  readonly answered: number;
  /** What callers got instead of 200. */
  readonly failures: readonly string[];
}

/** `published`: the port that is called. `agent`: whose connections are used, where they are not those of all calls. */
export async function callEvenly(
  sidecar: Pick<LoneSidecar, "published">,
  count: number,
  agent?: Agent,
): Promise<Windows> {
  const p99: number[] = [];
  const failures: string[] = [];
  let answered = 0;
  for (let index = 0; index < count; index += 1) {
    const load = openLoad(RATE, () =>
      call(`http://127.0.0.1:${sidecar.published}/`, {
        headers: { host: "orders.shop" },
        agent,
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, WINDOW));
    const results = await load.stop();
    const times = results.map(({ ms }) => ms).sort((one, two) => one - two);
    p99.push(times[Math.floor(times.length * 0.99)] ?? Infinity);
    for (const { status, text } of results)
      if (status === 200) answered += 1;
      else failures.push(`${status} ${text}`);
  }
  return { p99, answered, failures };
}

/** Until V8 has compiled what calls need, the first ones are slow. */
export async function warmUp(
  sidecar: LoneSidecar,
  agent?: Agent,
): Promise<void> {
  await callEvenly(sidecar, 2, agent);
}
