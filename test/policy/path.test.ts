import fc from "fast-check";
import t from "tap";
import { hostOf } from "../../src/core/text/authority.ts";
import {
  normalisePath,
  readRequest,
  type RequestHeadLike,
} from "../../src/policy/path.ts";
import type { PathNormalization } from "../../src/resources/mesh/schema.ts";

const MODES: readonly PathNormalization[] = [
  "NONE",
  "BASE",
  "MERGE_SLASHES",
  "DECODE_AND_MERGE_SLASHES",
];

/** A path, and what each mode makes of it; undefined is a refusal. */
const TABLE: readonly [
  path: string,
  none: string | undefined,
  base: string | undefined,
  merge: string | undefined,
  decode: string | undefined,
][] = [
  ["/a/b", "/a/b", "/a/b", "/a/b", "/a/b"],
  ["/", "/", "/", "/", "/"],
  ["/a/", "/a/", "/a/", "/a/", "/a/"],
  ["/a/./b", "/a/./b", "/a/b", "/a/b", "/a/b"],
  ["/a/../b", "/a/../b", "/b", "/b", "/b"],
  ["/a/..", "/a/..", "/", "/", "/"],
  ["/a/b/.", "/a/b/.", "/a/b/", "/a/b/", "/a/b/"],
  ["/../../a", "/../../a", "/a", "/a", "/a"],
  ["/..a/b..", "/..a/b..", "/..a/b..", "/..a/b..", "/..a/b.."],
  ["/.hidden", "/.hidden", "/.hidden", "/.hidden", "/.hidden"],
  ["/%61%2D%7e", "/%61%2D%7E", "/a-~", "/a-~", "/a-~"],
  ["/%2e%2E/a", "/%2E%2E/a", "/a", "/a", "/a"],
  ["/a/.%2e/b", "/a/.%2E/b", "/b", "/b", "/b"],
  ["\\a", undefined, undefined, undefined, undefined],
  ["/a\\b", "/a\\b", "/a/b", "/a/b", "/a/b"],
  ["/a\\..\\b", "/a\\..\\b", "/b", "/b", "/b"],
  ["/a//b", "/a//b", "/a//b", "/a/b", "/a/b"],
  ["//a///b//", "//a///b//", "//a///b//", "/a/b/", "/a/b/"],
  ["/a%2fb", "/a%2Fb", "/a%2Fb", "/a%2Fb", "/a/b"],
  ["/a%5Cb", "/a%5Cb", "/a%5Cb", "/a%5Cb", "/a/b"],
  ["/a/..%2f../b", "/a/..%2F../b", "/a/..%2F../b", "/a/..%2F../b", "/b"],
  ["/ok/..%2fno", "/ok/..%2Fno", "/ok/..%2Fno", "/ok/..%2Fno", "/no"],
  ["/a/../b%2fc//d", "/a/../b%2Fc//d", "/b%2Fc//d", "/b%2Fc/d", "/b/c/d"],
  ["/a%252fb", "/a%252fb", "/a%252fb", "/a%252fb", "/a%252fb"],
  [
    "/a%252e%252e",
    "/a%252e%252e",
    "/a%252e%252e",
    "/a%252e%252e",
    "/a%252e%252e",
  ],
  ["/%00", "/%00", undefined, undefined, undefined],
  ["/a#b", undefined, undefined, undefined, undefined],
  ["/%zz", undefined, undefined, undefined, undefined],
  ["/100%", undefined, undefined, undefined, undefined],
  ["/100%?q=100%25", undefined, undefined, undefined, undefined],
  ["/%2", undefined, undefined, undefined, undefined],
  ["/%2g", undefined, undefined, undefined, undefined],
  ["/%%32f", undefined, undefined, undefined, undefined],
  ["/%2%66", undefined, undefined, undefined, undefined],
  ["/%C3%a9", "/%C3%A9", "/%C3%A9", "/%C3%A9", "/%C3%A9"],
  ["/\u00e9", "/\u00e9", "/%E9", "/%E9", "/%E9"],
  ['/a"<b>', '/a"<b>', "/a%22%3Cb%3E", "/a%22%3Cb%3E", "/a%22%3Cb%3E"],
  ["/\u20ac", "/\u20ac", undefined, undefined, undefined],
  ["/\0", "/\0", undefined, undefined, undefined],
  ["a", undefined, undefined, undefined, undefined],
  ["", "", "", "", ""],
  ["*", "*", "*", "*", "*"],
];

void t.test(
  "trap 7: each mode normalises a path as Envoy does, and writes escapes in upper case",
  (t) => {
    for (const [path, ...expected] of TABLE)
      for (const [index, mode] of MODES.entries()) {
        const result = normalisePath(path, mode);
        t.equal(
          result.ok ? result.path : undefined,
          expected[index],
          `${JSON.stringify(path)} ${mode}`,
        );
      }
    t.end();
  },
);

void t.test(
  "trap 7: a normalised path stays as it is, so no decoding happens twice",
  (t) => {
    const piece = fc.constantFrom(
      ..."/ . .. % %2 2 e f %2e %2f %5c %25 %252f %41 \\ a // %zz é".split(" "),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.constantFrom(...MODES),
        (pieces, mode) => {
          const once = normalisePath(`/${pieces.join("")}`, mode);
          if (!once.ok) return true;
          const twice = normalisePath(once.path, mode);
          return twice.ok && twice.path === once.path;
        },
      ),
      { numRuns: 5000, seed: 7 },
    );
    t.pass();
    t.end();
  },
);

