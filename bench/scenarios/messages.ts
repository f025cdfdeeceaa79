/** Messages on what stays open: WebSockets, and streams of gRPC in both directions. */
import { exchange, grpcTalker, webSocketTalker } from "../load/messages.ts";
import type { LoadResult } from "../load/tool.ts";
import { callFigures, measure, withPair } from "../pair.ts";
import {
  PLAIN,
  type Contender,
  type Run,
  type Scenario,
  type Stage,
} from "../scenario.ts";

const BYTES = 130;
const TALKS = 32;
/** Streams on one connection of a caller. */
const STREAMS = 8;
const CONTENDERS: readonly Contender[] = [
  { peer: "Wherry" },
  { peer: "Envoy" },
  { peer: "pipe" },
];

export const webSocket: Scenario = scenario(
  "websocket",
  `messages of ${BYTES} bytes on ${TALKS} WebSockets, each repeated by the application`,
  "websocket",
  (stage, seconds) =>
    exchange(webSocketTalker(BYTES), {
      seconds,
      talks: TALKS,
      clock: stage.clock,
    }),
);

export const grpcStream: Scenario = scenario(
  "grpc-stream",
  `messages of ${BYTES} bytes on ${TALKS} streams of gRPC over ${TALKS / STREAMS} connections, each repeated by the application`,
  "grpc",
  async (stage, seconds) => {
    const talker = grpcTalker(BYTES, STREAMS);
    try {
      return await exchange(talker.open, {
        seconds,
        talks: TALKS,
        clock: stage.clock,
      });
    } finally {
      talker.close();
    }
  },
);

function scenario(
  name: string,
  what: string,
  apps: "websocket" | "grpc",
  load: (stage: Stage, seconds: number) => Promise<LoadResult>,
): Scenario {
  return {
    name,
    families: ["hop"],
    title: `${what}; closed loop; link in HTTP/2`,
    setup: { ...PLAIN, apps },
    contenders: CONTENDERS,
    reference: "Envoy",
    columns: [
      ...(["cpuMessage", "cpuOut", "cpuIn", "messageRate"] as const),
      ...(["p50", "p99", "p999", "rssOut", "rssIn"] as const),
    ],
    goals: [{ figure: "cpuMessage", of: "ratio", atMost: 0.6 }],
    run: (stage) =>
      withPair(stage, async (pair) => {
        const measured = await measure(stage, pair, (seconds) =>
          load(stage, seconds),
        );
        return messageFigures(callFigures(stage, pair, measured));
      }),
  };
}

/** A message and its answer are what a call is elsewhere. */
function messageFigures({ cpu, rate, ...others }: Run): Run {
  return {
    ...others,
    ...(cpu === undefined ? {} : { cpuMessage: cpu }),
    ...(rate === undefined ? {} : { messageRate: rate }),
  };
}
