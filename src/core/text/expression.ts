/** Regular expressions of users, on texts of peers: in time that grows with the text alone, and within a bound (law 15). */
import { RE2JS } from "re2js";

/**
 * Steps of one match: instructions of the compiled expression times characters. RE2 takes a step in some 20 ns at worst, and most
 * expressions a small part of their steps: those that count, like ".{500}", take all.
 */
export const MOST_STEPS: number = 262_144;
/** Characters that each expression looks at, however large it is. */
export const LEAST_CHARACTERS: number = 1024;

/** Matches the whole text, as Istio does. A text that is too long for the expression does not match. Throws where it is none of RE2. */
export function compileExpression(pattern: string): (text: string) => boolean {
  const compiled = RE2JS.compile(pattern);
  const longest = Math.max(
    LEAST_CHARACTERS,
    Math.floor(MOST_STEPS / compiled.programSize()),
  );
  return (text) => text.length <= longest && compiled.testExact(text);
}
