/** The results of `wherry test`: for a person, as JSON, or as the JUnit XML that CI systems show. */
import type { CallExplanation } from "../../policy/explain/call.ts";
import type { Decision, Step } from "../../policy/explain/decision.ts";
import {
  decisionLines,
  outcomeText,
  type PlaceOf,
  withPlaces,
} from "../explain-text.ts";
import type { Explained } from "../explaining.ts";
import { painter, type Paint } from "../table.ts";
import type { Difference } from "./compare.ts";
import type { CallTest } from "./file.ts";

export interface TestResult {
  readonly file: string;
  readonly test: CallTest;
  readonly explanation: Explained;
  readonly differences: readonly Difference[];
  readonly place: PlaceOf;
}

export function passedOf(results: readonly TestResult[]): number {
  return results.filter(({ differences }) => differences.length === 0).length;
}

export function textReport(
  results: readonly TestResult[],
  colours: boolean,
): string {
  const paint = painter(colours);
  const width = Math.max(...results.map(({ test }) => test.name.length));
  const lines: string[] = [];
  let file = "";
  for (const result of results) {
    if (result.file !== file) lines.push(paint("bold", result.file));
    file = result.file;
    const ok = result.differences.length === 0;
    const mark = ok ? paint("green", "✓") : paint("red", "✗");
    const fate = outcomeText(result.explanation.outcome);
    lines.push(
      `  ${mark} ${result.test.name.padEnd(width)}  ${paint("dim", fate)}`,
    );
    if (!ok) lines.push(...failureLines(result, paint));
  }
  const passed = passedOf(results);
  lines.push(`${passed} passed, ${results.length - passed} failed`);
  return lines.map((line) => `${line}\n`).join("");
}

/** What was expected, what came instead, and the decisions that led there. */
function failureLines(
  { file, test, differences, explanation, place }: TestResult,
  paint: Paint,
): string[] {
  const { method, url, from = "a caller without a sidecar" } = test.request;
  const width = Math.max(...differences.map(({ field }) => field.length));
  const fields = new Set(differences.map(({ field }) => field));
  const because = decisionLines(decisive(explanation, fields), place, paint);
  return [
    `      ${method} ${url} from ${from} (${file}:${test.line})`,
    paint("dim", "      expected (-) and decided (+):"),
    ...differences.flatMap(({ field, expected, actual }) => [
      paint("green", `      - ${field.padEnd(width)}  ${expected}`),
      paint("red", `      + ${field.padEnd(width)}  ${actual}`),
    ]),
    ...because.map((line) => `        ${line}`),
    "",
  ];
}

/** The steps that speak of a field of a test; the route and a refusal are of interest whatever the field. */
const STEPS: Readonly<Record<string, readonly Step[]>> = {
  allowed: ["mTLS", "provider", "authorization"],
  by: ["mTLS", "provider", "authorization"],
  reason: ["mTLS", "provider", "authorization"],
  status: ["mTLS", "provider", "authorization"],
  grpcStatus: ["mTLS", "provider", "authorization"],
  shadow: ["authorization"],
  backend: ["backend"],
  retries: ["retries"],
  timeout: ["time-outs"],
  backendTimeout: ["time-outs"],
  location: ["filters"],
  path: ["filters"],
};

function decisive(
  { decisions }: CallExplanation,
  fields: ReadonlySet<string>,
): readonly Decision[] {
  const steps = new Set<Step>(["destination", "route", "filters", "fault"]);
  for (const field of fields)
    for (const step of STEPS[field.split(".")[0] ?? ""] ?? []) steps.add(step);
  return decisions.filter(
    ({ step, refusal }) => refusal !== undefined || steps.has(step),
  );
}

export function jsonReport(results: readonly TestResult[]): string {
  const passed = passedOf(results);
  return `${JSON.stringify(
    {
      passed,
      failed: results.length - passed,
      tests: results.map(({ file, test, differences, explanation, place }) => ({
        file,
        line: test.line,
        name: test.name,
        passed: differences.length === 0,
        differences,
        ...withPlaces(explanation, place),
      })),
    },
    undefined,
    2,
  )}\n`;
}

/** A suite a file, as Jenkins, GitLab and GitHub's reporters read it. */
export function junitReport(results: readonly TestResult[]): string {
  const failed = results.length - passedOf(results);
  const suites = Map.groupBy(results, ({ file }) => file);
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="wherry test" tests="${results.length}" failures="${failed}">`,
    ...[...suites].flatMap(([file, own]) => [
      `  <testsuite name="${escapeXml(file)}" tests="${own.length}" failures="${own.length - passedOf(own)}">`,
      ...own.flatMap(testCase),
      "  </testsuite>",
    ]),
    "</testsuites>",
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function testCase(result: TestResult): string[] {
  const { file, test, differences } = result;
  const opening = `    <testcase classname="${escapeXml(file)}" name="${escapeXml(test.name)}" file="${escapeXml(file)}" line="${test.line}"`;
  if (differences.length === 0) return [`${opening}/>`];
  const message = differences
    .map(
      ({ field, expected, actual }) =>
        `${field}: expected ${expected}, got ${actual}`,
    )
    .join("; ");
  const text = failureLines(result, (_colour, plain) => plain).join("\n");
  return [
    `${opening}>`,
    `      <failure message="${escapeXml(message)}">${escapeXml(text)}</failure>`,
    "    </testcase>",
  ];
}

/** XML 1.0 has no place for control characters and these two others, not even escaped. */
function escapeXml(text: string): string {
  return text
    .replaceAll(
      /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g,
      "\ufffd",
    )
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
