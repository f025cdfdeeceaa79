/** OTLP over gRPC: the same messages, which OpenTelemetry's exporter sends through gRPC's own library. */
import {
  createEmptyMetadata,
  createInsecureCredentials,
  createOtlpGrpcExportDelegate,
  createSslCredentials,
} from "@opentelemetry/otlp-grpc-exporter-base";
import {
  SEND_WITHIN,
  type OtlpDelegate,
  type OtlpMessages,
  type OtlpSignal,
  type SpanBatch,
  type SpanTransport,
  type TransportOptions,
} from "./span-transport.ts";
import { makeSpanBatch, spanMessages } from "./otlp.ts";

/** Exports at once; the exporter bounds the spans of all of them. */
const CONCURRENT = 30;

const SERVICES: Readonly<Record<OtlpSignal, readonly [string, string]>> = {
  traces: ["TraceExportService", "trace.v1.TraceService"],
  metrics: ["MetricsExportService", "metrics.v1.MetricsService"],
};

/** "http://…" is plaintext, "https://…" is TLS with the roots of Node. */
export function otlpGrpcDelegate<Message>(
  endpoint: string,
  messages: OtlpMessages<Message>,
): OtlpDelegate<Message> {
  const url = new URL(endpoint);
  const { signal, items, count } = messages;
  const [name, service] = SERVICES[signal];
  const delegate = createOtlpGrpcExportDelegate<Message, unknown>(
    {
      url: addressOf(url),
      timeoutMillis: SEND_WITHIN,
      concurrencyLimit: CONCURRENT,
      compression: "none",
      credentials: () =>
        url.protocol === "http:"
          ? createInsecureCredentials()
          : createSslCredentials(),
      metadata() {
        const metadata = createEmptyMetadata();
        // What is said of the signal comes after what is said of all, and in its place.
        for (const part of ["", `${signal.toUpperCase()}_`])
          for (const [key, value] of headersOf(
            process.env[`OTEL_EXPORTER_OTLP_${part}HEADERS`] ?? "",
          ))
            metadata.set(key, value);
        return metadata;
      },
    },
    messages,
    `otlp_grpc_${signal}_exporter`,
    { name: items, countItems: count },
    undefined,
    name,
    `/opentelemetry.proto.collector.${service}/Export`,
  );
  return {
    export: (message, done) => delegate.export(message, done),
    shutdown: () => delegate.shutdown(),
    // Each call has its deadline, which counts from its beginning.
    abort: () => undefined,
  };
}

/** With the port in any case: a URL leaves out its scheme's own, and gRPC would take that of TLS. */
export function addressOf({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port || (protocol === "http:" ? "80" : "443")}`;
}

export function otlpGrpcTransport({
  endpoint,
  resource,
}: TransportOptions): SpanTransport {
  const delegate = otlpGrpcDelegate<SpanBatch>(endpoint, spanMessages);
  return {
    makeBatch: () => makeSpanBatch(resource),
    send: (batch, done) => delegate.export(batch, ({ error }) => done(error)),
    shutdown: () => delegate.shutdown(),
    abort: () => delegate.abort(),
  };
}

/** "key=value,key2=value2", as OpenTelemetry's variables have headers; values may be percent-encoded. */
function headersOf(text: string): [string, string][] {
  return text.split(",").flatMap((pair): [string, string][] => {
    const equals = pair.indexOf("=");
    const key = pair.slice(0, Math.max(0, equals)).trim().toLowerCase();
    return key === "" ? [] : [[key, decoded(pair.slice(equals + 1).trim())]];
  });
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
