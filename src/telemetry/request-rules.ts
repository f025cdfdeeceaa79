/** What is recorded of requests in one direction, by the Telemetry in force: with the values of the environment, as it was when that came. */
import { MESH_DEFAULTS } from "../resources/mesh/schema.ts";
import type { Expression } from "../resources/telemetry/filter.ts";
import { LONGEST_VALUE } from "../resources/telemetry/spec.ts";
import type {
  CallTelemetry,
  NamedValue,
} from "../policy/telemetry/telemetry.ts";
import { fieldValue, type Fields } from "../wire/fields.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The values of one request, by name. */
type ValuesOf = (fields: Fields) => Readonly<Record<string, string>>;

export interface RequestRules {
  readonly samplingPercentage: number;
  readonly reportsSpans: boolean;
  /** Undefined: none. */
  readonly tags: ValuesOf | undefined;
  /** Whether requests get a line in the access log; undefined: as the sidecar was started. */
  readonly logs: boolean | undefined;
  readonly filter: Expression | undefined;
  /** Undefined: none. */
  readonly fields: ValuesOf | undefined;
}

/** What holds before any config has come. */
export const UNSAID: RequestRules = {
  samplingPercentage: MESH_DEFAULTS.defaults.tracing.randomSamplingPercentage,
  reportsSpans: true,
  tags: undefined,
  logs: undefined,
  filter: undefined,
  fields: undefined,
};

export function requestRules(
  { tags, fields, ...rest }: CallTelemetry,
  environment: Environment,
): RequestRules {
  const { samplingPercentage, reportsSpans, logs, filter } = rest;
  return {
    ...{ samplingPercentage, reportsSpans, logs, filter },
    tags: valuesOf(tags, environment),
    fields: valuesOf(fields, environment),
  };
}

function valuesOf(
  named: readonly NamedValue[],
  environment: Environment,
): ValuesOf | undefined {
  const fixed: Record<string, string> = {};
  const headers: NamedValue[] = [];
  for (const each of named) {
    const { name, from, what, otherwise } = each;
    if (from === "header") headers.push(each);
    else {
      const value =
        from === "literal" ? what : (environment[what] ?? otherwise);
      if (value !== undefined) fixed[name] = cut(value);
    }
  }
  if (headers.length === 0)
    return Object.keys(fixed).length === 0 ? undefined : () => fixed;
  return (fields) => {
    const values = { ...fixed };
    for (const { name, what, otherwise } of headers) {
      const value = fieldValue(fields, what) ?? otherwise;
      if (value !== undefined) values[name] = cut(value);
    }
    return values;
  };
}

function cut(value: string): string {
  return value.slice(0, LONGEST_VALUE);
}
