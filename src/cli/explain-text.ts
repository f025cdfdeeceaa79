/** An explanation as people read it, and where in their files each rule stands. */
import type { CallExplanation } from "../policy/explain/call.ts";
import { shadowText } from "../policy/explain/authorization-step.ts";
import {
  resourceTitle,
  type Decision,
  type Dependence,
  type NotMatched,
  type Outcome,
  type Source,
} from "../policy/explain/decision.ts";
import type { Located } from "../resources/lint.ts";
import type { Explained } from "./explaining.ts";
import type { Paint } from "./table.ts";

/** "FILE:LINE" of a rule; undefined where it comes from no file. */
export type PlaceOf = (source: Source) => string | undefined;

export function placeIn(files: readonly Located[]): PlaceOf {
  const byTitle = new Map(
    files.map((located) => [resourceTitle(located.resource), located]),
  );
  return ({ resource, field }) => {
    const located = byTitle.get(resource);
    if (located === undefined) return undefined;
    return `${located.file}:${located.locate(field ?? "").line}`;
  };
}

/** "HTTPRoute/shop/orders spec.rules[1] (orders.yaml:12)". */
export function sourceText(source: Source, place: PlaceOf): string {
  const at = place(source);
  const field = source.field === undefined ? "" : ` ${source.field}`;
  return `${source.resource}${field}${at === undefined ? "" : ` (${at})`}`;
}

/** The decisions with each source's FILE:LINE, for programs. */
export function withPlaces(
  { decisions, ...rest }: Explained,
  place: PlaceOf,
): object {
  const placed = (each: Decision | NotMatched): object => {
    const at = each.source === undefined ? undefined : place(each.source);
    return at === undefined
      ? { ...each }
      : { ...each, source: { ...each.source, at } };
  };
  return {
    decisions: decisions.map((each) =>
      Object.assign(placed(each), {
        notMatched: each.notMatched.map(placed),
      }),
    ),
    ...rest,
  };
}

const WIDTH = 15;
/** A mesh has many rules that a request does not meet; "-o json" has all of them. */
const MOST_NOT_MATCHED = 20;

/** Each with its source, its details, and what was not matched and why. */
export function decisionLines(
  decisions: readonly Decision[],
  place: PlaceOf,
  paint: Paint,
): string[] {
  const pad = " ".repeat(WIDTH);
  return decisions.flatMap((each) => [
    `${paint("bold", each.step.padEnd(WIDTH))}${
      each.refusal === undefined
        ? each.outcome
        : `${paint("red", each.refusal.code)} ${each.outcome}`
    }`,
    ...(each.source === undefined
      ? []
      : [`${pad}by ${paint("cyan", sourceText(each.source, place))}`]),
    ...each.details.map((detail) => `${pad}${detail}`),
    ...openFirst(each.notMatched)
      .slice(0, MOST_NOT_MATCHED)
      .map(({ source, why, dependsOn }) => {
        const line = `${sourceText(source, place)}: ${why}`;
        return dependsOn === undefined
          ? `${pad}${paint("dim", `not ${line}`)}`
          : `${pad}${paint("yellow", `open ${line}`)}`;
      }),
    ...(each.notMatched.length > MOST_NOT_MATCHED
      ? [
          `${pad}${paint("dim", `and ${each.notMatched.length - MOST_NOT_MATCHED} more that did not match (-o json lists them)`)}`,
        ]
      : []),
  ]);
}

/** Those that may match after all are not to be cut off. */
function openFirst(all: readonly NotMatched[]): readonly NotMatched[] {
  const isOpen = ({ dependsOn }: NotMatched): boolean =>
    dependsOn !== undefined;
  return [...all.filter(isOpen), ...all.filter((each) => !isOpen(each))];
}

/** What becomes of the request, in one line. */
export function outcomeText(outcome: Outcome): string {
  const { shadow = [], dependsOn = [] } = outcome;
  const trials = shadow.map((finding) => `; ${shadowText(finding)}`);
  const open = dependsOn.filter(({ changes }) => changes === "allowed");
  const names = new Set(open.flatMap(({ on }) => on));
  return `${fateText(outcome)}${
    names.size === 0
      ? ""
      : `; it depends on ${[...names].join(" and ")}, which was not given`
  }${trials.join("")}`;
}

/** A line for each rule that may match, too; `saying`: what says an attribute. */
export function dependenceLines(
  { dependsOn = [] }: Outcome,
  saying: (attribute: string) => string,
): readonly string[] {
  return dependsOn.map((each) => {
    const named = each.on.map((name) => `${name} (${saying(name)})`);
    return `not given: ${named.join(", ")}, which decides whether ${dependenceText(each)}`;
  });
}

function dependenceText({ policy, rule, action }: Dependence): string {
  switch (action) {
    case "ALLOW":
      return `rule ${rule} of ALLOW ${policy} allows it`;
    case "DENY":
      return `rule ${rule} of DENY ${policy} refuses it`;
    case "CUSTOM":
      return `rule ${rule} of CUSTOM ${policy} asks its provider`;
    case "AUDIT":
      return `rule ${rule} of AUDIT ${policy} matches it`;
    case "TRIAL":
      return `rule ${rule} of ${policy}, a dry run, matches it`;
  }
}

function fateText(outcome: Outcome): string {
  const { backend = "", workload, location = "", reason, by } = outcome;
  switch (outcome.answeredBy) {
    case "application":
      return `allowed: goes to ${backend}${workload === undefined ? "" : `, at ${workload}`}`;
    case "outside":
      return "allowed: passes through to a place outside the mesh";
    case "redirect":
      return `redirected: ${outcome.status ?? ""} to ${location}`;
    case "preflight":
      return "a preflight; the route responds with 204";
    case "reset":
      return `broken off: ${reason ?? ""}${by === undefined ? "" : ` by ${by}`}`;
    case "refusal":
      return `refused: ${outcome.grpcStatus === undefined ? (outcome.status ?? "") : `grpc-status ${outcome.grpcStatus}`} ${reason ?? ""}${by === undefined ? "" : ` by ${by}`}`;
  }
}

export function elsewhereLines({ elsewhere }: CallExplanation): string[] {
  return elsewhere.map(
    ({ backend, workload, outcome }) =>
      `otherwise${backend === undefined ? "" : ` on ${backend}`}${workload === undefined ? "" : `, at ${workload}`}: ${outcomeText(outcome)}`,
  );
}
