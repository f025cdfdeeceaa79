/**
 * What is recorded of a workload's calls: Telemetry from the narrowest scope to the widest (Istio), each value from the narrowest that has it.
 *
 * ```
 *   the workload's (selector) → its namespace's → the root namespace's → the Mesh, and the sidecar's own flags
 * ```
 * In each scope the oldest object counts and the others do not (trap 13).
 */
import type { Steps } from "../../core/slices.ts";
import {
  overruledIn,
  scopedName,
  scopesOf,
  type Overruled,
  type ScopedWorkload,
} from "../../resources/scopes.ts";
import {
  parseFilter,
  type Expression,
} from "../../resources/telemetry/filter.ts";
import type {
  AccessLoggingSpec,
  TelemetryMatch,
  TelemetryResource,
  TracingSpec,
  ValueSpec,
} from "../../resources/telemetry/spec.ts";

/** A tag or field: where its value comes from. */
export interface NamedValue {
  readonly name: string;
  readonly from: "literal" | "environment" | "header";
  /** The value itself, the variable's name, or the header's in lower case. */
  readonly what: string;
  readonly otherwise: string | undefined;
}

/** What is recorded of the calls in one direction. */
export interface CallTelemetry {
  readonly samplingPercentage: number;
  readonly reportsSpans: boolean;
  readonly tags: readonly NamedValue[];
  /** Whether requests get a line in the access log; undefined: as the sidecar was started. */
  readonly logs: boolean | undefined;
  /** Those that do; undefined: all. */
  readonly filter: Expression | undefined;
  readonly fields: readonly NamedValue[];
  /** "NAMESPACE/NAME" of the Telemetries that act, the narrowest first. */
  readonly policies: readonly string[];
}

export interface Telemetry {
  readonly outbound: CallTelemetry;
  readonly inbound: CallTelemetry;
  /** Those that an older one of the same scope puts out of force. */
  readonly overruled: readonly Overruled[];
}

export interface TelemetryContext {
  /** The Mesh's. */
  readonly samplingPercentage: number;
  /** Headers in which callers bring tokens, in lower case: nothing reads them. */
  readonly tokenHeaders: ReadonlySet<string>;
}

/** By steps: a mesh may have thousands of policies. */
export function* compileTelemetry(
  policies: readonly TelemetryResource[],
  workload: ScopedWorkload,
  context: TelemetryContext,
): Steps<Telemetry> {
  const scopes = yield* scopesOf(policies, workload);
  const chain = scopes.flatMap(([oldest]) =>
    oldest === undefined ? [] : [oldest],
  );
  return {
    outbound: callTelemetry(chain, "CLIENT", context),
    inbound: callTelemetry(chain, "SERVER", context),
    overruled: yield* overruledIn(scopes),
  };
}

function callTelemetry(
  chain: readonly TelemetryResource[],
  direction: "CLIENT" | "SERVER",
  { samplingPercentage, tokenHeaders }: TelemetryContext,
): CallTelemetry {
  const entryOf = <T extends { readonly match?: TelemetryMatch }>(
    entries: readonly T[] | undefined,
  ): T | undefined =>
    entries?.find(({ match }) =>
      [direction, "CLIENT_AND_SERVER", undefined].includes(match?.mode),
    );
  const tracing: TracingSpec[] = [];
  const logging: AccessLoggingSpec[] = [];
  const acting: string[] = [];
  for (const policy of chain) {
    const traces = entryOf(policy.spec.tracing);
    const logs = entryOf(policy.spec.accessLogging);
    if (traces !== undefined) tracing.push(traces);
    if (logs !== undefined) logging.push(logs);
    if ((traces ?? logs) !== undefined) acting.push(scopedName(policy));
  }
  const { disabled, filter } = {
    disabled: first(logging, (entry) => entry.disabled),
    filter: first(logging, (entry) => entry.filter),
  };
  const named = (
    values: Readonly<Record<string, ValueSpec>> | undefined,
  ): readonly NamedValue[] =>
    Object.entries(values ?? {})
      .map(([name, value]) => namedValue(name, value))
      .filter(({ from, what }) => from !== "header" || !tokenHeaders.has(what));
  return {
    samplingPercentage:
      first(tracing, (entry) => entry.randomSamplingPercentage) ??
      samplingPercentage,
    reportsSpans:
      first(tracing, (entry) => entry.disableSpanReporting) !== true,
    tags: named(first(tracing, (entry) => entry.customTags)),
    logs:
      disabled === true
        ? false
        : filter === undefined && disabled === undefined
          ? undefined
          : true,
    filter: filter === undefined ? undefined : filterOf(filter.expression),
    fields: named(first(logging, (entry) => entry.fields)),
    policies: acting,
  };
}

function first<T, V>(
  entries: readonly T[],
  valueOf: (entry: T) => V | undefined,
): V | undefined {
  for (const entry of entries) {
    const value = valueOf(entry);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** A filter that validation has accepted. */
function filterOf(text: string): Expression {
  const read = parseFilter(text);
  if (!read.ok) throw new RangeError(`the filter ${read.why}`);
  return read.expression;
}

function namedValue(
  name: string,
  { literal, environment, header }: ValueSpec,
): NamedValue {
  if (environment !== undefined)
    return {
      ...{ name, from: "environment", what: environment.name },
      otherwise: environment.defaultValue,
    };
  return header === undefined
    ? {
        ...{ name, from: "literal", what: literal?.value ?? "" },
        otherwise: undefined,
      }
    : {
        ...{ name, from: "header", what: header.name.toLowerCase() },
        otherwise: header.defaultValue,
      };
}
