/** A function of `src` fits a head. A file is as long as its subject, so nothing counts its lines. */
import t from "tap";
import { functionsIn } from "./support/repository/functions.ts";
import { sourceFiles, SRC } from "./support/repository/imports.ts";

/** Lines. */
const LONGEST_FUNCTION = 70;

void t.test("functions are short", (t) => {
  const functions = functionsIn(SRC, sourceFiles());
  t.ok(functions.length > 1000, `${functions.length} functions`);
  for (const { file, name, lines } of functions)
    if (lines > LONGEST_FUNCTION) t.fail(`${file}: ${name} has ${lines} lines`);
  t.end();
});
