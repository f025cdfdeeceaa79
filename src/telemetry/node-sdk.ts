/**
 * OpenTelemetry's SDK as a whole, as a module of our own that is loaded late (see `sdk.ts`, which has the few parts of it that a
 * sidecar needs): for the control plane, which has memory for it and few requests, and obeys the SDK's environment variables.
 */
export {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
export { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
export { envDetector, resourceFromAttributes } from "@opentelemetry/resources";
export { core, NodeSDK } from "@opentelemetry/sdk-node";
