/** One connection, one call after the other: nothing can be gathered, so each wake-up counts. */
import { wrk } from "../load/wrk.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { EVERYONE, PLAIN, type Scenario } from "../scenario.ts";

export const serial: Scenario = {
  name: "serial",
  families: ["hop"],
  title:
    "GET, 130 bytes back; one connection, one call after the other; 1 % traced; link in HTTP/2",
  setup: PLAIN,
  contenders: EVERYONE,
  reference: "Envoy",
  columns: ["cpu", "cpuOut", "cpuIn", "rate", "p50", "p99", "p999"],
  goals: [{ figure: "cpu", of: "ratio", atMost: 0.6 }],
  run: (stage) =>
    withPair(stage, async (pair) =>
      callFigures(
        stage,
        pair,
        await measure(stage, pair, (seconds) =>
          wrk({
            port: OUTBOUND_PORT,
            core: stage.loadCore,
            connections: 1,
            call: "get",
            tracing: stage.settings.tracing,
            seconds,
          }),
        ),
      ),
    ),
};
