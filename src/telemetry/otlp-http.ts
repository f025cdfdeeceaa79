/**
 * Spans by OTLP over HTTP: OpenTelemetry's exporter sends the messages that we write, with its time-outs, repeats and variables. Only
 * the parts of the SDK that send are loaded: as a whole it takes 13 MB of a sidecar's memory where these take 2.
 */
import {
  convertLegacyHttpOptions,
  createOtlpHttpExportDelegate,
} from "@opentelemetry/otlp-exporter-base/node-http";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import {
  SEND_WITHIN,
  tracesUrl,
  type SpanBatch,
  type SpanTransport,
  type TransportOptions,
} from "./span-transport.ts";
import { makeSpanBatch } from "./otlp.ts";

export function otlpHttpTransport({
  endpoint,
  resource,
}: TransportOptions): SpanTransport {
  const delegate = createOtlpHttpExportDelegate<SpanBatch, unknown>(
    convertLegacyHttpOptions(
      { url: tracesUrl(endpoint), timeoutMillis: SEND_WITHIN },
      "TRACES",
      "v1/traces",
      { "Content-Type": "application/x-protobuf" },
    ),
    {
      serializeRequest: (batch) => batch.message(),
      deserializeResponse: (octets) =>
        ProtobufTraceSerializer.deserializeResponse(octets),
    },
    "otlp_http_span_exporter",
    { name: "span", countItems: ({ spans }) => spans },
    undefined,
  );
  return {
    makeBatch: () => makeSpanBatch(resource),
    send: (batch, done) => delegate.export(batch, ({ error }) => done(error)),
    shutdown: () => delegate.shutdown(),
  };
}
