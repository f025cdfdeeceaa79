/** SPIFFE IDs are read by the letter of the SPIFFE-ID specification and by our path shape, and nothing is forgiven. */
import t from "tap";
import { formatSpiffeId, parseSpiffeId } from "../../src/identity/spiffe.ts";

const td63 = "a".repeat(255);

void t.test("an identity of our shape is read and written back", (t) => {
  for (const [trustDomain, namespace, serviceAccount] of [
    ["cluster.local", "shop", "orders"],
    ["a", "b", "c"],
    ["mesh-1_x.example", "Name.space", "s_a-1"],
    [td63, "shop", "orders"],
  ] as const) {
    const id = { trustDomain, namespace, serviceAccount };
    t.same(parseSpiffeId(formatSpiffeId(id)), id);
  }
  t.end();
});

void t.test("everything else is no identity", (t) => {
  const rows: [string, string][] = [
    ["another scheme", "https://cluster.local/ns/shop/sa/web"],
    ["the scheme in capitals", "SPIFFE://cluster.local/ns/shop/sa/web"],
    [
      "a trust domain in capitals (2.1)",
      "spiffe://Cluster.local/ns/shop/sa/web",
    ],
    ["no trust domain (2.1)", "spiffe:///ns/shop/sa/web"],
    ["a trust domain of 256 octets (2.3)", `spiffe://${td63}a/ns/shop/sa/web`],
    ["a port (2.1)", "spiffe://cluster.local:443/ns/shop/sa/web"],
    ["user information (2.1)", "spiffe://x@cluster.local/ns/shop/sa/web"],
    ["a query (2)", "spiffe://cluster.local/ns/shop/sa/web?x"],
    ["a fragment (2)", "spiffe://cluster.local/ns/shop/sa/web#x"],
    ["percent-encoding (2.2)", "spiffe://cluster.local/ns/shop/sa/w%65b"],
    ["an empty segment (2.2)", "spiffe://cluster.local/ns//sa/web"],
    ["a trailing slash (2.2)", "spiffe://cluster.local/ns/shop/sa/web/"],
    ["a dot segment (2.2)", "spiffe://cluster.local/ns/./sa/web"],
    ["a double-dot segment (2.2)", "spiffe://cluster.local/ns/shop/sa/.."],
    ["another shape", "spiffe://cluster.local/web"],
    ["a longer path", "spiffe://cluster.local/ns/shop/sa/web/x"],
    ["other keys", "spiffe://cluster.local/namespace/shop/sa/web"],
    ["letters beyond ASCII", "spiffe://cluster.local/ns/shop/sa/wéb"],
    ["a NUL", "spiffe://cluster.local/ns/shop/sa/web\0"],
    ["a line feed at the end", "spiffe://cluster.local/ns/shop/sa/web\n"],
    [
      "over 2048 octets (2.3)",
      `spiffe://cluster.local/ns/shop/sa/${"w".repeat(2048)}`,
    ],
    ["the empty text", ""],
  ];
  for (const [what, uri] of rows) t.equal(parseSpiffeId(uri), undefined, what);
  t.end();
});

void t.test("a part that could not be read back is not written", (t) => {
  for (const namespace of ["", "a/b", "..", "a b"])
    t.throws(
      () =>
        formatSpiffeId({ trustDomain: "x", namespace, serviceAccount: "web" }),
      RangeError,
    );
  t.end();
});
