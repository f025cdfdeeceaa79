/** Calls with a token that the inbound proxy verifies: the same one each time, so that it is known from before. */
import { wrk } from "../load/wrk.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { PLAIN, type Scenario } from "../scenario.ts";
import { benchToken } from "../token.ts";

export const withToken: Scenario = {
  name: "get-token",
  families: ["calls"],
  title:
    "GET with a token, 130 bytes back; the inbound proxy verifies it (ES256) and knows it again; closed loop; link in HTTP/2",
  setup: { ...PLAIN, token: true },
  contenders: [{ peer: "Wherry" }, { peer: "Envoy" }],
  reference: "Envoy",
  columns: [
    ...(["cpu", "cpuOut", "cpuIn", "rate"] as const),
    ...(["p50", "p99", "p999", "rssOut", "rssIn"] as const),
  ],
  goals: [{ figure: "cpu", of: "ratio", atMost: 0.5 }],
  run: (stage) =>
    withPair(stage, async (pair) => {
      const measured = await measure(stage, pair, (seconds) =>
        wrk({
          port: OUTBOUND_PORT,
          connections: stage.connections,
          core: stage.loadCore,
          call: { kind: "token", token: benchToken().token },
          tracing: stage.settings.tracing,
          seconds,
        }),
      );
      return callFigures(stage, pair, measured);
    }),
};
