/**
 * Gathers ended spans into messages that a transport sends: OTLP by HTTP or by gRPC, or Zipkin's JSON.
 *
 * The transport is loaded when `start` is called, after readiness, and no other is; spans that end before wait in a bounded queue.
 */
import type { Attributes } from "@opentelemetry/api";
import type { Cancel, Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { messageOf } from "../core/errors.ts";
import { ownCopy } from "../core/text/own-copy.ts";
import {
  endWithin,
  type OtlpProtocol,
  type SpanBatch,
  type SpanTransport,
} from "./span-transport.ts";
import type { SpanRecord, SpanSink } from "./tracing.ts";

export type SpanProtocol = OtlpProtocol | "zipkin";

export interface SpanExporterOptions {
  /** The collector's base address, "http://127.0.0.1:4318"; of Zipkin, where it takes spans: ".../api/v2/spans". */
  readonly endpoint: string;
  /** "http/protobuf" unless given. */
  readonly protocol?: SpanProtocol | undefined;
  /** Resource attributes: service.name, service.namespace, service.instance.id. Asked for when the SDK is loaded. */
  readonly resource: () => Attributes;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Milliseconds between two batches. */
  readonly interval?: number;
}

export interface SpanExporter {
  readonly sink: SpanSink;
  /** Spans that found the queue full. */
  readonly dropped: number;
  /** Loads the SDK and sends what has waited. */
  start(): Promise<void>;
  /** Sends what is left, for at most five seconds. */
  close(): Promise<void>;
}

/** Spans that wait for the SDK to be loaded. */
const WAITING_AT_MOST = 2048;
/** Characters of them: a caller says how long a path is, and that it is sampled. */
const WAITING_LENGTH = 4 * 1024 * 1024;
/** Spans that wait to be sent or for a response, some 0.7 KiB each: two seconds of four thousand a second. */
const QUEUED_AT_MOST = 8192;
/** Bytes of them, for there may be long ones. */
const HELD_AT_MOST = 16 * 1024 * 1024;
/** Spans in one message, and bytes after which it is sent: what is spent on a message hardly depends on it. */
const BATCH = 1024;
const BATCH_OCTETS = 1024 * 1024;
/** Batches that wait to be used again. */
const IDLE_AT_MOST = 2;

interface Running {
  /** False where there are too many already. */
  record(span: SpanRecord): boolean;
  shutdown(): Promise<void>;
}

export function makeSpanExporter(options: SpanExporterOptions): SpanExporter {
  let waiting: SpanRecord[] | undefined = [];
  let waitingLength = 0;
  let dropped = 0;
  let running: Running | undefined;
  let starting: Promise<void> | undefined;
  return {
    get dropped() {
      return dropped;
    },
    sink(span) {
      if (running !== undefined || waiting === undefined) {
        if (running?.record(span) !== true) dropped += 1;
        return;
      }
      const length = lengthOf(span);
      if (
        waiting.length >= WAITING_AT_MOST ||
        waitingLength + length > WAITING_LENGTH
      ) {
        dropped += 1;
        return;
      }
      waitingLength += length;
      waiting.push(detached(span));
    },
    start() {
      starting ??= loadTransport(options).then(
        (transport) => {
          const loaded = runWith(transport, options);
          running = loaded;
          for (const span of waiting ?? []) loaded.record(span);
          waiting = undefined;
        },
        // Traffic goes on without its traces.
        (error: unknown) => {
          dropped += waiting?.length ?? 0;
          waiting = undefined;
          options.logger.error(
            { error: messageOf(error) },
            "no spans are sent: the exporter does not start",
          );
        },
      );
      return starting;
    },
    async close() {
      await starting;
      try {
        await running?.shutdown();
      } catch (error) {
        options.logger.warn(
          { error: messageOf(error) },
          "spans were lost at shutdown",
        );
      }
    },
  };
}

/** Characters of its texts. */
function lengthOf({ name, attributes }: SpanRecord): number {
  return Object.values(attributes).reduce<number>(
    (sum, value) => sum + (typeof value === "string" ? value.length : 0),
    name.length,
  );
}

/** With texts of its own: a caller's are views of its whole head. */
function detached(span: SpanRecord): SpanRecord {
  const attributes = Object.entries(span.attributes).map(
    ([key, value]) =>
      [key, typeof value === "string" ? ownCopy(value) : value] as const,
  );
  const { traceState } = span;
  return {
    ...span,
    attributes: Object.fromEntries(attributes),
    traceState: traceState === undefined ? undefined : ownCopy(traceState),
  };
}

async function loadTransport({
  endpoint,
  protocol,
  clock,
  resource,
}: SpanExporterOptions): Promise<SpanTransport> {
  const options = { endpoint, clock, resource: resource() };
  if (protocol === "zipkin")
    return (await import("./zipkin.ts")).zipkinTransport(options);
  return protocol === "grpc"
    ? (await import("./otlp-grpc.ts")).otlpGrpcTransport(options)
    : (await import("./otlp-http.ts")).otlpHttpTransport(options);
}

function runWith(
  transport: SpanTransport,
  options: SpanExporterOptions,
): Running {
  const told = tellOfLosses(options.logger);
  const idle: SpanBatch[] = [];
  const underWay = { spans: 0, octets: 0 };
  let batch = transport.makeBatch();
  let cancel: Cancel | undefined;

  const send = (): void => {
    cancel?.();
    cancel = undefined;
    if (batch.spans === 0) return;
    const sent = batch;
    const { spans, octets } = sent;
    batch = idle.pop() ?? transport.makeBatch();
    underWay.spans += spans;
    underWay.octets += octets;
    transport.send(sent, (error) => {
      underWay.spans -= spans;
      underWay.octets -= octets;
      told(spans, error);
      sent.clear();
      if (idle.length < IDLE_AT_MOST) idle.push(sent);
    });
  };

  return {
    record(span) {
      if (
        underWay.spans + batch.spans >= QUEUED_AT_MOST ||
        underWay.octets + batch.octets >= HELD_AT_MOST
      )
        return false;
      batch.add(span);
      if (batch.spans >= BATCH || batch.octets >= BATCH_OCTETS) send();
      else cancel ??= options.clock.after(options.interval ?? 1000, send);
      return true;
    },
    async shutdown() {
      send();
      await endWithin(options.clock, transport.shutdown(), () =>
        transport.abort(),
      );
    },
  };
}

/** Says once that spans are lost, and why, and once that they arrive again. */
function tellOfLosses(
  logger: Logger,
): (spans: number, error: Error | undefined) => void {
  let lost = 0;
  return (spans, error) => {
    if (error !== undefined) {
      if (lost === 0)
        logger.warn(
          { error: messageOf(error) },
          "the collector does not take spans: they are lost until it does",
        );
      lost += spans;
    } else if (lost > 0) {
      logger.info({ lost }, "the collector takes spans again");
      lost = 0;
    }
  };
}
