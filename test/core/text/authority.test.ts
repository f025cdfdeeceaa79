/** One reading of an authority: what is refused, and the one form of what is not. */
import fc from "fast-check";
import t from "tap";
import {
  canonicalAuthority,
  hostOf,
  readAuthority,
} from "../../../src/core/text/authority.ts";

/** What comes, and the one form; undefined: no authority. */
const TABLE: readonly (readonly [string, string | undefined])[] = [
  ["orders.shop", "orders.shop"],
  ["ORDERS.Shop", "orders.shop"],
  ["orders.shop:80", "orders.shop:80"],
  ["orders.shop:080", "orders.shop:80"],
  ["orders.shop:00001", "orders.shop:1"],
  ["orders.shop:65535", "orders.shop:65535"],
  ["orders.shop.", "orders.shop"],
  ["Orders.Shop.:0080", "orders.shop:80"],
  ["a", "a"],
  ["a_b~c-d.1", "a_b~c-d.1"],
  ["xn--caf-dma.example", "xn--caf-dma.example"],
  ["10.0.0.7:1", "10.0.0.7:1"],
  ["10.0.0.7.", "10.0.0.7"],
  ["[::1]", "[::1]"],
  ["[0:0::1]:080", "[::1]:80"],
  ["[2001:DB8::1]", "[2001:db8::1]"],
  ["[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"],
  ["[::FFFF:102:304]", "[::ffff:1.2.3.4]"],
  ["[::0.0.0.1]", "[::1]"],
  ["[::1.2.3.4]", "[::1.2.3.4]"],
  // empty labels
  ["", undefined],
  [".", undefined],
  ["..", undefined],
  [".a", undefined],
  ["a..", undefined],
  ["a..b", undefined],
  ["a..:80", undefined],
  [":80", undefined],
  [".:80", undefined],
  // ports
  ["a:", undefined],
  ["a:0", undefined],
  ["a:00000", undefined],
  ["[::1]:0", undefined],
  ["a:65536", undefined],
  ["a:100000", undefined],
  ["a:000080", undefined],
  ["a:+1", undefined],
  ["a:1 ", undefined],
  ["a:1:2", undefined],
  ["a:1.", undefined],
  // user information, lists, paths, escapes, other characters
  ["me@a", undefined],
  ["a@b:1", undefined],
  ["a,b", undefined],
  ["a/b", undefined],
  ["a?b", undefined],
  ["a#b", undefined],
  ["a%2e", undefined],
  ["a b", undefined],
  ["a\tb", undefined],
  ["a\0", undefined],
  ["caf\u00e9.example", undefined],
  ["a\u212a", undefined],
  ["a\uff0e", undefined],
  ["a*", undefined],
  // literals
  ["::1", undefined],
  ["[::1", undefined],
  ["[::1]]", undefined],
  ["[::1]x", undefined],
  ["[::1].", undefined],
  ["[::1%25eth0]", undefined],
  ["[fe80::1%eth0]", undefined],
  ["[127.0.0.1]", undefined],
  ["[]", undefined],
  ["[v1.a]", undefined],
];

void t.test("the one form of an authority", (t) => {
  for (const [text, expected] of TABLE)
    t.equal(canonicalAuthority(text), expected, JSON.stringify(text));
  const same = "orders.shop:80";
  t.equal(canonicalAuthority(same), same);
  t.same(readAuthority("Orders.shop.:080"), { host: "orders.shop", port: 80 });
  t.same(readAuthority("[::1]:80"), { host: "[::1]", port: 80 });
  t.same(readAuthority("[::1]"), { host: "[::1]", port: undefined });
  t.equal(readAuthority("a.."), undefined);
  t.equal(hostOf("Orders.shop.:080"), "orders.shop");
  t.equal(hostOf("a.."), "");
  t.end();
});

void t.test(
  "what was read once stays as it is, and has no empty label",
  (t) => {
    const piece = fc.constantFrom(
      ..."a B . .. : 0 80 [ ] ::1 [::1] - _ ~ @ % 1.2.3.4".split(" "),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const once = canonicalAuthority(pieces.join(""));
        return (
          once === undefined ||
          (canonicalAuthority(once) === once &&
            !/\.\.|^\.|\.(:|$)|[A-Z]/.test(once))
        );
      }),
      { numRuns: 20_000, seed: 11 },
    );
    t.pass();
    t.end();
  },
);
