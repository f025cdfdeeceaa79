/**
 * Spans of the data path: sampling is decided before a span exists, and what is not sampled costs one traceparent.
 *
 * A sampled span is a plain record until it ends; then it goes to a sink, which the OpenTelemetry SDK serves once it is
 * loaded (`exporter.ts`). So the SDK is off the path of a request and need not be there when the first one comes.
 */
import type { Clock } from "../core/clock.ts";
import type { Fields } from "../wire/fields.ts";
import {
  readContext,
  recorded,
  unrecorded,
  type Incoming,
} from "./propagation.ts";
import type { RequestRules } from "./request-rules.ts";
import { newSpanId, newTraceId } from "./trace-context.ts";

export type AttributeValue = string | number | boolean;

export interface SpanRecord {
  readonly name: string;
  readonly kind: "server" | "client";
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly traceState: string | undefined;
  /** The random flag of the trace (Trace Context Level 2). */
  readonly random: boolean;
  /** B3's debug flag. */
  readonly debug: boolean;
  /** Milliseconds since the epoch, with a fraction. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** The span's error description; undefined where it did not fail. */
  readonly error: string | undefined;
}

/** Takes ended spans. Must not throw and must not block. */
export type SpanSink = (span: SpanRecord) => void;

/** How an exchange ended, as spans tell it. */
export interface SpanOutcome {
  /** HTTP status; undefined where there was none. */
  readonly status: number | undefined;
  /** Our reason code, or the kind of failure: becomes `error.type` where the exchange failed. */
  readonly reason?: string | undefined;
}

/** What the Telemetry in force says of spans. */
export type SpanRules = Pick<
  RequestRules,
  "samplingPercentage" | "reportsSpans" | "tags"
>;

/** What a trace asks of its request, and only where it is sampled. */
export interface SpanSubject {
  readonly rules: SpanRules;
  readonly spanName: string;
  serverAttributes(): Record<string, AttributeValue>;
  /** Those of the attempt that is about to begin. */
  clientAttributes(): Record<string, AttributeValue>;
}

/** One attempt upstream. */
export interface ClientTrace {
  /** The trace context to send with the attempt, in place of the fields that came. */
  readonly fields: Fields;
  attribute(key: string, value: AttributeValue): void;
  end(outcome: SpanOutcome): void;
}

/** One request as this proxy serves it. */
export interface ServerTrace {
  readonly traceId: string;
  /** Its spans go somewhere. */
  readonly reports: boolean;
  attribute(key: string, value: AttributeValue): void;
  /** The span of one attempt, a child of this one. */
  client(): ClientTrace;
  end(outcome: SpanOutcome): void;
}

export interface Tracing {
  /** Begins the span of a request. `fields` are those that came. */
  server(fields: Fields, subject: SpanSubject): ServerTrace;
}

export interface TracingOptions {
  readonly clock: Clock;
  /** Percent of traces that begin here to be sampled; a parent's decision is respected. Asked at each request. */
  readonly samplingPercentage: (rules: SpanRules) => number;
  /** Forms of B3 that go with every request (`b3.ts`), besides those that came with it. Read at each request. */
  readonly forms: () => number;
  readonly sink: SpanSink;
}

export function makeTracing(options: TracingOptions): Tracing {
  const { clock, sink } = options;
  return {
    server(fields, subject) {
      const incoming = readContext(fields);
      const forms = options.forms() | incoming.forms;
      const sampled =
        incoming.sampled ??
        clock.random() * 100 < options.samplingPercentage(subject.rules);
      if (!sampled || !subject.rules.reportsSpans)
        return new Unreported(incoming, forms, sampled);
      const tags = subject.rules.tags?.(fields);
      return sampledServer(clock, sink, incoming, forms, subject, tags);
    },
  };
}

/** A trace of which nothing is reported is one object, its attempts' as well: they all send the same context on. */
class Unreported implements ServerTrace, ClientTrace {
  readonly traceId: string;
  readonly reports = false;
  readonly fields: Fields;

