/** Keeps the last traces, so that a tree can be shown where no Jaeger runs. */
import type { ReceivedSpan } from "./otlp.ts";

export interface TraceSummary {
  readonly traceId: string;
  /** Milliseconds since the epoch. */
  readonly start: number;
  readonly durationMs: number;
  /** "GET /", of the root span. */
  readonly title: string;
  readonly services: readonly string[];
  readonly spans: number;
  readonly failed: boolean;
  /** The span that began it all has arrived. */
  readonly rooted: boolean;
}

export interface TraceStore {
  add(spans: readonly ReceivedSpan[]): void;
  /** Newest first. */
  list(): TraceSummary[];
  /** The spans of a trace, by the whole id or the beginning of one. */
  get(traceId: string): readonly ReceivedSpan[] | undefined;
}

const SPANS_A_TRACE = 1000;

export function makeTraceStore(options: {
  readonly maxTraces: number;
}): TraceStore {
  const traces = new Map<string, ReceivedSpan[]>();
  return {
    add(spans) {
      for (const span of spans) {
        const trace = traces.get(span.traceId);
        if (trace === undefined) traces.set(span.traceId, [span]);
        else if (trace.length < SPANS_A_TRACE) trace.push(span);
      }
      for (const oldest of traces.keys()) {
        if (traces.size <= options.maxTraces) break;
        traces.delete(oldest);
      }
    },
    list: () =>
      [...traces]
        .map(([traceId, spans]) => summarise(traceId, spans))
        .sort((a, b) => b.start - a.start),
    get(traceId) {
      const exact = traces.get(traceId);
      if (exact !== undefined) return exact;
      const found =
        traceId.length < 4
          ? []
          : [...traces].filter(([id]) => id.startsWith(traceId));
      return found.length === 1 ? found[0]?.[1] : undefined;
    },
  };
}

function summarise(
  traceId: string,
  spans: readonly ReceivedSpan[],
): TraceSummary {
  const start = Math.min(...spans.map((span) => span.start));
  const end = Math.max(...spans.map((span) => span.end));
  const ids = new Set(spans.map((span) => span.spanId));
  const root = spans.find((span) => !ids.has(span.parentSpanId));
  return {
    traceId,
    start,
    durationMs: end - start,
    title: root === undefined ? "" : titleOf(root),
    services: [...new Set(spans.map((span) => span.service))].sort(),
    spans: spans.length,
    failed: spans.some((span) => span.error !== undefined),
    rooted: spans.some((span) => span.parentSpanId === ""),
  };
}

/** "GET /orders" of a server's HTTP span, "GET orders.shop/orders" of a client's; the name of any other. */
export function titleOf({ name, attributes }: ReceivedSpan): string {
  const path = attributes["url.path"];
  const url = attributes["url.full"];
  const target =
    path ??
    (typeof url === "string" ? url.replace(/^[a-z]+:\/\//, "") : undefined);
  return target === undefined
    ? name
    : `${String(attributes["http.request.method"] ?? name)} ${String(target)}`;
}
