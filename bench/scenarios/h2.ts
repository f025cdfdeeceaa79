/** Callers and a server that speak HTTP/2 in the clear: few connections with many calls on each, and many with one. */
import { h2load } from "../load/h2load.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { EVERYONE, PLAIN, type Scenario } from "../scenario.ts";

/** Both have 32 calls under way. */
const SHAPES = [
  { name: "h2", connections: 4, streams: 8 },
  { name: "h2-wide", connections: 32, streams: 1 },
] as const;

export function h2Scenarios(): Scenario[] {
  return SHAPES.map(({ name, connections, streams }) => ({
    name,
    families: name === "h2" ? ["hop", "calls"] : ["calls"],
    title: `HTTP/2 applications, GET, 130 bytes back; closed loop over ${connections} connections with ${streams} at once; 1 % traced; link in HTTP/2`,
    setup: { ...PLAIN, apps: "h2" },
    contenders: EVERYONE,
    reference: "Envoy",
    columns: [
      ...(["cpu", "cpuOut", "cpuIn", "rate"] as const),
      ...(["p50", "p99", "p999", "rssOut", "rssIn"] as const),
    ],
    goals: [{ figure: "cpu", of: "ratio", atMost: 0.5 }],
    run: (stage) =>
      withPair(stage, async (pair) =>
        callFigures(
          stage,
          pair,
          await measure(stage, pair, (seconds) =>
            h2load({
              port: OUTBOUND_PORT,
              core: stage.loadCore,
              connections,
              streams,
              seconds,
            }),
          ),
        ),
      ),
  }));
}
