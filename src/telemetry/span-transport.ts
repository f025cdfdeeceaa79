/** What stands between the exporters and the ways to send what they have. */
import type { Attributes } from "@opentelemetry/api";
import type { IOtlpExportDelegate } from "@opentelemetry/otlp-exporter-base";
import type { Cancel, Clock } from "../core/clock.ts";
import { withoutFinalSlashes } from "../core/text/url.ts";
import type { SpanRecord } from "./tracing.ts";

/** Milliseconds for an export with its repeats, and for all that is left at the end. */
export const SEND_WITHIN = 5000;

/** A message that is written as spans end, so that no batch is encoded in one go. */
export interface SpanBatch {
  readonly spans: number;
  /** Bytes of the message, so far. */
  readonly octets: number;
  add(span: SpanRecord): void;
  /** Good until the batch is cleared. */
  message(): Uint8Array;
  clear(): void;
}

/** How batches reach a collector. */
export interface SpanTransport {
  makeBatch(): SpanBatch;
  /** Tries again where that may help; `done` once, with the error where the spans are lost. */
  send(batch: SpanBatch, done: (error: Error | undefined) => void): void;
  /** When what is on its way has arrived or is lost. */
  shutdown(): Promise<void>;
  /** Gives up what is on its way. */
  abort(): void;
}

export interface TransportOptions {
  readonly endpoint: string;
  readonly resource: Attributes;
  readonly clock: Clock;
}

/** "http/protobuf" and "grpc" are OTLP, as OTEL_EXPORTER_OTLP_PROTOCOL names them. */
export type OtlpProtocol = "http/protobuf" | "grpc";

export interface OtlpDestination {
  /** The collector's base address, "http://127.0.0.1:4318". */
  readonly endpoint: string;
  readonly protocol: OtlpProtocol;
}

export type OtlpSignal = "traces" | "metrics";

/** How messages of a signal are written, and responses read. */
export interface OtlpMessages<Message> {
  readonly signal: OtlpSignal;
  /** What `count` counts. */
  readonly items: "span" | "metric_data_point";
  serializeRequest(message: Message): Uint8Array | undefined;
  deserializeResponse(octets: Uint8Array): unknown;
  readonly count: (message: Message) => number;
}

/** What of OpenTelemetry's exporters is used. */
export interface OtlpDelegate<Message> extends Pick<
  IOtlpExportDelegate<Message>,
  "export" | "shutdown"
> {
  /** Gives up what is on its way. */
  abort(): void;
}

/** How the text of `/metrics` reaches a collector. */
export interface MetricsTransport {
  /** Undefined where it has arrived. */
  send(text: string): Promise<Error | undefined>;
  shutdown(): Promise<void>;
  /** Gives up what is on its way. */
  abort(): void;
}

/** Waits for `end`, the last of an exporter, for five seconds at most: throws where it takes longer, and calls `abort`. */
export async function endWithin(
  clock: Clock,
  end: Promise<void>,
  abort: () => void,
): Promise<void> {
  let cancel: Cancel | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(SEND_WITHIN, () => {
      abort();
      reject(
        new Error(`the collector took over ${SEND_WITHIN / 1000} s for them`),
      );
    });
  });
  try {
    await Promise.race([end, late]);
  } finally {
    cancel?.();
  }
}

/** Where a collector takes a signal, from its base address: as OTEL_EXPORTER_OTLP_ENDPOINT has it. */
export function otlpUrl(endpoint: string, signal: OtlpSignal): string {
  return `${withoutFinalSlashes(endpoint)}/v1/${signal}`;
}
