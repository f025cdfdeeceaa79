/**
 * OpenTelemetry's SDK as a whole, as a module of our own that is loaded late (see `otlp-http.ts`, which has the few parts of it that
 * a sidecar needs): for the control plane, which has the memory for it and few requests, and obeys the SDK's own variables.
 */
export { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
export { api, core, NodeSDK, resources } from "@opentelemetry/sdk-node";
