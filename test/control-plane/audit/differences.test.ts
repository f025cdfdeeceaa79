/** What an entry says of a change: fields by their paths, bounded, and nothing that may be a secret. */
import t from "tap";
import {
  differencesOf,
  LONGEST_VALUE,
  MOST_CHANGES,
  type FieldChange,
} from "../../../src/control-plane/audit/differences.ts";
import type { Resource } from "../../../src/resources/envelope.ts";

function resource(spec: unknown, metadata: object = {}): Resource {
  return {
    apiVersion: "v1",
    kind: "Test",
    metadata: { name: "a", ...metadata },
    spec,
  };
}

void t.test("fields that differ, by path, with both values", (t) => {
  const rows: readonly (readonly [unknown, unknown, readonly FieldChange[]])[] =
    [
      [{ a: 1 }, { a: 1 }, []],
      [{ a: 1 }, { a: 2 }, [{ path: "spec.a", before: 1, after: 2 }]],
      [{}, { a: false }, [{ path: "spec.a", after: false }]],
      [{ a: null }, {}, [{ path: "spec.a", before: null }]],
      [
        { list: [1, { b: "x" }] },
        { list: [1, { b: "y" }, 3] },
        [
          { path: "spec.list[1].b", before: "x", after: "y" },
          { path: "spec.list[2]", after: 3 },
        ],
      ],
      [
        { a: { b: 1 } },
        { a: [1] },
        [{ path: "spec.a", before: { b: 1 }, after: [1] }],
      ],
      [{ a: {} }, { a: {} }, []],
      [{}, { a: {} }, [{ path: "spec.a", after: {} }]],
      [{ a: [] }, {}, [{ path: "spec.a", before: [] }]],
      [{ a: {} }, { a: { b: 1 } }, [{ path: "spec.a.b", after: 1 }]],
      [
        { "x/y": "1" },
        { "x/y": "2" },
        [{ path: 'spec["x/y"]', before: "1", after: "2" }],
      ],
    ];
  for (const [before, after, changes] of rows)
    t.strictSame(
      differencesOf(resource(before), resource(after)),
      { changes, more: 0 },
      JSON.stringify([before, after]),
    );
  t.end();
});

void t.test("a creation and a removal list every field", (t) => {
  const made = resource({ a: 1, b: [{ c: 2 }] }, { labels: { app: "web" } });
  t.strictSame(differencesOf(undefined, made).changes, [
    { path: "spec.a", after: 1 },
    { path: "spec.b[0].c", after: 2 },
    { path: "metadata.labels.app", after: "web" },
  ]);
  t.strictSame(differencesOf(made, undefined).changes, [
    { path: "spec.a", before: 1 },
    { path: "spec.b[0].c", before: 2 },
    { path: "metadata.labels.app", before: "web" },
  ]);
  t.end();
});

void t.test(
  "what may be a secret is named, and its values are left out",
  (t) => {
    const SECRET = "s3cr3t";
    const hidden: readonly (readonly [unknown, string])[] = [
      [{ hash: SECRET }, "spec.hash"],
      [{ clientSecret: SECRET }, "spec.clientSecret"],
      [{ password: { from: SECRET } }, "spec.password.from"],
      [{ privateKey: SECRET }, "spec.privateKey"],
      [{ jwks: SECRET }, "spec.jwks"],
      [{ bearerToken: SECRET }, "spec.bearerToken"],
      [
        { filters: [{ set: [{ name: "authorization", value: SECRET }] }] },
        "spec.filters[0].set[0].value",
      ],
      [
        { headers: [{ name: "x-key", type: "Exact", value: SECRET }] },
        "spec.headers[0].value",
      ],
      [
        { when: [{ key: "request.headers[x-key]", values: [SECRET] }] },
        "spec.when[0].values[0]",
      ],
      [
        { when: [{ key: "request.headers[x-key]", notValues: [SECRET] }] },
        "spec.when[0].notValues[0]",
      ],
    ];
    for (const [spec, path] of hidden)
      for (const [before, after] of [
        [undefined, resource(spec)],
        [resource(spec), undefined],
        [resource({}), resource(spec)],
      ] as const) {
        const { changes } = differencesOf(before, after);
        t.notMatch(JSON.stringify(changes), SECRET, path);
        t.ok(
          changes.some((change) => change.path === path && change.hidden),
          path,
        );
      }
    const annotated = resource({}, { annotations: { "last-applied": SECRET } });
    t.strictSame(differencesOf(undefined, annotated).changes, [
      { path: "spec", after: {} },
      { path: "metadata.annotations.last-applied", hidden: true },
    ]);
    for (const spec of [
      { forwardOriginalToken: true },
      { value: 1 },
      { when: [{ key: "source.ip", values: ["10.0.0.1"] }] },
    ])
      t.notMatch(
        differencesOf(undefined, resource(spec)).changes,
        [{ hidden: true }],
        JSON.stringify(spec),
      );
    t.end();
  },
);

void t.test("an entry is bounded, whatever the resource", (t) => {
  const many = Object.fromEntries(
    Array.from({ length: 5000 }, (_, index) => [`f${index}`, index]),
  );
  const { changes, more } = differencesOf(undefined, resource(many));
  t.equal(changes.length, MOST_CHANGES);
  t.equal(more, 5000 - MOST_CHANGES);
  const [long] = differencesOf(
    resource({ a: "x".repeat(100_000) }),
    resource({ a: "y" }),
  ).changes;
  t.equal(String(long?.before).length, LONGEST_VALUE + 1);
  t.end();
});

void t.test("labels and annotations hide no change of the spec", (t) => {
  const noise = Object.fromEntries(
    Array.from({ length: MOST_CHANGES }, (_, index) => [`n${index}`, "x"]),
  );
  const { changes, more } = differencesOf(
    resource({ action: "DENY" }),
    resource({ action: "ALLOW" }, { labels: noise, annotations: noise }),
  );
  t.match(changes[0], { path: "spec.action", before: "DENY", after: "ALLOW" });
  t.equal(changes.length + more, 1 + 2 * MOST_CHANGES);
  t.end();
});

void t.test(
  "a secret value that another takes the place of is left out",
  (t) => {
    const condition = (key: string, values: readonly string[]): object => ({
      when: [{ key, values }],
    });
    const secret = condition("request.headers[x-api-key]", ["s3cret"]);
    const open = condition("source.namespace", ["shop"]);
    for (const [before, after] of [
      [secret, open],
      [open, secret],
    ]) {
      const { changes } = differencesOf(resource(before), resource(after));
      t.notMatch(JSON.stringify(changes), /s3cret/);
      t.match(changes, [
        { path: "spec.when[0].key" },
        { path: "spec.when[0].values[0]", hidden: true },
      ]);
    }
    t.end();
  },
);
