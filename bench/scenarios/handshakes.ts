/** New connections of the link: full handshakes of mutual TLS, one after the other. */
import { openAndClose, linkOpener } from "../load/connections.ts";
import { withInbound } from "../pair.ts";
import { PLAIN, type Scenario } from "../scenario.ts";

const AT_ONCE = 8;
/** Seconds. */
const WARM_UP = 1;

export const handshakes: Scenario = {
  name: "handshakes",
  families: ["life"],
  title: `new connections of mutual TLS to the inbound proxy, up to its first bytes, closed at once; ${AT_ONCE} at a time`,
  setup: PLAIN,
  contenders: [
    { peer: "Wherry" },
    { peer: "Envoy" },
    { peer: "HAProxy" },
    { peer: "nginx", setup: { link: "http/1.1" } },
  ],
  reference: "Envoy",
  columns: ["cpuConnection", "perCore", "connectionRate", "p50", "p99"],
  goals: [],
  run: (stage) =>
    withInbound(stage, async (inbound) => {
      const open = linkOpener(stage.settings);
      await openAndClose(open, WARM_UP, AT_ONCE, stage.clock);
      const before = inbound.cpu();
      const took = await openAndClose(
        open,
        stage.seconds,
        AT_ONCE,
        stage.clock,
      );
      const cpu = inbound.cpu() - before;
      const percentile = (part: number): number =>
        took[Math.floor((took.length - 1) * part)] ?? Number.NaN;
      return {
        cpuConnection: (cpu * 1e6) / took.length,
        perCore: took.length / cpu,
        connectionRate: took.length / stage.seconds,
        p50: percentile(0.5),
        p99: percentile(0.99),
      };
    }),
};
