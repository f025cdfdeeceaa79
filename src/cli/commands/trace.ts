/** `wherry trace [ID]`: the last traces of the demo, or one of them as a tree. */
import type { Command } from "commander";
import { request } from "undici";
import { messageOf, UserError } from "../../core/errors.ts";
import { timestamp } from "../../core/clock.ts";
import { NEWEST } from "../../demo/control.ts";
import { readDevFile } from "../../demo/dev.ts";
import type { ReceivedSpan } from "../../demo/otlp.ts";
import type { TraceSummary } from "../../demo/trace-store.ts";
import { drawTrace } from "../../demo/trace-tree.ts";
import type { CliContext } from "../context.ts";
import { outputOption, printOutput } from "../output.ts";
import { option } from "../settings.ts";
import { painter, table } from "../table.ts";

interface TraceOptions {
  readonly state: string;
  readonly list?: boolean;
  readonly output?: string;
}

export function registerTrace(program: Command, context: CliContext): void {
  program
    .command("trace")
    .description(
      "show a trace of the running demo as a tree: the newest, or the one with this id",
    )
    .argument("[id]", "trace id, or its first characters")
    .option("--list", "list the last traces, newest first")
    .addOption(outputOption("json"))
    .addOption(
      option("--state <directory>", "state directory of the demo", ".wherry"),
    )
    .action(async (id: string | undefined, options: TraceOptions) => {
      const { control } = await readDevFile(options.state);
      const paint = painter(context.colours);
      if (options.list === true) {
        const traces = (await ask(`${control}/traces`)) as TraceSummary[];
        printOutput(context, options, traces, () =>
          summaries(traces.slice(0, 20), (text) => paint("red", text)),
        );
        return;
      }
      const spans = (await ask(
        `${control}/traces/${encodeURIComponent(id ?? NEWEST)}`,
      )) as ReceivedSpan[];
      printOutput(
        context,
        options,
        spans,
        () =>
          `${paint("bold", `trace ${spans[0]?.traceId ?? ""}`)}\n${drawTrace(spans, paint)}`,
      );
    });
}

function summaries(
  traces: readonly TraceSummary[],
  red: (text: string) => string,
): string {
  const rows = traces.map((trace) => [
    trace.traceId,
    timestamp(trace.start).slice(11, 23),
    `${trace.durationMs.toFixed(1)} ms`,
    String(trace.spans),
    trace.failed ? red("failed") : "ok",
    trace.services.join(","),
    trace.title,
  ]);
  return table(
    ["TRACE", "BEGAN", "LASTED", "SPANS", "RESULT", "SERVICES", "REQUEST"],
    rows,
  );
}

async function ask(url: string): Promise<unknown> {
  let response: Awaited<ReturnType<typeof request>>;
  try {
    response = await request(url, { headersTimeout: 10_000 });
  } catch (error) {
    throw new UserError(
      `the demo does not respond at ${url} (${messageOf(error)}): start it with "npm start"`,
    );
  }
  const body = await response.body.json();
  if (response.statusCode === 200) return body;
  const said =
    typeof body === "object" && body !== null && "error" in body
      ? String(body.error)
      : `status ${response.statusCode}`;
  throw new UserError(said);
}
