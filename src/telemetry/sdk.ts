/**
 * What is used of OpenTelemetry's SDK, as a module of our own that is loaded late: a bundle gives a late import of a CommonJS
 * package its default export and no names. Only the parts that send spans: the SDK as a whole takes 13 MB of a sidecar's memory
 * where these take 2.
 */
export {
  convertLegacyHttpOptions,
  createOtlpHttpExportDelegate,
} from "@opentelemetry/otlp-exporter-base/node-http";
export { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
