/** Small calls beside bulk: four transfers that never end, and what they do to the tail of calls that share the proxies with them. */
import { fortio } from "../load/fortio.ts";
import { withoutErrors } from "../load/tool.ts";
import { wrk } from "../load/wrk.ts";
import { measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT } from "../peer.ts";
import { EVERYONE, PLAIN, type Scenario } from "../scenario.ts";

/** Small enough to end within the two seconds that an attempt has. */
const PATH = "/4m";
const TRANSFERS = 4;
/** Of the small calls, a second. */
const RATE = 200;
const CONNECTIONS = 8;
const MIB = 1024 * 1024;

export const bulk: Scenario = {
  name: "bulk",
  families: ["hop"],
  title: `${RATE} small calls a second, evenly spaced, beside ${TRANSFERS} transfers of 4 MiB each, again and again; 1 % traced; link in HTTP/2`,
  setup: PLAIN,
  contenders: EVERYONE,
  reference: "Envoy",
  columns: ["p50", "p99", "p999", "throughput", "rssOut", "rssIn"],
  goals: [{ figure: "p99", of: "ratio", atMost: 1 }],
  run: (stage) =>
    withPair(stage, async (pair) => {
      const load = {
        port: OUTBOUND_PORT,
        core: stage.loadCore,
        tracing: stage.settings.tracing,
      };
      const { result, stolen } = await measure(stage, pair, async (seconds) => {
        const [transfers, calls] = await Promise.all([
          wrk({
            ...load,
            connections: TRANSFERS,
            call: { kind: "download", path: PATH },
            seconds,
          }),
          fortio({
            ...load,
            connections: CONNECTIONS,
            call: "get",
            rate: RATE,
            seconds,
          }),
        ]);
        const moved = withoutErrors(transfers).bytes;
        return { ...calls, throughput: moved / MIB / transfers.seconds };
      });
      const { p50, p99, p999, throughput, reached } = result;
      return {
        ...{ p50, p99, p999, throughput, stolen },
        ...(reached === undefined ? {} : { reached }),
        rssOut: pair.outbound.rss(),
        rssIn: pair.inbound.rss(),
      };
    }),
};
