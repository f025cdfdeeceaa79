/** What the schema of Telemetry cannot state: values from one place each, no credentials, filters that can be read, one entry a direction. */
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { duplicates, error, fault, warning } from "../problems.ts";
import { headerFault, variableFault } from "./credentials.ts";
import { parseFilter } from "./filter.ts";
import type {
  AccessLoggingSpec,
  TelemetryMatch,
  TelemetryResource,
  ValueSpec,
} from "./spec.ts";

type At = readonly Segment[];
type Values = Readonly<Record<string, ValueSpec>>;

export function checkTelemetry({ spec }: TelemetryResource): Problem[] {
  const { tracing = [], accessLogging = [] } = spec;
  if (tracing.length + accessLogging.length === 0)
    return [warning(["spec"], "has neither tracing nor accessLogging")];
  return [
    ...checkDirections(tracing, ["spec", "tracing"]),
    ...checkDirections(accessLogging, ["spec", "accessLogging"]),
    ...tracing.flatMap(({ customTags }, index) =>
      checkTags(customTags, ["spec", "tracing", index, "customTags"]),
    ),
    ...accessLogging.flatMap((entry, index) =>
      checkLogging(entry, ["spec", "accessLogging", index]),
    ),
  ];
}

/** Two entries for one direction could contradict each other. */
function checkDirections(
  entries: readonly { readonly match?: TelemetryMatch }[],
  at: At,
): Problem[] {
  const directions = entries.flatMap(({ match }, index) => {
    const mode = match?.mode ?? "CLIENT_AND_SERVER";
    return (mode === "CLIENT_AND_SERVER" ? ["CLIENT", "SERVER"] : [mode]).map(
      (direction) => ({ direction, index }),
    );
  });
  return duplicates(
    directions,
    ({ direction }) => direction,
    (index) => [...at, directions[index]?.index ?? 0],
    "an entry for",
  ).slice(0, 1);
}

function checkTags(tags: Values | undefined, at: At): Problem[] {
  return [
    ...checkValues(tags, at),
    ...Object.keys(tags ?? {})
      .filter((name) => name.startsWith("wherry."))
      .map((name) =>
        error([...at, name], "begins with wherry., as a sidecar's own do"),
      ),
  ];
}

function checkLogging(
  { disabled, filter, fields }: AccessLoggingSpec,
  at: At,
): Problem[] {
  const read =
    filter === undefined ? undefined : parseFilter(filter.expression);
  return [
    ...(read === undefined || read.ok
      ? []
      : [error([...at, "filter", "expression"], read.why)]),
    ...(disabled === true && (filter ?? fields) !== undefined
      ? [
          warning(
            [...at, filter === undefined ? "fields" : "filter"],
            "has no effect beside disabled: true",
          ),
        ]
      : []),
    ...checkValues(fields, [...at, "fields"]),
  ];
}

function checkValues(values: Values = {}, at: At): Problem[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const { environment, header } = value;
    if (Object.keys(value).length !== 1)
      return [
        error([...at, name], "needs one of literal, environment and header"),
      ];
    return [
      ...(environment === undefined
        ? []
        : fault(variableFault(environment.name), [
            ...[...at, name],
            ...["environment", "name"],
          ])),
      ...(header === undefined
        ? []
        : fault(headerFault(header.name), [
            ...[...at, name],
            ...["header", "name"],
          ])),
    ];
  });
}
