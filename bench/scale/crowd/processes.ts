/** The processes of the crowd: two, for one is busier with a thousand sidecars than the control plane is. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Pool } from "undici";
import { messageOf, UserError } from "../../../src/core/errors.ts";
import { pinnedTo } from "../../peer.ts";
import { start, type Running } from "../../processes.ts";
import type { Bed } from "../bed.ts";
import { CALLERS, PORTS, READY_WITHIN } from "../layout.ts";
import { watchCpu, type Spent } from "../schedstat.ts";
import { accountsOf } from "./accounts.ts";
import type { CrowdState } from "./main.ts";

const PROCESSES = 2;

/** What a process of the crowd does, and where it is asked. */
interface Part {
  readonly running: Running;
  readonly pool: Pool;
}

export class Crowd {
  readonly #parts: readonly Part[];

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  async look(): Promise<CrowdState> {
    const states = await Promise.all(
      this.#parts.map(async ({ running, pool }) => {
        try {
          const { body } = await pool.request({ method: "GET", path: "/" });
          return (await body.json()) as CrowdState;
        } catch (thrown) {
          throw new UserError(
            `${running.name} does not respond: ${messageOf(thrown)}: ${running.complaint()}`,
          );
        }
      }),
    );
    return states.reduce(sumOf);
  }

  /** Of all its processes. */
  watchCpu(): Spent {
    const spent = this.#parts.map(({ running }) => watchCpu(running.pid));
    return { ms: () => spent.reduce((sum, each) => sum + each.ms(), 0) };
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#parts.map(async ({ running, pool }) => {
        await pool.destroy();
        await running.stop();
      }),
    );
  }
}

/** All of them enrol at once from now on. */
export async function startCrowd(bed: Bed, count: number): Promise<Crowd> {
  const tokens = join(bed.around.directory, "crowd-tokens");
  await mkdir(tokens, { mode: 0o700 });
  // As many uses as there are sidecars: none may take two.
  for (const [account, uses] of accountsOf(count).entries())
    await writeFile(
      join(tokens, String(account)),
      await bed.api.enrolmentToken(CALLERS, `crowd-${account}`, uses, {
        labels: { app: `crowd-${account}` },
        addresses: ["10.0.0.0/8"],
      }),
      { mode: 0o600 },
    );
  const parts: Part[] = [];
  try {
    for (let index = 0; index < PROCESSES; index += 1)
      parts.push(await startPart(bed, tokens, count, index));
    return new Crowd(parts);
  } catch (thrown) {
    await new Crowd(parts).stop();
    throw thrown;
  }
}

async function startPart(
  bed: Bed,
  tokens: string,
  count: number,
  index: number,
): Promise<Part> {
  const { cores, clock, directory } = bed.around;
  const state = join(directory, `crowd-${index}`);
  await mkdir(state, { recursive: true, mode: 0o700 });
  const port = PORTS.crowd + index;
  const first = Math.floor((count * index) / PROCESSES);
  const end = Math.floor((count * (index + 1)) / PROCESSES);
  const { load, proxies } = cores;
  const running = await start(
    {
      name: "the crowd",
      command: process.execPath,
      args: [
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "main.ts"),
        ...["--first", String(first), "--count", String(end - first)],
        ...["--port", String(port), "--state", state, "--tokens", tokens],
        ...["--services", String(bed.shape.services)],
      ],
      port,
      // Sidecars have machines of their own: what the control plane leaves of its core is theirs.
      ...pinnedTo(
        load === undefined || proxies === undefined
          ? undefined
          : `${load},${proxies}`,
      ),
    },
    clock,
    READY_WITHIN,
  );
  return { running, pool: new Pool(`http://127.0.0.1:${port}`) };
}

function sumOf(left: CrowdState, right: CrowdState): CrowdState {
  const faults: Record<string, number> = { ...left.faults };
  for (const [fault, count] of Object.entries(right.faults))
    faults[fault] = (faults[fault] ?? 0) + count;
  return {
    connected: left.connected + right.connected,
    registered: left.registered + right.registered,
    lost: left.lost + right.lost,
    faults,
  };
}
