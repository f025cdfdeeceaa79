/**
 * Hands ended spans to the OpenTelemetry SDK, which batches them and sends OTLP in protobuf over HTTP.
 *
 * The SDK costs tens of megabytes and hundreds of milliseconds to load, so it is loaded when `start` is called, after
 * readiness; spans that end before wait in a bounded queue.
 */
import type * as OpenTelemetry from "@opentelemetry/api";
import type { Logger } from "../core/log.ts";
import { messageOf } from "../core/errors.ts";
import type { SpanRecord, SpanSink } from "./tracing.ts";

export interface SpanExporterOptions {
  /** The collector's base address, "http://127.0.0.1:4318": "/v1/traces" is appended, as OTEL_EXPORTER_OTLP_ENDPOINT has it. */
  readonly endpoint: string;
  /** Resource attributes: service.name, service.namespace, service.instance.id. Asked for when the SDK is loaded. */
  readonly resource: () => OpenTelemetry.Attributes;
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

const WAITING_AT_MOST = 2048;

interface Running {
  readonly record: SpanSink;
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
      if (running !== undefined) running.record(span);
      else if (waiting.length < WAITING_AT_MOST) waiting.push(span);
      else dropped += 1;
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

async function loadSdk(options: SpanExporterOptions): Promise<Running> {
  const [api, { NodeSDK, resources, tracing }, { OTLPTraceExporter }] =
    await Promise.all([
      import("@opentelemetry/api"),
      import("@opentelemetry/sdk-node"),
      import("@opentelemetry/exporter-trace-otlp-proto"),
    ]);
  const ids = { traceId: "", spanId: "" };
  const exporter = new OTLPTraceExporter({
    url: `${options.endpoint.replace(/\/+$/, "")}/v1/traces`,
    timeoutMillis: 5000,
  });
  const sdk = new NodeSDK({
    autoDetectResources: false,
    resource: resources.resourceFromAttributes(options.resource()),
    instrumentations: [],
    // Every span that comes here was sampled when it began: OTEL_TRACES_SAMPLER is not asked again.
    sampler: new tracing.AlwaysOnSampler(),
    metricReaders: [],
    logRecordProcessors: [],
    // The ids were drawn when the span began, since they travelled with the request; the SDK is told them here.
    idGenerator: {
      generateTraceId: () => ids.traceId,
      generateSpanId: () => ids.spanId,
    },
    spanProcessors: [
      new tracing.BatchSpanProcessor(exporter, {
        scheduledDelayMillis: options.interval ?? 1000,
        maxQueueSize: 4096,
        maxExportBatchSize: 512,
      }),
    ],
  });
  sdk.start();
  const tracer = api.trace.getTracer("wherry");
  return {
    record(span) {
      ids.traceId = span.traceId;
      ids.spanId = span.spanId;
      replay(api, tracer, span);
    },
    shutdown: () => sdk.shutdown(),
  };
}

function replay(
  api: typeof OpenTelemetry,
  tracer: OpenTelemetry.Tracer,
  span: SpanRecord,
): void {
  const { SpanKind, SpanStatusCode } = api;
  const opened = tracer.startSpan(
    span.name,
    {
      kind: span.kind === "server" ? SpanKind.SERVER : SpanKind.CLIENT,
      startTime: span.start,
      attributes: { ...span.attributes },
      root: span.parentSpanId === undefined,
    },
    parentOf(api, span),
  );
  if (span.error !== undefined)
    opened.setStatus({ code: SpanStatusCode.ERROR, message: span.error });
  opened.end(span.end);
}

function parentOf(
  api: typeof OpenTelemetry,
  span: SpanRecord,
): OpenTelemetry.Context {
  if (span.parentSpanId === undefined) return api.ROOT_CONTEXT;
  return api.trace.setSpanContext(api.ROOT_CONTEXT, {
    traceId: span.traceId,
    spanId: span.parentSpanId,
    traceFlags: api.TraceFlags.SAMPLED,
    isRemote: span.kind === "server",
    ...(span.traceState === undefined
      ? {}
      : { traceState: api.createTraceState(span.traceState) }),
  });
}
