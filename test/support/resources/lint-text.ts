/** Lints one text, as most tests of a kind do. */
import {
  lintTexts,
  type Finding,
  type LintOptions,
} from "../../../src/resources/lint.ts";

export function lintText(
  text: string,
  file: string,
  options?: LintOptions,
): readonly Finding[] {
  return lintTexts([{ file, text }], options).findings;
}
