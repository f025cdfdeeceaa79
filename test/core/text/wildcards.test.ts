/** Wildcard hosts: which take a host in, and how many a look-up asks for. */
import t from "tap";
import {
  baseFault,
  baseOf,
  isWildcard,
  wildcardsOver,
} from "../../../src/core/text/wildcards.ts";

void t.test("wildcards over a host, the longest first", (t) => {
  for (const [host, ...expected] of [
    ["a.b.example.com", "*.b.example.com", "*.example.com"],
    ["*.b.example.com", "*.example.com"],
    ["example.com"],
    ["*.example.com"],
    ["com"],
    [""],
  ] as const)
    t.strictSame(wildcardsOver(host), expected, host);
  t.equal(wildcardsOver("a.".repeat(126) + "a").length, 7);
  t.ok(isWildcard("*.a.b"));
  t.notOk(isWildcard("a.b"));
  t.equal(baseOf("*.a.b"), "a.b");
  t.equal(baseOf("a.b"), "a.b");
  t.match(baseFault("com"), /top-level domain/);
  t.match(baseFault("a.b.c.d.e.f.g.h.i"), /more than 8/);
  t.equal(baseFault("a.b.c.d.e.f.g.h"), undefined);
  t.end();
});
