/** Sends what `/metrics` shows to a collector at an interval, by OTLP; what sends it is loaded when `start` is called, after readiness. */
import type { Attributes } from "@opentelemetry/api";
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { defectIn, type Logger } from "../core/log.ts";
import {
  endWithin,
  type MetricsTransport,
  type OtlpDestination,
} from "./span-transport.ts";

export interface MetricsExporterOptions extends OtlpDestination {
  /** Milliseconds between two messages. */
  readonly interval: number;
  /** Prometheus text of all that is counted, as `/metrics` shows it. */
  readonly read: () => Promise<string>;
  readonly resource: () => Attributes;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface MetricsExporter {
  start(): Promise<void>;
  /** Sends the last counts, for at most five seconds. */
  close(): Promise<void>;
}

export function makeMetricsExporter(
  options: MetricsExporterOptions,
): MetricsExporter {
  const { clock, logger, read, interval } = options;
  let transport: MetricsTransport | undefined;
  let stop: Cancel | undefined;
  let starting: Promise<void> | undefined;
  let sending: Promise<void> | undefined;
  let failing = false;
  const failed = defectIn(logger, "the export of metrics");

  const send = async (to: MetricsTransport): Promise<void> => {
    const error = await read().then((text) => to.send(text), asError);
    if (error !== undefined && !failing)
      logger.warn(
        { error: messageOf(error) },
        "the collector does not take metrics: it gets the next ones",
      );
    if (error === undefined && failing)
      logger.info("the collector takes metrics again");
    failing = error !== undefined;
  };
  /** One message at a time: counts add up, so a later one says all that an earlier one did. */
  const sendNext = (to: MetricsTransport): Promise<void> => {
    sending ??= send(to).finally(() => (sending = undefined));
    return sending;
  };

  const load = async (): Promise<void> => {
    try {
      const { metricsTransport } = await import("./otlp-metrics.ts");
      const loaded = metricsTransport({
        ...options,
        resource: options.resource(),
      });
      transport = loaded;
      stop = clock.every(interval, () => {
        sendNext(loaded).catch(failed);
      });
    } catch (thrown) {
      logger.error(
        { error: messageOf(thrown) },
        "no metrics are sent: the exporter does not start",
      );
    }
  };

  const sendLast = async (to: MetricsTransport): Promise<void> => {
    await sending;
    await sendNext(to);
    await to.shutdown();
  };

  return {
    start: () => (starting ??= load()),
    async close() {
      await starting;
      stop?.();
      const to = transport;
      if (to === undefined) return;
      await endWithin(clock, sendLast(to), () => to.abort()).catch(
        (error: unknown) =>
          logger.warn(
            { error: messageOf(error) },
            "the last metrics were lost at shutdown",
          ),
      );
    },
  };
}

function asError(thrown: unknown): Error {
  return new Error(messageOf(thrown));
}
