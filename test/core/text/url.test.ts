/** An address is the beginning of others, with or without a slash at its end. */
import t from "tap";
import { withoutFinalSlashes } from "../../../src/core/text/url.ts";

void t.test("slashes at the end go, all others stay", (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["", ""],
    ["/", ""],
    ["http://collector:4318", "http://collector:4318"],
    ["http://collector:4318/", "http://collector:4318"],
    ["http://collector:4318/otlp///", "http://collector:4318/otlp"],
  ];
  for (const [given, wanted] of rows)
    t.equal(withoutFinalSlashes(given), wanted);
  t.end();
});
