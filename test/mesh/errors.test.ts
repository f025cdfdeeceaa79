/** An error of the data path says what failed, and where it was made only where that is a defect. */
import t from "tap";
import { MeshError } from "../../src/mesh/errors.ts";

/** How many places of the program it notes. */
function places({ stack = "" }: Error): number {
  return stack.split("\n").filter((line) => line.startsWith("    at ")).length;
}

void t.test("failures of calls note no stack, defects do", (t) => {
  const { stackTraceLimit } = Error;
  const failure = new MeshError("CLIENT_CLOSED", "gone");
  t.equal(failure.message, "gone");
  t.equal(places(failure), 0);
  t.ok(places(new MeshError("INTERNAL", "a defect")) > 0);
  const cause = new Error("why");
  t.equal(new MeshError("UPSTREAM_RESET", "", { cause }).cause, cause);
  t.ok(places(cause) > 0, "others note theirs as ever");
  t.equal(Error.stackTraceLimit, stackTraceLimit);
  t.end();
});
