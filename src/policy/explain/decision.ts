/** What an explanation consists of: decisions in the order in which the proxy makes them, and what they come to. */
import type { Code } from "../../mesh/reasons.ts";
import { keyOf, type Resource } from "../../resources/envelope.ts";
import type { ShadowFinding } from "../authorization/shadow.ts";
import type { Timeouts } from "../timeout.ts";

export type Step =
  | "telemetry"
  | "destination"
  | "route"
  | "filters"
  | "fault"
  | "backend"
  | "time-outs"
  | "retries"
  | "balancing"
  | "protection"
  | "TLS"
  | "port"
  | "mTLS"
  | "token"
  | "provider"
  | "authorization"
  | "limits";

/** Where in the configuration something is said. */
export interface Source {
  /** "KIND/NAMESPACE/NAME", or "KIND/NAME" for a kind of the whole mesh. */
  readonly resource: string;
  /** Like "spec.rules[1].matches[0]"; absent for the resource as a whole. */
  readonly field?: string;
}

export interface Decision {
  readonly side: "caller" | "callee";
  readonly step: Step;
  /** What was decided, in one line. */
  readonly outcome: string;
  /** What says so; absent where a default of this version does. */
  readonly source: Source | undefined;
  readonly details: readonly string[];
  readonly notMatched: readonly NotMatched[];
  readonly refusal?: Refusal;
}

/** A rule that was asked, or might be thought to have been, and did not decide. */
export interface NotMatched {
  readonly source: Source;
  readonly why: string;
  /** Attributes that were not given: by them it may match after all. */
  readonly dependsOn?: readonly string[];
}

/** A rule of which it is not known whether it matches: it reads what the question does not say. */
export interface Dependence {
  /** "NAMESPACE/NAME" */
  readonly policy: string;
  readonly rule: number;
  readonly action: "ALLOW" | "DENY" | "CUSTOM" | "TRIAL" | "AUDIT";
  /** Names of attributes. */
  readonly on: readonly string[];
  /** What would be another if it matched: the verdict, the policy that is named, a provider that is asked, or what would be without trial. */
  readonly changes: "allowed" | "by" | "provider" | "shadow";
}

export interface Refusal {
  readonly code: Code;
  /** "NAMESPACE/NAME" of the policy, as `x-wherry-reason` has it. */
  readonly policy?: string;
}

/** What becomes of the request, as far as configuration decides. */
export interface Outcome {
  readonly answeredBy:
    | "application"
    | "outside"
    | "redirect"
    | "preflight"
    | "refusal"
    | "reset";
  /** Nothing refused it. */
  readonly allowed: boolean;
  readonly reason?: Code;
  /** "NAMESPACE/NAME" of the policy that refused or, on the callee's side, allowed. */
  readonly by?: string;
  /** Status of a response that the configuration itself gives: a redirect, a preflight, an abort. */
  readonly status?: number;
  /** What a caller that speaks gRPC gets, with the HTTP status 200. */
  readonly grpcStatus?: number;
  /** "NAMESPACE/NAME" */
  readonly route?: string;
  readonly rule?: number;
  readonly match?: number;
  /** "orders-v2.shop:80"; the one that was drawn. */
  readonly backend?: string;
  /** All that may be drawn, in [0, 1]. */
  readonly shares?: Readonly<Record<string, number>>;
  readonly timeouts?: Timeouts;
  /** Retries, not tries. */
  readonly retries?: number;
  readonly location?: string;
  /** What goes on to the backend. */
  readonly sent?: SentRequest;
  /** Fields that the route gives to the response, whatever makes it. */
  readonly answerFields?: SentRequest["fields"];
  /** What policies would do that change no verdict; absent where that is nothing. */
  readonly shadow?: readonly ShadowFinding[];
  /** Rules that may match, too: what was asked does not say. Absent where all is known. */
  readonly dependsOn?: readonly Dependence[];
  /** "NAMESPACE/NAME" of the Workload whose sidecar judged. */
  readonly workload?: string;
}

export interface SentRequest {
  readonly method: string;
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  readonly fields: readonly { readonly name: string; readonly value: string }[];
}

/** What a decision starts from. */
export function decision(
  side: Decision["side"],
  step: Step,
  outcome: string,
  rest: Partial<Omit<Decision, "side" | "step" | "outcome">> = {},
): Decision {
  return {
    side,
    step,
    outcome,
    source: undefined,
    details: [],
    notMatched: [],
    ...rest,
  };
}

/** A rule that does not match, or of which that is not known. */
export function notMatched(
  source: Source,
  why: string,
  dependsOn: readonly string[] | undefined,
): NotMatched {
  return dependsOn === undefined ? { source, why } : { source, why, dependsOn };
}

/** `name` is "NAMESPACE/NAME", or the name alone for a kind of the whole mesh. */
export function sourceOf(kind: string, name: string, field?: string): Source {
  const resource = `${kind}/${name}`;
  return field === undefined ? { resource } : { resource, field };
}

/** "KIND/NAMESPACE/NAME" of a resource. */
export function resourceTitle(resource: Resource): string {
  const { kind, namespace, name } = keyOf(resource);
  return namespace === "" ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}

/** The resources that a snapshot was compiled from, to say where in them a value stands. */
export type Lookup = (title: string) => Resource | undefined;

export function lookupIn(resources: readonly Resource[]): Lookup {
  const byTitle = new Map(
    resources.map((resource) => [resourceTitle(resource), resource]),
  );
  return (title) => byTitle.get(title);
}

/** The value at a path of names and indexes; undefined where there is none. */
export function valueAt(
  resource: Resource | undefined,
  ...path: readonly (string | number)[]
): unknown {
  let value: unknown = resource?.spec;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Readonly<Record<string | number, unknown>>)[step];
  }
  return value;
}
