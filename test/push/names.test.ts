import t from "tap";
import {
  digestSum,
  digestTerm,
  formatDigest,
  parseResourceName,
  resourceName,
} from "../../src/push/names.ts";
import { digestOf } from "../support/control-plane/digest.ts";

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

void t.test("a digest is kept in step with a change", (t) => {
  const versions = Array.from(
    { length: 100 },
    (_none, index) => [`Service/shop/s${index}`, String(index)] as const,
  );
  let sum = 0n;
  for (const [name, version] of versions)
    sum = digestSum(sum, digestTerm(name, version));
  t.equal(formatDigest(sum), digestOf(versions));
  for (const [name, version] of versions.slice(1).reverse())
    sum = digestSum(sum, -digestTerm(name, version));
  t.equal(formatDigest(sum), digestOf(versions.slice(0, 1)));
  const [[name, version] = ["", ""]] = versions;
  sum = digestSum(sum, -digestTerm(name, version));
  t.equal(formatDigest(sum), "0".repeat(64), "nothing is left");
  t.equal(formatDigest(1n).length, 64, "zeros in front stay");
  t.end();
});

void t.test("a term is SHA-256 over name and version", (t) => {
  t.equal(
    // printf 'Mesh//default\0001\n' | sha256sum
    digestOf([["Mesh//default", "1"]]),
    "3e6681d299bf6fe22940f9317e5530c2cc2740865fc926fbe7db18313369f897",
  );
  t.end();
});