  /** `sampled`: as the context says. */
  constructor(incoming: Incoming, forms: number, sampled: boolean) {
    const { traceId, fields } = unrecorded(incoming, forms, sampled);
    this.traceId = traceId;
    this.fields = fields;
  }

  client(): ClientTrace {
    return this;
  }

  attribute(): void {
    // What is not reported records nothing.
  }

  end(): void {
    // Nor does it end anywhere.
  }
}

/** What all spans of a trace say alike. */
type Trace = Pick<SpanRecord, "traceId" | "traceState" | "random" | "debug">;

function sampledServer(
  clock: Clock,
  sink: SpanSink,
  incoming: Incoming,
  forms: number,
  subject: SpanSubject,
  tags: Readonly<Record<string, string>> | undefined,
): ServerTrace {
  const { parent, state, debug } = incoming;
  const traceId = parent?.traceId ?? newTraceId();
  const random = parent?.random ?? true;
  const trace: Trace = { traceId, traceState: state, random, debug };
  const server = openSpan(clock, sink, trace, {
    name: subject.spanName,
    kind: "server",
    parentSpanId: parent?.spanId,
    attributes: tagged(tags, subject.serverAttributes()),
  });
  return {
    traceId,
    reports: true,
    attribute: server.attribute,
    end: server.end,
    client() {
      const client = openSpan(clock, sink, trace, {
        name: subject.spanName,
        kind: "client",
        parentSpanId: server.spanId,
        attributes: tagged(tags, subject.clientAttributes()),
      });
      const { spanId } = client;
      const context = { traceId, spanId, sampled: true, random };
      return {
        fields: recorded(incoming, context, server.spanId, forms),
        attribute: client.attribute,
        end: client.end,
      };
    },
  };
}

/** What a span has of its own says more than a tag of that name. */
function tagged(
  tags: Readonly<Record<string, string>> | undefined,
  own: Record<string, AttributeValue>,
): Record<string, AttributeValue> {
  return tags === undefined ? own : { ...tags, ...own };
}

interface OpenSpan {
  readonly spanId: string;
  readonly attribute: (key: string, value: AttributeValue) => void;
  readonly end: (outcome: SpanOutcome) => void;
}

/** Each field is named: to spread objects is some microseconds of a traced request. */
function openSpan(
  clock: Clock,
  sink: SpanSink,
  trace: Trace,
  opened: Pick<SpanRecord, "name" | "kind" | "parentSpanId"> & {
    readonly attributes: Record<string, AttributeValue>;
  },
): OpenSpan {
  const { name, kind, parentSpanId, attributes } = opened;
  const spanId = newSpanId();
  const startedAt = clock.now();
  const start = clock.wall();
  let ended = false;
  return {
    spanId,
    attribute(key, value) {
      attributes[key] = value;
    },
    end(outcome) {
      if (ended) return;
      ended = true;
      const { status, reason } = outcome;
      if (status !== undefined)
        attributes["http.response.status_code"] = status;
      if (reason !== undefined) attributes["wherry.reason"] = reason;
      const error = errorOf(kind, outcome);
      if (error !== undefined) attributes["error.type"] = error;
      sink({
        name,
        kind,
        traceId: trace.traceId,
        spanId,
        parentSpanId,
        traceState: trace.traceState,
        random: trace.random,
        debug: trace.debug,
        start,
        end: start + (clock.now() - startedAt),
        attributes,
        error,
      });
    },
  };
}

/**
 * What `error.type` says, by the OpenTelemetry HTTP conventions: a server's span fails from 500 on, a client's from 400 on;
 * an exchange without a status has failed in either case.
 */
function errorOf(
  kind: "server" | "client",
  outcome: SpanOutcome,
): string | undefined {
  const { status, reason } = outcome;
  const failed =
    status === undefined || status >= (kind === "server" ? 500 : 400);
  if (!failed) return undefined;
  return reason ?? (status === undefined ? "_OTHER" : String(status));
}
