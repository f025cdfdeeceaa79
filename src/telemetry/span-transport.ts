/** What stands between the exporter of spans and a way to send them. */
import type { Attributes } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import { withoutFinalSlashes } from "../core/text/url.ts";
import type { SpanRecord } from "./tracing.ts";

/** Milliseconds for an export with its repeats. */
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
}

export interface TransportOptions {
  readonly endpoint: string;
  readonly resource: Attributes;
  readonly clock: Clock;
}

/** Where a collector takes spans, from its base address: as OTEL_EXPORTER_OTLP_ENDPOINT has it. */
export function tracesUrl(endpoint: string): string {
  return `${withoutFinalSlashes(endpoint)}/v1/traces`;
}
