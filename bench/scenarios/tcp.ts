/** Bytes of an application that speaks no HTTP: what a MiB costs, in a tunnel of HTTP/2, and with Envoy also in TLS by itself. */
import { bytesTalker, exchange } from "../load/messages.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { PLAIN, type Scenario } from "../scenario.ts";

const MIB = 1024 * 1024;
const CONNECTIONS = 8;

export const tcp: Scenario = {
  name: "tcp",
  families: ["hop"],
  title: `1 MiB asked for again and again over ${CONNECTIONS} connections of TCP; closed loop; in a tunnel of HTTP/2, and Envoy's also in TLS alone`,
  setup: { ...PLAIN, apps: "tcp" },
  contenders: [
    { peer: "Wherry" },
    { peer: "Envoy" },
    { peer: "Envoy", label: "TLS alone", setup: { link: "http/1.1" } },
  ],
  reference: "Envoy",
  // Both carry bytes over mutual TLS: how is the question.
  varies: "link-h2",
  columns: ["cpuMiB", "throughput", "p50", "p99", "rssOut", "rssIn"],
  goals: [{ figure: "cpuMiB", of: "ratio", atMost: 1.3 }],
  run: (stage) =>
    withPair(stage, async (pair) => {
      const measured = await measure(stage, pair, (seconds) =>
        exchange(bytesTalker(MIB), {
          seconds,
          talks: CONNECTIONS,
          clock: stage.clock,
        }),
      );
      const { cpu, rate, ...others } = callFigures(stage, pair, measured);
      return {
        ...others,
        ...(cpu === undefined ? {} : { cpuMiB: cpu }),
        ...(rate === undefined ? {} : { throughput: rate }),
      };
    }),
};
