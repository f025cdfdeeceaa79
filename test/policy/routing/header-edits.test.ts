import t from "tap";
import {
  applyEdits,
  compileEdits,
  inTurn,
} from "../../../src/policy/routing/header-edits.ts";

interface Pair {
  readonly name: string;
  readonly value: string;
}
const make = (name: string, value: string): Pair => ({ name, value });

void t.test("no filter for a direction means no edits at all", (t) => {
  t.equal(compileEdits(undefined, "request"), undefined);
  t.equal(
    compileEdits(
      [
        {
          type: "ResponseHeaderModifier",
          responseHeaderModifier: { remove: ["x"] },
        },
      ],
      "request",
    ),
    undefined,
  );
  t.end();
});

void t.test(
  "set replaces every field of the name, add appends, remove comes last; names have no case",
  (t) => {
    const edits = compileEdits(
      [
        {
          type: "RequestHeaderModifier",
          requestHeaderModifier: {
            set: [make("X-Set", "new"), make("x-absent", "there")],
            add: [make("X-Add", "more")],
            remove: ["X-Gone"],
          },
        },
      ],
      "request",
    );
    if (edits === undefined) throw new Error("no edits");
    const fields = [
      make("x-set", "1"),
      make("x-add", "first"),
      make("x-gone", "1"),
      make("x-set", "2"),
      make("x-keep", "k"),
    ];
    t.strictSame(applyEdits(fields, edits, make), [
      make("x-set", "new"),
      make("x-add", "first"),
      make("x-keep", "k"),
      make("x-absent", "there"),
      make("x-add", "more"),
    ]);
    t.equal(fields.length, 5, "the list given is left alone");
    t.end();
  },
);

void t.test("the response's edits are told from the request's", (t) => {
  const edits = compileEdits(
    [
      {
        type: "ResponseHeaderModifier",
        responseHeaderModifier: { add: [make("Via", "mesh")] },
      },
    ],
    "response",
  );
  t.strictSame(edits, {
    set: [],
    add: [make("via", "mesh")],
    remove: new Set(),
  });
  t.end();
});

void t.test(
  "edits that follow each other see what the earlier ones made",
  (t) => {
    const rule = compileEdits(
      [
        {
          type: "RequestHeaderModifier",
          requestHeaderModifier: {
            set: [{ name: "x-a", value: "rule" }],
            remove: ["x-b"],
          },
        },
      ],
      "request",
    );
    const backend = compileEdits(
      [
        {
          type: "RequestHeaderModifier",
          requestHeaderModifier: {
            add: [{ name: "x-b", value: "backend" }],
            remove: ["x-a"],
          },
        },
      ],
      "request",
    );
    const make = (
      name: string,
      value: string,
    ): { name: string; value: string } => ({ name, value });
    const both = inTurn(rule, backend);
    t.ok(both);
    if (both !== undefined)
      t.strictSame(applyEdits([make("x-b", "caller")], both, make), [
        make("x-b", "backend"),
      ]);
    t.equal(inTurn(undefined, backend), backend);
    t.equal(inTurn(rule, undefined), rule);
    t.equal(inTurn(undefined, undefined), undefined);
    t.end();
  },
);
