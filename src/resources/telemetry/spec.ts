/** What a Telemetry says, as its author writes it (Istio's names, where Istio has one). */
import type { Resource } from "../envelope.ts";
import type { Selector } from "../schema-parts.ts";

export type TelemetryResource = Resource<TelemetrySpec>;

/** CLIENT: calls that the workload makes. SERVER: calls that it gets. */
export type TelemetryMode = "CLIENT" | "SERVER" | "CLIENT_AND_SERVER";

export interface TelemetrySpec {
  /** Absent: every workload of the namespace; of the mesh in the root namespace. */
  readonly selector?: Selector;
  readonly tracing?: readonly TracingSpec[];
  readonly accessLogging?: readonly AccessLoggingSpec[];
}

export interface TelemetryMatch {
  /** Absent: CLIENT_AND_SERVER. */
  readonly mode?: TelemetryMode;
}

/** What is absent is what the next wider scope says. */
export interface TracingSpec {
  readonly match?: TelemetryMatch;
  readonly randomSamplingPercentage?: number;
  readonly disableSpanReporting?: boolean;
  readonly customTags?: Readonly<Record<string, ValueSpec>>;
}

/** What is absent is what the next wider scope says. */
export interface AccessLoggingSpec {
  readonly match?: TelemetryMatch;
  readonly disabled?: boolean;
  readonly filter?: { readonly expression: string };
  /** Wherry's own: Istio has the fields of a line in its mesh config. */
  readonly fields?: Readonly<Record<string, ValueSpec>>;
}

/** Where the value of a tag or field comes from: exactly one of the three. */
export interface ValueSpec {
  readonly literal?: { readonly value: string };
  readonly environment?: {
    readonly name: string;
    readonly defaultValue?: string;
  };
  readonly header?: { readonly name: string; readonly defaultValue?: string };
}

/** Characters of a value; what a request brings is cut there. */
export const LONGEST_VALUE = 256;
/** Tags of a span, and fields of a line. */
export const MOST_VALUES = 16;
