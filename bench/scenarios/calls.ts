/** Calls of HTTP/1.1 over the link: each kind, closed loop and evenly spaced, few and all traced, the link in HTTP/2 and in HTTP/1.1. */
import type { FigureName } from "../figures.ts";
import { CALLS, type CallName } from "../load/calls.ts";
import { fortio } from "../load/fortio.ts";
import { wrk } from "../load/wrk.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import { OUTBOUND_PORT, type Protocol } from "../peer.ts";
import {
  EVERYONE,
  PLAIN,
  type Contender,
  type Family,
  type Goal,
  type Run,
  type Scenario,
  type Stage,
} from "../scenario.ts";

interface Variant {
  readonly call: CallName;
  /** Requests a second; undefined: closed loop, as fast as it goes. */
  readonly rate: number | undefined;
  readonly tracing: number;
  readonly link: Protocol;
}

/** Percent traced → rates. With every request traced Envoy needs more than its core at 4,000/s. */
const LOADS = [
  { tracing: 1, rates: [undefined, 1000, 4000] },
  { tracing: 100, rates: [undefined, 1000, 2000] },
] as const;
const LINKS = ["h2", "http/1.1"] as const;

/** The variants that the project holds itself to. */
const HELD_TO: ReadonlySet<string> = new Set([
  ...["get", "headers", "post", "get-traced", "headers-traced"],
  ...["get-1k", "get-4k", "get-2k-traced", "headers-2k-traced"],
]);

export function callScenarios(): Scenario[] {
  return (Object.keys(CALLS) as CallName[]).flatMap((call) =>
    LINKS.flatMap((link) =>
      LOADS.flatMap(({ tracing, rates }) =>
        rates.map((rate) => scenario({ call, rate, tracing, link })),
      ),
    ),
  );
}

function scenario(variant: Variant): Scenario {
  const { call, rate, tracing, link } = variant;
  const name = [
    call,
    ...(rate === undefined ? [] : [`${rate / 1000}k`]),
    ...(tracing === 100 ? ["traced"] : []),
    ...(link === "h2" ? [] : ["h1"]),
  ].join("-");
  const load =
    rate === undefined
      ? "closed loop"
      : `${rate.toLocaleString("en")} requests/s evenly spaced`;
  return {
    name,
    families: families(name, link),
    title: `${CALLS[call]}; ${load}; ${tracing} % traced; link in ${link === "h2" ? "HTTP/2" : "HTTP/1.1"}`,
    setup: { ...PLAIN, tracing, link },
    contenders: link === "h2" ? EVERYONE : LINK_CONTENDERS,
    reference: "Envoy",
    ...(link === "h2" ? {} : { varies: "link-h2" }),
    columns: columns(variant),
    goals: goals(variant),
    run: (stage) => run(stage, variant),
  };
}

/** Our link in HTTP/1.1 beside Envoy's in HTTP/2, which is the cheaper of its two, and beside the same. */
const LINK_CONTENDERS: readonly Contender[] = [
  { peer: "Wherry" },
  { peer: "Envoy", setup: { link: "h2" } },
  { peer: "Envoy", label: "H1 link" },
];

function families(name: string, link: Protocol): Family[] {
  if (link !== "h2") return ["link"];
  return HELD_TO.has(name) ? ["hop", "calls"] : ["calls"];
}

function columns({ rate, tracing }: Variant): FigureName[] {
  return [
    ...(["cpu", "cpuOut", "cpuIn"] as const),
    ...(tracing === 100 ? (["delivered"] as const) : []),
    ...(rate === undefined ? (["rate"] as const) : []),
    ...(["p50", "p99", "p999", "rssOut", "rssIn"] as const),
  ];
}

function goals({ call, rate, tracing }: Variant): Goal[] {
  const cpu = (atMost: number): Goal => ({
    figure: "cpu",
    of: "ratio",
    atMost,
  });
  if (tracing === 100) return [cpu(0.6)];
  if (rate === undefined) return call === "post" ? [] : [cpu(0.5)];
  const latency = (figure: "p50" | "p99", atMost: number): Goal => ({
    figure,
    of: "ratio",
    atMost,
  });
  // At 4,000/s Envoy's pair is busy nine tenths of the time, so its calls share turns and ours answer sooner instead.
  if (rate === 4000)
    return [cpu(0.9), latency("p50", 0.7), latency("p99", 0.9)];
  return [cpu(0.7), latency("p50", 1), latency("p99", 1)];
}

function run(stage: Stage, { call, rate, tracing }: Variant): Promise<Run> {
  return withPair(stage, async (pair) => {
    const load = {
      port: OUTBOUND_PORT,
      connections: stage.connections,
      core: stage.loadCore,
      call,
      tracing,
    };
    const measured =
      rate === undefined
        ? await measure(stage, pair, (seconds) => wrk({ ...load, seconds }))
        : await measure(stage, pair, (seconds) =>
            fortio({ ...load, rate, seconds }),
          );
    return callFigures(stage, pair, measured);
  });
}
