/** What the server codec takes, and the neutral head that it makes of it. */
import t from "tap";
import type { RequestHead } from "../../../../src/wire/exchange.ts";
import { HeadMemory } from "../../../../src/wire/http1/parse/head-memory.ts";
import { DEFAULT_LIMITS } from "../../../../src/wire/http1/limits.ts";
import {
  parseRequestHead,
  type ParsedRequest,
} from "../../../../src/wire/http1/parse/request-head.ts";

const parse = (text: string): ParsedRequest =>
  parseRequestHead(text, "http", DEFAULT_LIMITS, new HeadMemory());
const lines = (head: RequestHead): string[] =>
  head.fields.map(({ name, value }) => `${name}: ${value}`);
const withHost = (more: string): ParsedRequest =>
  parse(`GET / HTTP/1.1\r\nHost: orders.shop\r\n${more}`);

void t.test("targets (RFC 9112 3.2)", (t) => {
  const cases: readonly (readonly [
    line: string,
    host: string,
    expected: Partial<RequestHead>,
  ])[] = [
    [
      "GET /a/b?c=d",
      "a.shop",
      {
        authority: "a.shop",
        path: "/a/b?c=d",
        absoluteForm: false,
        scheme: "http",
      },
    ],
    ["GET /", "a.shop:8080", { authority: "a.shop:8080", path: "/" }],
    ["GET /", "[::1]:80", { authority: "[::1]:80", path: "/" }],
    ["GET /", "[2001:db8::1]", { authority: "[2001:db8::1]" }],
    ["GET /", "a_b.shop", { authority: "a_b.shop" }],
    ["GET //a/../b%2f\\|{}", "a.shop", { path: "//a/../b%2f\\|{}" }],
    [
      "GET http://a.shop/x?y",
      "a.shop",
      { authority: "a.shop", path: "/x?y", absoluteForm: true, scheme: "http" },
    ],
    [
      "GET HTTPS://A.shop/x",
      "a.SHOP:443",
      { authority: "a.shop", path: "/x", scheme: "https", absoluteForm: true },
    ],
    ["GET http://a.shop:80/", "a.shop", { authority: "a.shop:80", path: "/" }],
    ["GET http://a.shop", "a.shop", { path: "/" }],
    ["GET http://a.shop?q", "a.shop", { path: "/?q" }],
    ["OPTIONS *", "a.shop", { path: "*", authority: "a.shop" }],
    ["OPTIONS http://a.shop", "a.shop", { path: "*", absoluteForm: true }],
    ["OPTIONS /a", "a.shop", { path: "/a" }],
    [
      "CONNECT a.shop:443",
      "a.shop:443",
      { authority: "a.shop:443", path: "", method: "CONNECT" },
    ],
    ["PURGE /", "a.shop", { method: "PURGE" }],
  ];
  for (const [line, host, expected] of cases) {
    const { head } = parse(`${line} HTTP/1.1\r\nHost: ${host}\r\n`);
    t.match(head, expected, line);
  }
  t.end();
});

void t.test(
  "the scheme is the connection's where the target says none",
  (t) => {
    const text = "GET / HTTP/1.1\r\nHost: a.shop\r\n";
    t.equal(
      parseRequestHead(text, "https", DEFAULT_LIMITS, new HeadMemory()).head
        .scheme,
      "https",
    );
    t.end();
  },
);

void t.test(
  "fields cross lower-case, in order, without the white space around them",
  (t) => {
    const { head } = withHost(
      "X-B:  two words\t \r\nAccept:text/html\r\nx-b: again\r\nX-Empty:\r\nx-latin: \xe4\r\n",
    );
    t.strictSame(lines(head), [
      "x-b: two words",
      "accept: text/html",
      "x-b: again",
      "x-empty: ",
      "x-latin: \xe4",
    ]);
    t.end();
  },
);

void t.test(
  "what belongs to the connection does not cross (RFC 9110 7.6.1)",
  (t) => {
    const { head, keepAlive } = withHost(
      "Connection: Keep-Alive, X-Mine, Upgrade, , HTTP2-Settings\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n" +
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nTE: trailers, deflate;q=0.5\r\nX-Kept: 2\r\nCookie: a=1\r\nCookie: b=2\r\n",
    );
    t.strictSame(lines(head), ["x-kept: 2", "cookie: a=1", "cookie: b=2"]);
    t.equal(head.acceptsTrailers, true);
    t.equal(keepAlive, true);
    t.equal(withHost("TE: gzip\r\n").head.acceptsTrailers, false);
    t.end();
  },
);

void t.test("framing (RFC 9112 6.3)", (t) => {
  const cases = [
    ["", "none", undefined],
    ["Content-Length: 0\r\n", "none", 0],
    ["Content-Length: 007\r\n", "length", 7],
    ["Transfer-Encoding: chunked\r\n", "chunked", undefined],
    ["transfer-encoding: CHUNKED\r\n", "chunked", undefined],
  ] as const;
  for (const [more, framing, contentLength] of cases) {
    const request = withHost(more);
    t.equal(request.framing, framing, more);
    t.equal(request.head.contentLength, contentLength, more);
    t.strictSame(lines(request.head), [], "framing does not cross");
  }
  t.end();
});

void t.test("persistence (RFC 9112 9.3)", (t) => {
  const cases = [
    ["1.1", "", true],
    ["1.1", "Connection: close\r\n", false],
    ["1.1", "Connection: keep-alive, close\r\n", false],
    ["1.1", "Connection: CLOSE\r\n", false],
    ["1.0", "", false],
    ["1.0", "Connection: keep-alive\r\n", true],
    ["1.0", "Connection: Keep-Alive\r\n", true],
    ["1.0", "Connection: keep-alive\r\nConnection: close\r\n", false],
  ] as const;
  for (const [version, more, keepAlive] of cases)
    t.equal(
      parse(`GET / HTTP/${version}\r\nHost: a\r\n${more}`).keepAlive,
      keepAlive,
      `${version} ${more}`,
    );
  t.end();
});

void t.test("HTTP/1.0 may leave Host out, and has no expectations", (t) => {
  const { head, minor, expectsContinue } = parse(
    "POST / HTTP/1.0\r\nExpect: whatever\r\nContent-Length: 2\r\n",
  );
  t.match(head, { authority: "", fields: [], contentLength: 2 });
  t.equal(minor, 0);
  t.equal(expectsContinue, false);
  const absolute = parse("GET http://a.shop/b HTTP/1.0\r\n");
  t.match(absolute.head, { authority: "a.shop", path: "/b" });
  t.end();
});

void t.test("Expect: 100-continue crosses as a field", (t) => {
  const { head, expectsContinue } = withHost("Expect: 100-Continue\r\n");
  t.strictSame(lines(head), ["expect: 100-Continue"]);
  t.equal(expectsContinue, true);
  t.end();
});
