/** Telemetry: which traces a workload samples, what its spans say besides, and which lines its access log has (Istio). */
import Type, { type TSchema } from "typebox";
import { defineKind, type KindDefinition } from "../kind.ts";
import {
  CLOSED,
  describes,
  field,
  HEADER_NAME,
  PERCENT,
  SELECTOR,
  type TextRule,
} from "../schema-parts.ts";
import { checkTelemetry } from "./check.ts";
import { LONGEST_FILTER } from "./filter.ts";
import { LONGEST_VALUE, MOST_VALUES, type TelemetrySpec } from "./spec.ts";

const match = Type.Object(
  {
    mode: field(
      "CLIENT is for calls that the workload makes, SERVER for calls that it gets.",
      Type.Optional(Type.Enum(["CLIENT", "SERVER", "CLIENT_AND_SERVER"])),
      "CLIENT_AND_SERVER",
    ),
  },
  CLOSED,
);

const MATCH = field("Which calls it is for.", Type.Optional(match));

const defaultValue = field(
  "The value where there is none. Without it, the name is left out.",
  Type.Optional(Type.String({ minLength: 1, maxLength: LONGEST_VALUE })),
);

const value = Type.Object(
  {
    literal: field(
      "The same value always.",
      Type.Optional(
        Type.Object(
          {
            value: field(
              "The value.",
              Type.String({ minLength: 1, maxLength: LONGEST_VALUE }),
            ),
          },
          CLOSED,
        ),
      ),
    ),
    environment: field(
      "A variable of the sidecar's environment. Not one whose name says that it holds a credential, and none of Wherry's own.",
      Type.Optional(
        Type.Object(
          {
            name: field(
              "The variable's name.",
              Type.String({
                pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
                maxLength: 128,
                expected: "a name of letters, digits and _",
              }),
            ),
            defaultValue,
          },
          CLOSED,
        ),
      ),
    ),
    header: field(
      "A header of the request, cut at 256 characters. Not one whose name says that it holds a credential, and none of the mesh's own.",
      Type.Optional(
        Type.Object(
          {
            name: field("The header's name.", Type.String(HEADER_NAME)),
            defaultValue,
          },
          CLOSED,
        ),
      ),
    ),
  },
  CLOSED,
);

/** Names of tags and fields. */
export const VALUE_NAME: TextRule = {
  title: "Name of a value",
  pattern: "^[A-Za-z_][A-Za-z0-9_.\\-]*$",
  maxLength: 64,
  expected:
    "a name of at most 64 letters, digits, _, . and -, that begins with a letter or _",
};

const VALUES = Type.Record(Type.String(), value, {
  propertyNames: VALUE_NAME,
  minProperties: 1,
  maxProperties: MOST_VALUES,
});

const tracing = Type.Object(
  {
    match: MATCH,
    randomSamplingPercentage: field(
      "Percentage of traces that are recorded, where the caller has not decided.",
      Type.Optional(Type.Number(PERCENT)),
    ),
    disableSpanReporting: field(
      "Sends no spans. Sampling is decided as before, and the trace context goes on.",
      Type.Optional(Type.Boolean()),
    ),
    customTags: field(
      "Attributes that spans have besides their own. They replace those of a wider scope.",
      Type.Optional(VALUES),
    ),
  },
  { ...CLOSED, minProperties: 1 },
);

const accessLogging = Type.Object(
  {
    match: MATCH,
    disabled: field(
      "true: no line. false: a line for each request, or for each that the filter takes.",
      Type.Optional(Type.Boolean()),
    ),
    filter: field(
      "Which requests get a line.",
      Type.Optional(
        Type.Object(
          {
            expression: field(
              "A condition in CEL, such as `response.code >= 400`. The guide lists what it may say.",
              Type.String({ minLength: 1, maxLength: LONGEST_FILTER }),
            ),
          },
          CLOSED,
        ),
      ),
    ),
    fields: field(
      "What a line has besides, under `fields`. They replace those of a wider scope. Istio has no such field.",
      Type.Optional(VALUES),
    ),
  },
  { ...CLOSED, minProperties: 1 },
);

const spec: TSchema = describes<TelemetrySpec>()(
  Type.Object(
    {
      selector: field(
        "Workloads that it is for. Without it, all of the namespace.",
        Type.Optional(SELECTOR),
      ),
      tracing: field(
        "Traces. One entry for both directions of calls, or one for each.",
        Type.Optional(Type.Array(tracing, { minItems: 1, maxItems: 2 })),
      ),
      accessLogging: field(
        "The access log. One entry for both directions of calls, or one for each.",
        Type.Optional(Type.Array(accessLogging, { minItems: 1, maxItems: 2 })),
      ),
    },
    CLOSED,
  ),
);

const PROVIDERS =
  "one sidecar sends to one place; name it with --otlp-endpoint, --zipkin-endpoint or --access-log-file";

export const TELEMETRY: KindDefinition<TelemetrySpec> = defineKind({
  kind: "Telemetry",
  group: "telemetry.istio.io",
  version: "v1",
  plural: "telemetries",
  shortNames: ["telemetry"],
  meaning:
    "Which traces a workload samples, what its spans say besides, and which lines its access log has.",
  spec,
  unsupported: {
    "spec.metrics":
      "the metrics of a sidecar are the same everywhere; drop series where they are collected",
    "spec.targetRefs": "write spec.selector",
    "spec.tracing[].providers": PROVIDERS,
    "spec.accessLogging[].providers": PROVIDERS,
    "spec.tracing[].useRequestIdForTraceSampling":
      "sampling goes by the trace context alone",
    "spec.tracing[].enableIstioTags":
      "spans have attributes of OpenTelemetry and of Wherry",
  },
  check: checkTelemetry,
});
