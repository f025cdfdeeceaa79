/** The table of reasons: what holds for every row. `test/proxy/exchange/rescue.test.ts` and `test/policy/outcome.test.ts` give the values. */
import t from "tap";
import { MeshError } from "../../src/mesh/errors.ts";
import { isCode, REASONS } from "../../src/mesh/reasons.ts";
import { EFFECTS } from "../../src/policy/outcome.ts";

const ROWS = Object.entries(REASONS);

void t.test("a reason says what happened, and what to do", (t) => {
  for (const [code, { text, hint }] of ROWS) {
    t.match(code, /^[A-Z]+(?:_[A-Z]+)*$/);
    t.notMatch(text, /\.$/, code);
    t.match(hint, /^[A-Z].*\.$/, code);
  }
  t.equal(new Set(ROWS.map(([, { text }]) => text)).size, ROWS.length);
  t.end();
});

void t.test("every failure has a status of its class", (t) => {
  for (const [code, { response, fault }] of ROWS)
    t.ok(
      fault === "upstream"
        ? response.status >= 500
        : response.status >= 400 && response.status < 600,
      code,
    );
  t.end();
});

void t.test(
  "nothing that a peer's sidecar says by itself is held against its application but what its application did",
  (t) => {
    for (const [code, { fault, outcome }] of ROWS)
      if (fault !== "upstream")
        t.match(
          EFFECTS[outcome.peer],
          { breaker: "none", ejection: "none", latency: "none" },
          code,
        );
    t.end();
  },
);

void t.test(
  "an error has the words and the fault of its reason, or its own",
  (t) => {
    for (const [code, { text, fault }] of ROWS) {
      t.ok(isCode(code));
      if (isCode(code))
        t.match(new MeshError(code, ""), { message: text, source: fault });
    }
    t.match(new MeshError("NO_ROUTE", "what", { source: "upstream" }), {
      message: "what",
      source: "upstream",
    });
    t.notOk(isCode("constructor"));
    t.end();
  },
);

void t.test(
  "a proxy that leaves does not say that a call was not executed",
  (t) => {
    t.match(REASONS.DRAINING.hint, /may have been executed/);
    t.end();
  },
);
