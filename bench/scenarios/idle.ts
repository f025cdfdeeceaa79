/** Connections that are open and silent, of callers and of the link: what memory they keep. */
import { wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import {
  openCaller,
  openMany,
  sessionOpener,
  type Open,
} from "../load/connections.ts";
import { withPair, type Pair } from "../pair.ts";
import type { Running } from "../processes.ts";
import { PLAIN, type Run, type Scenario, type Stage } from "../scenario.ts";

const COUNT = 5000;
/** Besides those, what comes first and goes. */
const ALLOWED = 6000;
const AT_ONCE = 50;
/** Milliseconds before memory is read. */
const SETTLE = 3000;

export function idleScenarios(): Scenario[] {
  const common = {
    families: ["life"],
    setup: { ...PLAIN, connections: ALLOWED },
    reference: "Envoy",
    columns: ["rssIdle", "rssConnections", "perConnection"],
    goals: [],
  } as const;
  return [
    {
      ...common,
      name: "idle",
      title: `${COUNT} idle connections of callers to the outbound proxy, each of which has made one call`,
      contenders: [
        { peer: "Wherry" },
        { peer: "Envoy" },
        { peer: "HAProxy" },
        { peer: "nginx" },
        { peer: "http-proxy" },
      ],
      run: (stage) =>
        withPair(stage, (pair) => hold(stage, pair, pair.outbound, openCaller)),
    },
    {
      ...common,
      name: "idle-link",
      title: `${COUNT} idle connections of the link to the inbound proxy, HTTP/2 over mutual TLS, each of which has made one call`,
      contenders: [{ peer: "Wherry" }, { peer: "Envoy" }, { peer: "HAProxy" }],
      run: (stage) =>
        withPair(stage, (pair) =>
          hold(stage, pair, pair.inbound, sessionOpener(stage.settings)),
        ),
    },
  ];
}

async function hold(
  stage: Stage,
  pair: Pair,
  measured: Running,
  open: Open,
): Promise<Run> {
  const settle = (): Promise<void> =>
    wait(stage.clock, SETTLE, new AbortController().signal);
  // What the first call loads is no connection's.
  for (const socket of await openMany(openCaller, AT_ONCE, AT_ONCE))
    socket.destroy();
  await settle();
  const before = measured.rss();
  const sockets = await openMany(open, COUNT, AT_ONCE);
  try {
    await settle();
    const after = measured.rss();
    const lost = sockets.filter((socket) => socket.closed).length;
    if (lost > 0)
      throw new UserError(
        `${lost} of ${COUNT} connections were closed by ${pair.outbound.name}`,
      );
    return {
      rssIdle: before,
      rssConnections: after,
      perConnection: ((after - before) * 1024) / COUNT,
    };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}
