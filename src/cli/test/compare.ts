/** What a test expects against what was decided: one difference a field, in the words of the test file. */
import { durationOf } from "../../core/duration.ts";
import type { CallExplanation } from "../../policy/explain/call.ts";
import {
  valueAt,
  type Dependence,
  type Lookup,
  type Outcome,
  type SentRequest,
} from "../../policy/explain/decision.ts";
import { percent, timeText } from "../../policy/explain/words.ts";
import { sayingOf } from "../asked/origin.ts";
import { dependenceLines, elsewhereLines } from "../explain-text.ts";
import type { Expectation } from "./file.ts";

export interface Difference {
  readonly field: string;
  readonly expected: string;
  readonly actual: string;
}

export function differences(
  expect: Expectation,
  explanation: CallExplanation,
  find: Lookup,
): Difference[] {
  const { outcome } = explanation;
  const found: Difference[] = [];
  const compare = (
    field: string,
    expected: string | number | boolean | undefined,
    actual: string | number | boolean | undefined,
    otherwise = "none",
  ): void => {
    if (expected !== undefined && expected !== actual)
      found.push({
        field,
        expected: String(expected),
        actual: String(actual ?? otherwise),
      });
  };
  compare("allowed", expect.allowed, outcome.allowed);
  if (expect.by !== outcome.reason) compare("by", expect.by, outcome.by);
  compare("reason", expect.reason, outcome.reason);
  compare(
    "status",
    expect.status,
    outcome.status,
    outcome.allowed ? "whatever the application responds" : "no response",
  );
  compare("grpcStatus", expect.grpcStatus, outcome.grpcStatus);
  compare("route", expect.route, outcome.route);
  compare("rule", expect.rule, ruleOf(expect.rule, outcome, find));
  compareBackend(expect.backend, outcome, found);
  compare("retries", expect.retries, outcome.retries);
  compareTime("timeout", expect.timeout, outcome.timeouts?.request, found);
  compareTime(
    "backendTimeout",
    expect.backendTimeout,
    outcome.timeouts?.backendRequest,
    found,
  );
  compare("location", expect.location, outcome.location);
  compare("path", expect.path, outcome.sent?.target);
  compareHeaders(expect.headers, outcome, found);
  for (const [policy, effect] of Object.entries(expect.shadow ?? {}))
    compare(
      `shadow.${policy}`,
      effect,
      outcome.shadow?.find((each) => each.policy === policy)?.effect ?? "none",
    );
  found.push(...unknown(expect, outcome));
  if (expect.allowed !== undefined || expect.by !== undefined)
    for (const line of elsewhereLines(explanation))
      found.push({
        field: "allowed",
        expected: "the same on every share and at every instance",
        actual: line,
      });
  return found;
}

/** Fields of an outcome that may be another by what the request does not say: nothing is to be held by chance. */
const HELD_BY: Readonly<
  Record<Dependence["changes"], readonly (keyof Expectation)[]>
> = {
  allowed: ["allowed", "by", "reason", "status", "grpcStatus", "shadow"],
  by: ["by", "reason"],
  provider: [],
  shadow: ["shadow"],
};

function unknown(expect: Expectation, outcome: Outcome): readonly Difference[] {
  const lines = dependenceLines(outcome, (name) => sayingOf(name).field);
  return (outcome.dependsOn ?? []).flatMap(({ changes }, index) => {
    const field = HELD_BY[changes].find((name) => expect[name] !== undefined);
    return field === undefined
      ? []
      : [
          {
            field,
            expected: "a request that says all that decides it",
            actual: lines[index] ?? "",
          },
        ];
  });
}

/** The index, or the name where the test says one. */
function ruleOf(
  expected: Expectation["rule"],
  { route, rule }: Outcome,
  find: Lookup,
): number | string | undefined {
  if (route === undefined || rule === undefined) return undefined;
  if (typeof expected !== "string") return rule;
  for (const kind of ["HTTPRoute", "GRPCRoute"]) {
    const name = valueAt(find(`${kind}/${route}`), "rules", rule, "name");
    if (typeof name === "string") return name;
  }
  return rule;
}

function compareBackend(
  expected: Expectation["backend"],
  { backend, shares = {} }: Outcome,
  found: Difference[],
): void {
  if (expected === undefined) return;
  const actual =
    Object.keys(shares).length > 0
      ? shares
      : backend === undefined
        ? {}
        : { [backend]: 1 };
  const wanted =
    typeof expected === "string"
      ? { [expected]: 1 }
      : Object.fromEntries(
          Object.entries(expected).map(([name, share]) => [name, share / 100]),
        );
  const names = new Set([...Object.keys(wanted), ...Object.keys(actual)]);
  const same = [...names].every(
    (name) => Math.abs((wanted[name] ?? 0) - (actual[name] ?? 0)) < 0.0005,
  );
  if (!same)
    found.push({
      field: "backend",
      expected: sharesText(wanted),
      actual: sharesText(actual),
    });
}

function sharesText(shares: Readonly<Record<string, number>>): string {
  const entries = Object.entries(shares);
  const [only] = entries;
  if (only === undefined) return "none";
  return entries.length === 1
    ? only[0]
    : entries.map(([name, share]) => `${percent(share)} ${name}`).join(", ");
}

function compareTime(
  field: string,
  expected: string | undefined,
  actual: number | undefined,
  found: Difference[],
): void {
  if (expected === undefined || durationOf(expected) === actual) return;
  found.push({
    field,
    expected: timeText(durationOf(expected)),
    actual: actual === undefined ? "none" : timeText(actual),
  });
}

/** As the backend gets them: several of a name are one list. Values are quoted, so that "none" is not taken for the lack of one. */
function compareHeaders(
  expected: Expectation["headers"] = {},
  { sent }: Outcome,
  found: Difference[],
): void {
  const quoted = (value: string | null): string =>
    value === null ? "none" : JSON.stringify(value);
  for (const [name, wanted] of Object.entries(expected)) {
    const actual = sent === undefined ? null : headerOf(sent, name);
    // Where nothing is sent, nothing is shown of what would be.
    if (sent === undefined || wanted !== actual)
      found.push({
        field: `headers.${name}`,
        expected: quoted(wanted),
        actual: sent === undefined ? "no request is sent" : quoted(actual),
      });
  }
}

function headerOf({ fields }: SentRequest, name: string): string | null {
  const values = fields
    .filter((field) => field.name === name.toLowerCase())
    .map(({ value }) => value);
  return values.length === 0 ? null : values.join(", ");
}
