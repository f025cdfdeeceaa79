/** Two workers beside one: what a request costs more, and whether both carry their part. */
import { fortio } from "../load/fortio.ts";
import type { LoadOptions, LoadResult } from "../load/tool.ts";
import { wrk } from "../load/wrk.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import type { Running } from "../processes.ts";
import { PLAIN, type Scenario } from "../scenario.ts";

const LABEL = "2 workers";
const TWO = { label: LABEL, setup: { workers: 2 } } as const;
const OURS = `Wherry, ${LABEL}`;

const RATE = 4000;
/** Enough that two workers are busy all the time, as those are who have a second one; and what one worker serves with time to spare. */
const MANY = 128;
const FEW = 32;

export function workerScenarios(): Scenario[] {
  return [
    closedLoop("workers", MANY),
    closedLoop("workers-32", FEW),
    scenario(
      "workers-4k",
      `${RATE.toLocaleString("en")} requests/s evenly spaced`,
      FEW,
      (options) => fortio({ ...options, call: "get", rate: RATE }),
    ),
  ];
}

function closedLoop(name: string, connections: number): Scenario {
  return scenario(
    name,
    `closed loop over ${connections} connections`,
    connections,
    (options) => wrk({ ...options, call: "get" }),
  );
}

function scenario(
  name: string,
  what: string,
  connections: number,
  load: (
    options: LoadOptions & { readonly tracing: number },
  ) => Promise<LoadResult>,
): Scenario {
  return {
    name,
    families: ["life"],
    title: `two workers in each proxy beside one: GET, 130 bytes back; ${what}; 1 % traced; proxies and load on all cores`,
    setup: PLAIN,
    contenders: [
      { peer: "Wherry" },
      { peer: "Wherry", ...TWO },
      { peer: "Envoy" },
      { peer: "Envoy", ...TWO },
    ],
    reference: "Wherry",
    cores: "shared",
    columns: [
      ...(["cpu", "cpuOut", "cpuIn", "share", "rate"] as const),
      ...(["p50", "p99", "rssOut"] as const),
    ],
    goals: [
      { figure: "cpu", of: "ratio", atMost: 1.15, contender: OURS },
      { figure: "share", of: "value", atMost: 65, contender: OURS },
    ],
    run: (stage) =>
      withPair(stage, async (pair) => {
        const proxies = [pair.outbound, pair.inbound];
        const before = proxies.map((proxy) => proxy.threads());
        const measured = await measure(stage, pair, (seconds) =>
          load({
            port: OUTBOUND_PORT,
            core: stage.loadCore,
            connections,
            tracing: stage.settings.tracing,
            seconds,
          }),
        );
        const figures = callFigures(stage, pair, measured);
        if (stage.settings.workers === 1) return figures;
        const shares = proxies.map((proxy, index) =>
          shareOfBusier(before[index] ?? new Map(), proxy),
        );
        return { ...figures, share: Math.max(...shares) };
      }),
  };
}

/** Percent of what the two busiest threads spent: the workers are those. */
function shareOfBusier(
  before: ReadonlyMap<number, number>,
  proxy: Running,
): number {
  const [busiest = 0, next = 0] = [...proxy.threads()]
    .map(([thread, seconds]) => seconds - (before.get(thread) ?? 0))
    .sort((a, b) => b - a);
  return (busiest * 100) / (busiest + next);
}
