/** Bodies: what a MiB costs, down in two sizes and up. */
import { BODIES } from "../application.ts";
import type { BodyCall } from "../load/calls.ts";
import { wrk } from "../load/wrk.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { EVERYONE, PLAIN, type Goal, type Scenario } from "../scenario.ts";

const MIB = 1024 * 1024;
const CONNECTIONS = 8;
const GOAL: Goal = { figure: "cpuMiB", of: "ratio", atMost: 1.3 };

export function bodyScenarios(): Scenario[] {
  return [
    scenario("body-64k", "64 KiB back", { kind: "download", path: "/64k" }, []),
    scenario("body-1m", "1 MiB back", { kind: "download", path: "/1m" }, [
      GOAL,
    ]),
    scenario("upload-1m", "1 MiB sent", { kind: "upload", bytes: MIB }, [GOAL]),
  ];
}

function scenario(
  name: string,
  what: string,
  call: BodyCall,
  goals: readonly Goal[],
): Scenario {
  const bytes =
    call.kind === "upload" ? call.bytes : (BODIES[call.path] ?? Number.NaN);
  return {
    name,
    families: ["hop"],
    title: `${what}; closed loop over ${CONNECTIONS} connections; 1 % traced; link in HTTP/2`,
    setup: PLAIN,
    contenders: EVERYONE,
    reference: "Envoy",
    columns: ["cpuMiB", "throughput", "p50", "p99", "rssOut", "rssIn"],
    goals,
    run: (stage) =>
      withPair(stage, async (pair) => {
        const measured = await measure(stage, pair, (seconds) =>
          wrk({
            port: OUTBOUND_PORT,
            core: stage.loadCore,
            connections: CONNECTIONS,
            call,
            tracing: stage.settings.tracing,
            seconds,
          }),
        );
        const moved = (measured.result.requests * bytes) / MIB;
        return {
          ...callFigures(stage, pair, measured),
          cpuMiB: ((measured.outbound + measured.inbound) * 1e6) / moved,
          throughput: moved / measured.result.seconds,
        };
      }),
  };
}
