/** Draws a trace as a tree with one bar a span, as wide as it lasted. */
import type { ReceivedSpan } from "./otlp.ts";
import { titleOf } from "./trace-store.ts";

/** How the drawing gets its colours; the identity where output is piped. */
export type TreePaint = (
  colour: "red" | "dim" | "cyan",
  text: string,
) => string;

const BAR_WIDTH = 30;

/**
 * One line a span: branch, service, kind, what it did, status, duration, and a bar that places it within the trace.
 *
 * ```
 * web          server  GET /                      200  12.4 ms  ██████████████████████████████
 * └ web        client  GET catalog.shop/products  200   5.1 ms    ████████████
 *   └ catalog  server  GET /products              200   3.0 ms       ███████
 * ```
 */
export function drawTrace(
  spans: readonly ReceivedSpan[],
  paint: TreePaint,
): string {
  const start = Math.min(...spans.map((span) => span.start));
  const total = Math.max(
    0.001,
    Math.max(...spans.map((span) => span.end)) - start,
  );
  const rows = arrange(spans).map(({ span, branch }) => ({
    span,
    left: `${branch}${span.service}`,
    what: titleOf(span),
    status: statusOf(span),
    duration: `${(span.end - span.start).toFixed(1)} ms`,
  }));
  const wide = (pick: (row: (typeof rows)[number]) => string): number =>
    Math.max(...rows.map((row) => pick(row).length));
  const widths = {
    left: wide((row) => row.left),
    what: wide((row) => row.what),
    status: wide((row) => row.status),
    duration: wide((row) => row.duration),
  };
  return rows
    .map(({ span, left, what, status, duration }) => {
      const text = `${left.padEnd(widths.left)}  ${span.kind.padEnd(6)}  ${what.padEnd(widths.what)}  ${status.padEnd(widths.status)}  ${duration.padStart(widths.duration)}  `;
      const bar = barOf(span.start - start, span.end - span.start, total);
      return `${span.error === undefined ? text : paint("red", text)}${paint(span.error === undefined ? "cyan" : "red", bar)}\n`;
    })
    .join("");
}

interface Placed {
  readonly span: ReceivedSpan;
  readonly branch: string;
}

/** Depth first, children by their start; a span whose parent did not arrive is a root. Each span stands once, whatever its parent says. */
function arrange(spans: readonly ReceivedSpan[]): Placed[] {
  const ids = new Set(spans.map((span) => span.spanId));
  const children = new Map<string, ReceivedSpan[]>();
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const parent =
      ids.has(span.parentSpanId) && span.parentSpanId !== span.spanId
        ? span.parentSpanId
        : "";
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [span]);
    else siblings.push(span);
  }
  const placed: Placed[] = [];
  const visit = (parent: string, stem: string): void => {
    const siblings = children.get(parent) ?? [];
    children.delete(parent);
    for (const [index, span] of siblings.entries()) {
      const last = index === siblings.length - 1;
      const root = parent === "";
      placed.push({ span, branch: root ? "" : `${stem}${last ? "└ " : "├ "}` });
      visit(span.spanId, root ? "" : `${stem}${last ? "  " : "│ "}`);
    }
  };
  visit("", "");
  // What is left hangs on itself in a circle: shown all the same, for it was received.
  for (const parent of [...children.keys()]) visit(parent, "");
  return placed;
}

function statusOf(span: ReceivedSpan): string {
  const status = span.attributes["http.response.status_code"];
  const reason = span.attributes["wherry.reason"];
  return [status, reason].filter((part) => part !== undefined).join(" ");
}

function barOf(offset: number, length: number, total: number): string {
  const from = Math.min(
    BAR_WIDTH - 1,
    Math.floor((offset / total) * BAR_WIDTH),
  );
  const size = Math.max(
    1,
    Math.min(BAR_WIDTH - from, Math.round((length / total) * BAR_WIDTH)),
  );
  return " ".repeat(from) + "█".repeat(size);
}