void t.test(
  "trap 7: no normalised path keeps what its mode promises to resolve",
  (t) => {
    const piece = fc.constantFrom(
      ..."/ . .. %2e %2E %2f %2F %5c %5C %61 \\ a %2 %".split(" "),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const result = normalisePath(
          `/${pieces.join("")}`,
          "DECODE_AND_MERGE_SLASHES",
        );
        return (
          !result.ok ||
          !/%2f|%5c|%2e|%61|\\|\/\/|\/\.\.?(\/|$)/i.test(result.path)
        );
      }),
      { numRuns: 5000, seed: 8 },
    );
    t.pass();
    t.end();
  },
);

void t.test("trap 7: the query is split off and passed on untouched", (t) => {
  const result = normalisePath(
    "/a/../b?x=//a/../%2e+%2b&y=\\%00#",
    "DECODE_AND_MERGE_SLASHES",
  );
  t.match(result, {
    ok: true,
    path: "/b",
    query: "x=//a/../%2e+%2b&y=\\%00#",
    target: "/b?x=//a/../%2e+%2b&y=\\%00#",
  });
  t.match(normalisePath("/a?", "BASE"), {
    path: "/a",
    query: "",
    target: "/a?",
  });
  t.match(normalisePath("/a/.?", "BASE"), { path: "/a/", target: "/a/?" });
  t.match(normalisePath("/a?b?c", "BASE"), {
    query: "b?c",
    target: "/a?b?c",
  });
  t.end();
});

const HEAD: RequestHeadLike = {
  method: "GET",
  scheme: "http",
  authority: "Orders.Shop:80",
  path: "/a/../b?q",
  fields: [
    { name: "x-user", value: "one" },
    { name: "x-user", value: "two" },
    { name: "cookie", value: "a=1" },
    { name: "cookie", value: "b=2" },
  ],
};

void t.test("law 6: what policy sees is what is forwarded", (t) => {
  const read = readRequest(HEAD, "MERGE_SLASHES");
  if (!read.ok) throw new Error(read.detail);
  t.equal(read.target, "/b?q");
  t.equal(read.facts.path, "/b");
  t.equal(read.facts.query, "q");
  t.equal(read.facts.method, "GET");
  t.equal(read.facts.scheme, "http");
  fc.assert(
    fc.property(
      fc.string({
        maxLength: 20,
        unit: fc.constantFrom(
          "/",
          ".",
          "%",
          "2",
          "e",
          "5",
          "c",
          "f",
          "?",
          "\\",
          "#",
          "a",
        ),
      }),
      fc.constantFrom(...MODES),
      (text, mode) => {
        const any = readRequest({ ...HEAD, path: `/${text}` }, mode);
        return !any.ok || any.target.split("?", 1)[0] === any.facts.path;
      },
    ),
    { seed: 6 },
  );
  t.end();
});

void t.test(
  "headers are read by lower-case name, joined as RFC 9110 5.3 says",
  (t) => {
    const read = readRequest(HEAD, "BASE");
    if (!read.ok) throw new Error(read.detail);
    t.equal(read.facts.header("x-user"), "one, two");
    t.equal(read.facts.header("cookie"), "a=1; b=2");
    t.equal(read.facts.header("x-none"), undefined);
    t.equal(read.facts.header("host"), "orders.shop");
    t.end();
  },
);

void t.test("NONE judges one form of escapes and forwards what came", (t) => {
  t.match(normalisePath("/a%c3%2f/../b?q=%c3", "NONE"), {
    path: "/a%C3%2F/../b",
    query: "q=%c3",
    target: "/a%c3%2f/../b?q=%c3",
  });
  t.match(normalisePath("/a%c3?q=%c3", "BASE"), {
    path: "/a%C3",
    target: "/a%C3?q=%c3",
  });
  t.end();
});

void t.test("a head whose path cannot be judged is refused", (t) => {
  t.match(readRequest({ ...HEAD, path: "/%00" }, "BASE"), { ok: false });
  t.end();
});

void t.test("trap 5: a host has no port, no final dot and no case", (t) => {
  for (const [authority, host] of [
    ["orders.shop", "orders.shop"],
    ["ORDERS.shop:8080", "orders.shop"],
    ["orders.shop.", "orders.shop"],
    ["orders.shop.:80", "orders.shop"],
    ["[::1]:80", "[::1]"],
    ["[::1]", "[::1]"],
    ["10.0.0.1:80", "10.0.0.1"],
    ["", ""],
    ["orders.shop..", ""],
  ] as const)
    t.equal(hostOf(authority), host, authority);
  const read = readRequest({ ...HEAD, authority: "" }, "BASE");
  t.equal(read.ok && read.facts.header("host"), undefined);
  t.end();
});

void t.test(
  "a path that escapes make too long is refused where it comes in",
  (t) => {
    const quotes = (count: number): string => `/${'"'.repeat(count)}`;
    for (const mode of MODES) {
      const expected = mode === "NONE";
      t.equal(normalisePath(quotes(6000), mode).ok, expected, mode);
      t.equal(
        normalisePath(`${quotes(5000)}?${"q".repeat(2000)}`, mode).ok,
        expected,
        `${mode}, with its query`,
      );
      t.ok(
        normalisePath(quotes(5000), mode).ok,
        `${mode}, and one that is not`,
      );
      t.ok(
        normalisePath(`/${"a".repeat(16_300)}`, mode).ok,
        `${mode}, and one that does not grow`,
      );
    }
    t.end();
  },
);
