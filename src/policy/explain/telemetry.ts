/** What is recorded of a call on one side of it, by the Telemetries in force there. */
import type { Snapshot } from "../snapshot.ts";
import type { CallTelemetry } from "../telemetry/telemetry.ts";
import { decision, sourceOf, type Decision } from "./decision.ts";
import { percent } from "./words.ts";

/** None where no Telemetry acts. */
export function telemetryDecisions(
  side: Decision["side"],
  { telemetry }: Snapshot,
): readonly Decision[] {
  const recorded = side === "caller" ? telemetry.outbound : telemetry.inbound;
  const [narrowest, ...wider] = recorded.policies;
  if (narrowest === undefined) return [];
  return [
    decision(side, "telemetry", outcomeOf(recorded), {
      source: sourceOf("Telemetry", narrowest),
      details: [
        ...valuesText("spans also have", recorded.tags),
        ...valuesText("lines also have", recorded.fields),
        ...wider.map((policy) => `what it leaves open: Telemetry/${policy}`),
      ],
      notMatched: telemetry.overruled.map(({ loser, winner }) => ({
        source: sourceOf("Telemetry", loser),
        why: `${winner}, for the same workloads, is older`,
      })),
    }),
  ];
}

function outcomeOf(recorded: CallTelemetry): string {
  const { samplingPercentage, reportsSpans, logs, filter } = recorded;
  const traces = `new traces are sampled at ${percent(samplingPercentage / 100)}${reportsSpans ? "" : ", and no span is sent"}`;
  const lines =
    logs === undefined
      ? "as --access-log says"
      : !logs
        ? "off"
        : filter === undefined
          ? "every request"
          : "what the filter takes";
  return `${traces}; access log: ${lines}`;
}

function valuesText(
  what: string,
  values: CallTelemetry["tags"],
): readonly string[] {
  return values.length === 0
    ? []
    : [`${what} ${values.map(({ name }) => name).join(", ")}`];
}
