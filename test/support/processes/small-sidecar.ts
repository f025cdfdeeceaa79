/** A sidecar of 256 MiB for attacks on its memory: what it may hold, how others are served meanwhile, and that all is given back. */
import type { Test } from "tap";
import { call, closeCalls, eventually } from "../peers/call.ts";
import { startLoneSidecar, type LoneSidecar } from "./lone-sidecar.ts";

export const MIB = 1_048_576;
/** What `--max-memory` says, and a sixteenth of it for messages. */
const MEMORY = 256 * MIB;
export const HELD: number = MEMORY / 16;
/** Resident memory may grow by so much, whoever attacks. */
export const GROWTH: number = 100 * MIB;
/** And is given back to within so much of what it was. */
const GIVEN_BACK = 64 * MIB;
/** Milliseconds: after a look or a trim of 40 ms, which a busy machine makes of it, the next one is 20 s away (`runtime/memory-trim.ts`). */
const GIVEN_BACK_WITHIN = 60_000;
/** Milliseconds from the end of an attack to full service. */
const RECOVERY = 5000;

export interface SmallSidecar {
  readonly sidecar: LoneSidecar;
  /** Bytes that are resident before the attack. */
  readonly quiet: number;
  /** The status of somebody else's call. */
  readonly served: () => Promise<number>;
  /** Resolves once nothing is held, all are served and memory is given back; rejects where that takes too long. */
  readonly recovered: () => Promise<void>;
}

/** Its application has `body` at `path`, and "ok" elsewhere. Ends with the test. */
export async function startSmallSidecar(
  t: Test,
  path: string,
  body: Buffer,
): Promise<SmallSidecar> {
  const sidecar = await startLoneSidecar(
    (request, response) => {
      request.resume();
      response.end(request.url === path ? body : "ok");
    },
    ["--max-memory", String(MEMORY / MIB)],
  );
  t.teardown(async () => {
    closeCalls();
    await sidecar.stop();
  });
  const served = async (): Promise<number> => {
    const { status } = await call(`http://127.0.0.1:${sidecar.published}/`, {
      headers: { host: "orders.shop" },
    });
    return status;
  };
  for (let index = 0; index < 50; index += 1) await served();
  const quiet = sidecar.resident();
  return {
    ...{ sidecar, quiet, served },
    async recovered() {
      await eventually(
        "full service after the attack, and nothing held",
        RECOVERY,
        async () => ({
          status: await served(),
          level: await sidecar.metric("wherry_overload_level"),
          held: await sidecar.metric("wherry_buffered_bytes"),
        }),
        ({ status, level, held }) =>
          status === 200 && level === 0 && held === 0,
      );
      await eventually(
        "memory is given back",
        GIVEN_BACK_WITHIN,
        () => Promise.resolve(sidecar.resident() - quiet),
        (growth) => growth < GIVEN_BACK,
      );
    },
  };
}
