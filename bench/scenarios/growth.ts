/** Growth of memory over minutes at full load. */
import { wrk } from "../load/wrk.ts";
import { withoutErrors } from "../load/tool.ts";
import { withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { summarise } from "../figures.ts";
import { PLAIN, type Scenario } from "../scenario.ts";

/** Milliseconds between two looks. */
const LOOK_EVERY = 500;

export const growth: Scenario = {
  name: "growth",
  families: ["long"],
  title:
    "growth of resident memory over --minutes at full load, the larger of the two proxies: the second tenth of the time beside the last, medians",
  setup: PLAIN,
  contenders: [{ peer: "Wherry" }, { peer: "Envoy" }],
  reference: "Envoy",
  columns: ["growth", "rssHighest", "cpu", "rate"],
  goals: [{ figure: "growth", of: "value", atMost: 10 }],
  run: (stage) =>
    withPair(stage, async (pair) => {
      const proxies = [pair.outbound, pair.inbound];
      const seen: number[][] = [[], []];
      const stop = stage.clock.every(LOOK_EVERY, () => {
        for (const [index, proxy] of proxies.entries())
          seen[index]?.push(proxy.rss());
      });
      const before = pair.outbound.cpu() + pair.inbound.cpu();
      try {
        const seconds = Math.round(stage.minutes * 60);
        const { requests } = withoutErrors(
          await wrk({
            port: OUTBOUND_PORT,
            core: stage.loadCore,
            connections: stage.connections,
            call: "get",
            tracing: stage.settings.tracing,
            seconds,
          }),
        );
        const cpu = pair.outbound.cpu() + pair.inbound.cpu() - before;
        return {
          growth: Math.max(...seen.map(grown)),
          rssHighest: Math.max(...seen.flat()),
          cpu: (cpu * 1e6) / requests,
          rate: requests / seconds,
        };
      } finally {
        stop();
      }
    }),
};

/** The first tenth is warming up. */
export function grown(samples: readonly number[]): number {
  const tenth = Math.max(1, Math.floor(samples.length / 10));
  return (
    summarise(samples.slice(-tenth)).median -
    summarise(samples.slice(tenth, 2 * tenth)).median
  );
}
