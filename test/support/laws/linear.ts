/** Shapes of input that most readers of texts stumble over, and the test that twice as much takes twice as long (law 15). */
import t from "tap";
import { growthOf } from "../clocks/growth.ts";

/** An input of that many characters. */
export type Make = (size: number) => string;

export const of =
  (part: string, before = "", after = ""): Make =>
  (size) =>
    before + part.repeat(Math.ceil(size / part.length)) + after;

/** What most readers of texts stumble over. */
export const SHAPES: Readonly<Record<string, Make>> = {
  blanks: of(" ", "a", "b"),
  letters: of("a"),
  digits: of("1"),
  commas: of(","),
  members: of("a, "),
  pairs: of("a=b;"),
  semicolons: of(";"),
  colons: of(":1"),
  dots: of("."),
  labels: of("a."),
  slashes: of("/"),
  elements: of("/a"),
  "dot segments": of("/.."),
  "steps up and down": of("/a/.."),
  escapes: of("%61"),
  "escapes that stay": of("%C3"),
  percents: of("%"),
  backslashes: of("\\"),
  brackets: of("["),
  "brackets that close": of("[]"),
  quotes: of('"'),
  braces: of("{"),
  "lines with blanks": of(" \n"),
};

/** Errors are answers too. */
function quietly(run: () => unknown): void {
  try {
    run();
  } catch {
    // Refused.
  }
}

export function holds(
  what: string,
  run: (text: string) => unknown,
  size: number,
  shapes: Readonly<Record<string, Make>> = SHAPES,
): void {
  void t.test(what, (t) => {
    for (const [shape, make] of Object.entries(shapes)) {
      const { linear, ratio } = growthOf((length) => {
        const text = make(length);
        return () => quietly(() => run(text));
      }, size);
      t.ok(linear, `${shape}: ${ratio.toFixed(1)} times as long`);
    }
    t.end();
  });
}
