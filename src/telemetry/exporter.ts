/**
 * Hands ended spans to the OpenTelemetry SDK, which batches them and sends OTLP in protobuf over HTTP.
 *
 * The SDK is loaded when `start` is called, after readiness; spans that end before wait in a bounded queue.
 */
import type { Attributes, HrTime, SpanContext } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import type { Logger } from "../core/log.ts";
import { messageOf } from "../core/errors.ts";
import type * as Sdk from "./sdk.ts";
import type { SpanRecord, SpanSink } from "./tracing.ts";

export interface SpanExporterOptions {
  /** The collector's base address, "http://127.0.0.1:4318". */
  readonly endpoint: string;
  /** Resource attributes: service.name, service.namespace, service.instance.id. Asked for when the SDK is loaded. */
  readonly resource: () => Attributes;
  readonly logger: Logger;
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
/** Spans that wait to be sent, some 1 KiB each: two seconds of four thousand a second. */
const QUEUED_AT_MOST = 8192;
/** Spans in one message: what is spent on a message hardly depends on it. */
const BATCH = 1024;

interface Running {
  /** False where there are too many already. */
  record(span: SpanRecord): boolean;
  shutdown(): Promise<void>;
}

export function makeSpanExporter(options: SpanExporterOptions): SpanExporter {
  const waiting: SpanRecord[] = [];
  let dropped = 0;
  let running: Running | undefined;
  let starting: Promise<void> | undefined;
  return {
    get dropped() {
      return dropped;
    },
    sink(span) {
      if (running === undefined && waiting.length < WAITING_AT_MOST)
        waiting.push(span);
      else if (running?.record(span) !== true) dropped += 1;
    },
    start() {
      starting ??= loadSdk(options).then(
        (loaded) => {
          running = loaded;
          for (const span of waiting.splice(0)) loaded.record(span);
        },
        // Traffic goes on without its traces.
        (error: unknown) =>
          options.logger.error(
            { error: messageOf(error) },
            "no spans are sent: the OpenTelemetry SDK does not start",
          ),
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

/** Where a collector takes spans, from its base address: as OTEL_EXPORTER_OTLP_ENDPOINT has it. */
export function tracesUrl(endpoint: string): string {
  return `${endpoint.replace(/\/+$/, "")}/v1/traces`;
}

async function loadSdk(options: SpanExporterOptions): Promise<Running> {
  const sdk = await import("./sdk.ts");
  const otlp = new sdk.OTLPTraceExporter({
    url: tracesUrl(options.endpoint),
    timeoutMillis: 5000,
  });
  const resource = sdk.resourceFromAttributes(options.resource());
  let queued = 0;
  const processor = new sdk.BatchSpanProcessor(
    {
      export(spans, done) {
        queued -= spans.length;
        otlp.export(spans, done);
      },
      forceFlush: () => otlp.forceFlush(),
      shutdown: () => otlp.shutdown(),
    },
    {
      scheduledDelayMillis: options.interval ?? 1000,
      maxQueueSize: QUEUED_AT_MOST,
      maxExportBatchSize: BATCH,
    },
  );
  return {
    record(span) {
      // What the processor would drop it drops in silence: it is counted here.
      if (queued >= QUEUED_AT_MOST) return false;
      queued += 1;
      processor.onEnd(readable(sdk, resource, span));
      return true;
    },
    shutdown: () => processor.shutdown(),
  };
}

const NOTHING: never[] = [];
const SCOPE = { name: "wherry" };

/**
 * The record as the SDK's exporters read spans. It goes to the processor as it is: to open a span with the SDK's tracer, set
 * what is known already and end it took as long as to send it.
 */
function readable(
  sdk: typeof Sdk,
  resource: ReadableSpan["resource"],
  span: SpanRecord,
): ReadableSpan {
  const { traceId, spanId, parentSpanId, error } = span;
  const startTime = hrTime(span.start);
  const endTime = hrTime(span.end);
  const context: SpanContext = {
    traceId,
    spanId,
    traceFlags: sdk.TraceFlags.SAMPLED,
    ...(span.traceState === undefined
      ? {}
      : { traceState: sdk.createTraceState(span.traceState) }),
  };
  return {
    name: span.name,
    kind: span.kind === "server" ? sdk.SpanKind.SERVER : sdk.SpanKind.CLIENT,
    spanContext: () => context,
    ...(parentSpanId === undefined
      ? {}
      : {
          parentSpanContext: {
            ...context,
            spanId: parentSpanId,
            isRemote: span.kind === "server",
          },
        }),
    startTime,
    endTime,
    duration: hrTime(span.end - span.start),
    status:
      error === undefined
        ? { code: sdk.SpanStatusCode.UNSET }
        : { code: sdk.SpanStatusCode.ERROR, message: error },
    attributes: span.attributes,
    links: NOTHING,
    events: NOTHING,
    ended: true,
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** Milliseconds with a fraction to seconds and nanoseconds. */
function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  const nanoseconds = Math.round((ms - seconds * 1000) * 1e6);
  return nanoseconds < 1e9 ? [seconds, nanoseconds] : [seconds + 1, 0];
}
