import t from "tap";
import {
  digestOf,
  parseResourceName,
  resourceName,
} from "../../src/push/names.ts";

void t.test("names of resources come back as keys", (t) => {
  for (const key of [
    { kind: "HTTPRoute", namespace: "shop", name: "reviews" },
    { kind: "Mesh", namespace: "", name: "default" },
  ])
    t.same(parseResourceName(resourceName(key)), key);
  for (const name of ["", "Mesh", "a/b", "/b/c", "a/b/", "a/b/c/d"])
    t.equal(parseResourceName(name), undefined, JSON.stringify(name));
  t.end();
});

void t.test(
  "the digest depends on names and versions, not on their order",
  (t) => {
    const digest = digestOf([
      ["a", "1"],
      ["b", "2"],
    ]);
    t.match(digest, /^[0-9a-f]{64}$/);
    t.equal(
      digestOf([
        ["b", "2"],
        ["a", "1"],
      ]),
      digest,
    );
    for (const other of [
      [],
      [["a", "1"]],
      [
        ["a", "2"],
        ["b", "2"],
      ],
      [
        ["a", "12"],
        ["b", ""],
      ],
      [
        ["ab", "1"],
        ["", "2"],
      ],
    ] as const)
      t.not(digestOf(other), digest);
    t.end();
  },
);
