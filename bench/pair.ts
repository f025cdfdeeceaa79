/** A pair of proxies for one run: started, warmed, loaded, and what the kernel says that it cost. */
import { wait } from "../src/core/clock.ts";
import { UserError } from "../src/core/errors.ts";
import type { LoadResult } from "./load/tool.ts";
import { withoutErrors } from "./load/tool.ts";
import { isServed } from "./load/connections.ts";
import { start, untilReady, type Running } from "./processes.ts";
import type { Run, Stage } from "./scenario.ts";
import { countStolen } from "./stolen.ts";

export interface Pair {
  readonly outbound: Running;
  readonly inbound: Running;
}

/** Milliseconds. */
const SERVED_WITHIN = 10_000;
/** From this percentage on, spans are waited for and counted. */
const ALL_TRACED = 100;
/** A server and a client span at each of the two proxies. */
const SPANS_A_REQUEST = 4;

export async function withPair<T>(
  stage: Stage,
  use: (pair: Pair) => Promise<T>,
): Promise<T> {
  return withInbound(stage, async (inbound) => {
    const outbound = await start(stage.peer.outbound, stage.clock);
    try {
      await untilServed(stage);
      return await use({ outbound, inbound });
    } finally {
      await outbound.stop();
    }
  });
}

/** A proxy may listen before it has its configuration: its refusals of the first moment are nobody's figures. */
async function untilServed({ clock, settings, peer }: Stage): Promise<void> {
  const until = clock.now() + SERVED_WITHIN;
  while (!(await isServed(settings.apps))) {
    if (clock.now() > until)
      throw new UserError(`${peer.outbound.name} does not serve`);
    await wait(clock, 50, new AbortController().signal);
  }
}

export async function withInbound<T>(
  stage: Stage,
  use: (inbound: Running) => Promise<T>,
): Promise<T> {
  const { peer, clock } = stage;
  const inbound = await start(peer.inbound, clock);
  try {
    if (peer.readiness !== undefined)
      await untilReady(inbound, peer.readiness, clock);
    return await use(inbound);
  } finally {
    await inbound.stop();
  }
}

export interface Measured<T> {
  readonly result: T;
  /** CPU seconds. */
  readonly outbound: number;
  readonly inbound: number;
  /** Percent of the spans that arrived, where all requests were traced. */
  readonly delivered: number | undefined;
  /** Percent of the cores' time that the hypervisor took. */
  readonly stolen: number;
}

/** The load twice: to warm up, and for the figures. What the exporters do after the last request is theirs as well. */
export async function measure<T extends LoadResult>(
  stage: Stage,
  pair: Pair,
  load: (seconds: number) => Promise<T>,
): Promise<Measured<T>> {
  const { collector, settings, peer } = stage;
  const traced = settings.tracing >= ALL_TRACED && peer.features.has("tracing");
  await load(stage.warmUp);
  if (traced) await collector.settled();
  const spans = collector.spans;
  const outbound = pair.outbound.cpu();
  const inbound = pair.inbound.cpu();
  const stolen = countStolen();
  const result = withoutErrors(await load(stage.seconds));
  const stolenShare = stolen();
  if (traced) await collector.settled();
  return {
    result,
    outbound: pair.outbound.cpu() - outbound,
    inbound: pair.inbound.cpu() - inbound,
    delivered: traced
      ? ((collector.spans - spans) * 100) / (result.requests * SPANS_A_REQUEST)
      : undefined,
    stolen: stolenShare,
  };
}

/** The figures that every measurement of calls gives. */
export function callFigures(
  stage: Stage,
  pair: Pair,
  measured: Measured<LoadResult>,
): Run {
  const { result, outbound, inbound, delivered, stolen } = measured;
  const micros = 1e6 / result.requests;
  return {
    cpu: (outbound + inbound) * micros,
    cpuOut: outbound * micros,
    cpuIn: inbound * micros,
    rate: result.requests / stage.seconds,
    p50: result.p50,
    p99: result.p99,
    p999: result.p999,
    ...(result.reached === undefined ? {} : { reached: result.reached }),
    ...(delivered === undefined ? {} : { delivered }),
    rssOut: pair.outbound.rss(),
    rssIn: pair.inbound.rss(),
    stolen,
  };
}
