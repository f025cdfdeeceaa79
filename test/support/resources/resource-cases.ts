/** Tables of specs: what is accepted, and what is refused at which path with which words. */
import type { Test } from "tap";
import type { KindDefinition, Problem } from "../../../src/resources/kind.ts";
import { validate } from "../../../src/resources/validate.ts";

/** Path of the field and words of the message; nothing for a spec that is accepted. */
export type Expected = readonly [path: string, words: RegExp];
/** What is stated, the spec, and every problem in order. */
export type Case = readonly [
  states: string,
  spec: unknown,
  ...problems: Expected[],
];

export function resourceOf(
  definition: KindDefinition,
  spec: unknown,
  metadata: object = {},
): Record<string, unknown> {
  return {
    apiVersion: definition.apiVersion,
    kind: definition.kind,
    metadata: {
      name: definition.namespaced ? "sample" : "default",
      ...(definition.namespaced ? { namespace: "shop" } : {}),
      ...metadata,
    },
    spec,
  };
}

/** Errors and warnings of any value. */
export function problemsOf(value: unknown): readonly Problem[] {
  const result = validate(value);
  return result.ok ? result.warnings : result.problems;
}

export function compare(
  t: Test,
  problems: readonly Problem[],
  expected: readonly Expected[],
): void {
  t.strictSame(
    problems.map(({ path }) => path),
    expected.map(([path]) => path),
    problems.map(({ path, message }) => `${path}: ${message}`).join("; "),
  );
  for (const [index, [, words]] of expected.entries())
    t.match(problems[index]?.message, words);
}

/** A refused spec has exactly the problems that are listed, in that order. */
export function runCases(
  t: Test,
  definition: KindDefinition,
  cases: readonly Case[],
): void {
  for (const [states, spec, ...expected] of cases)
    void t.test(states, (t) => {
      const result = validate(resourceOf(definition, spec));
      const problems = result.ok ? result.warnings : result.problems;
      compare(t, problems, expected);
      const refused = problems.some(({ severity }) => severity !== "warning");
      t.equal(result.ok, !refused);
      t.end();
    });
}
