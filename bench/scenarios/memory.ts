/** Memory of a sidecar that has nothing to do, and of one that carries a moderate load. */
import { wait } from "../../src/core/clock.ts";
import { fortio } from "../load/fortio.ts";
import { withoutErrors } from "../load/tool.ts";
import { withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { EVERYONE, PLAIN, type Scenario } from "../scenario.ts";

const RATE = 1000;
/** Milliseconds after which what is loaded after readiness is loaded. */
const SETTLE = 5000;

export const memory: Scenario = {
  name: "memory",
  families: ["life"],
  title: `resident memory of the larger of the two proxies: five seconds after the start, and at ${RATE.toLocaleString("en")} requests/s evenly spaced`,
  setup: PLAIN,
  contenders: EVERYONE,
  reference: "Envoy",
  columns: ["rssIdle", "rssLoad"],
  goals: [
    { figure: "rssIdle", of: "ratio", atMost: 1.6 },
    { figure: "rssLoad", of: "ratio", atMost: 1.6 },
  ],
  run: (stage) =>
    withPair(stage, async ({ outbound, inbound }) => {
      const larger = (): number => Math.max(outbound.rss(), inbound.rss());
      await wait(stage.clock, SETTLE, new AbortController().signal);
      const rssIdle = larger();
      const { reached } = withoutErrors(
        await fortio({
          port: OUTBOUND_PORT,
          core: stage.loadCore,
          connections: stage.connections,
          call: "get",
          tracing: stage.settings.tracing,
          rate: RATE,
          seconds: stage.seconds,
        }),
      );
      return {
        rssIdle,
        rssLoad: larger(),
        ...(reached === undefined ? {} : { reached }),
      };
    }),
};
