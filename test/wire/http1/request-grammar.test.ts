/** What the server codec refuses of a request head and with which status (RFC 9112 2 to 6, RFC 9110 5 to 10): each at the level of octets. */
import t from "tap";
import { REFUSALS, type RefusalKind } from "../../../src/wire/http1/refusal.ts";
import { serverSide } from "./harness.ts";

const HOST = "Host: orders.shop\r\n";
const get = (lines: string): string => `GET / HTTP/1.1\r\n${lines}\r\n`;
const withHost = (lines: string): string => get(HOST + lines);
const target = (text: string, method = "GET"): string =>
  `${method} ${text} HTTP/1.1\r\n${HOST}\r\n`;

type Case = readonly [what: string, bytes: string, kind: RefusalKind];

const REFUSED: readonly Case[] = [
  // RFC 9112 6: framing.
  [
    "Content-Length beside Transfer-Encoding",
    withHost("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding beside Content-Length",
    withHost("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
    "grammar",
  ],
  [
    "Content-Length twice, the same",
    withHost("Content-Length: 3\r\nContent-Length: 3\r\n"),
    "grammar",
  ],
  [
    "Content-Length twice, different",
    withHost("Content-Length: 3\r\nContent-Length: 4\r\n"),
    "grammar",
  ],
  ["Content-Length as a list", withHost("Content-Length: 3, 3\r\n"), "grammar"],
  ["Content-Length empty", withHost("Content-Length:\r\n"), "grammar"],
  ["Content-Length with a sign", withHost("Content-Length: +3\r\n"), "grammar"],
  ["Content-Length negative", withHost("Content-Length: -3\r\n"), "grammar"],
  ["Content-Length in hex", withHost("Content-Length: 0x3\r\n"), "grammar"],
  [
    "Content-Length with a fraction",
    withHost("Content-Length: 3.0\r\n"),
    "grammar",
  ],
  [
    "Content-Length with a space inside",
    withHost("Content-Length: 1 2\r\n"),
    "grammar",
  ],
  [
    "Content-Length past 2^53",
    withHost("Content-Length: 9999999999999999\r\n"),
    "grammar",
  ],
  [
    "Content-Length of many digits",
    withHost(`Content-Length: ${"9".repeat(30)}\r\n`),
    "grammar",
  ],
  [
    "Transfer-Encoding twice",
    withHost("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding chunked twice in one line",
    withHost("Transfer-Encoding: chunked, chunked\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding identity",
    withHost("Transfer-Encoding: identity\r\n"),
    "grammar",
  ],
  ["Transfer-Encoding empty", withHost("Transfer-Encoding:\r\n"), "grammar"],
  [
    "Transfer-Encoding with chunked not final",
    withHost("Transfer-Encoding: chunked, gzip\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding xchunked",
    withHost("Transfer-Encoding: xchunked\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding with a parameter",
    withHost("Transfer-Encoding: chunked;q=1\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding with a trailing comma",
    withHost("Transfer-Encoding: chunked,\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding with a vertical tab",
    withHost("Transfer-Encoding: \x0bchunked\r\n"),
    "grammar",
  ],
  [
    "Transfer-Encoding quoted",
    withHost('Transfer-Encoding: "chunked"\r\n'),
    "grammar",
  ],
  [
    "a coding beside chunked",
    withHost("Transfer-Encoding: gzip, chunked\r\n"),
    "coding",
  ],
  [
    "Transfer-Encoding in HTTP/1.0",
    `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`,
    "grammar",
  ],
  [
    "CONNECT with Content-Length",
    "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\nContent-Length: 3\r\n\r\n",
    "grammar",
  ],
  [
    "CONNECT with Transfer-Encoding",
    "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "grammar",
  ],
  // RFC 9112 2.2: line ends.
  ["bare LF after the request line", `GET / HTTP/1.1\n${HOST}\r\n`, "grammar"],
  ["bare LF after a field line", get("Host: orders.shop\nA: b\r\n"), "grammar"],
  ["bare LF throughout", "GET / HTTP/1.1\nHost: orders.shop\n\n", "grammar"],
  ["bare LF as the empty line", `GET / HTTP/1.1\r\n${HOST}\n`, "grammar"],
  [
    "bare CR in the request line",
    `GET / HTTP/1.1\rX\r\n${HOST}\r\n`,
    "grammar",
  ],
  ["bare CR in a value", withHost("A: b\rc\r\n"), "grammar"],
  ["bare CR at the end of a value", withHost("A: b\r\r\n"), "grammar"],
  [
    "an empty line of LF before the request line",
    `\n${withHost("")}`,
    "grammar",
  ],
  [
    "two empty lines before the request line",
    `\r\n\r\n${withHost("")}`,
    "grammar",
  ],
  // RFC 9112 5, RFC 9110 5: fields.
  ["obs-fold with SP", withHost("A: b\r\n c\r\n"), "grammar"],
  ["obs-fold with HTAB", withHost("A: b\r\n\tc\r\n"), "grammar"],
  [
    "white space before the first field line",
    `GET / HTTP/1.1\r\n ${HOST}\r\n`,
    "grammar",
  ],
  ["space before the colon", withHost("A : b\r\n"), "grammar"],
  ["tab before the colon", withHost("A\t: b\r\n"), "grammar"],
  [
    "space before the colon of Content-Length",
    withHost("Content-Length : 3\r\n"),
    "grammar",
  ],
  ["empty name", withHost(": b\r\n"), "grammar"],
  ["a line without a colon", withHost("abc\r\n"), "grammar"],
  ["a name with a space", withHost("A b: c\r\n"), "grammar"],
  ["a name with a bracket", withHost("A[: c\r\n"), "grammar"],
  ["a name with obs-text", withHost("\xe4: c\r\n"), "grammar"],
  ["a name with NUL", withHost("A\0: c\r\n"), "grammar"],
  ["a name that is a pseudo-header", withHost(":path: /other\r\n"), "grammar"],
  ["NUL in a value", withHost("A: b\0c\r\n"), "grammar"],
  ["BEL in a value", withHost("A: b\x07\r\n"), "grammar"],
  ["DEL in a value", withHost("A: b\x7f\r\n"), "grammar"],
  // RFC 9110 7.2, RFC 9112 3.2: Host.
  ["no Host", get(""), "grammar"],
  ["two Hosts, the same", withHost(HOST), "grammar"],
  ["two Hosts, different", withHost("Host: payments.shop\r\n"), "grammar"],
  ["an empty Host", get("Host:\r\n"), "grammar"],
  ["Host as a list", get("Host: a.shop, b.shop\r\n"), "grammar"],
  ["Host with userinfo", get("Host: me@orders.shop\r\n"), "grammar"],
  ["Host with a scheme", get("Host: http://orders.shop\r\n"), "grammar"],
  ["Host with a path", get("Host: orders.shop/a\r\n"), "grammar"],
  ["Host with a space", get("Host: orders shop\r\n"), "grammar"],
  ["Host with an empty port", get("Host: orders.shop:\r\n"), "grammar"],
  ["Host with a port of letters", get("Host: orders.shop:http\r\n"), "grammar"],
  [
    "Host with a port over 65535",
    get("Host: orders.shop:65536\r\n"),
    "grammar",
  ],
  [
    "Host with a port of six digits",
    get("Host: orders.shop:000080\r\n"),
    "grammar",
  ],
  ["Host with two ports", get("Host: orders.shop:80:80\r\n"), "grammar"],
  ["Host with only a port", get("Host: :80\r\n"), "grammar"],
  ["Host with percent-encoding", get("Host: orders%2eshop\r\n"), "grammar"],
  ["Host with obs-text", get("Host: \xf6rders.shop\r\n"), "grammar"],
  ["Host as an unclosed address", get("Host: [::1\r\n"), "grammar"],
  ["Host as a bare IPv6 address", get("Host: ::1\r\n"), "grammar"],
  ["Host as an address that is none", get("Host: [1.2.3.4]\r\n"), "grammar"],
  [
    "Host as an address with a zone",
    get("Host: [fe80::1%25eth0]\r\n"),
    "grammar",
  ],
  ["Host with text behind the address", get("Host: [::1]x\r\n"), "grammar"],
  // RFC 9112 3: request line.
  [
    "absolute form with another Host",
    target("http://payments.shop/"),
    "grammar",
  ],
  [
    "absolute form with another port",
    target("http://orders.shop:81/"),
    "grammar",
  ],
  ["absolute form with userinfo", target("http://me@orders.shop/"), "grammar"],
  ["absolute form of another scheme", target("ftp://orders.shop/"), "grammar"],
  ["absolute form without a host", target("http:///a"), "grammar"],
  [
    "absolute form without Host",
    "GET http://orders.shop/ HTTP/1.1\r\n\r\n",
    "grammar",
  ],
  ["a fragment in the target", target("/a#b"), "grammar"],
  [
    "a fragment in the absolute form",
    target("http://orders.shop/#b"),
    "grammar",
  ],
  ["a space in the target", target("/a b"), "grammar"],
  ["a tab in the target", target("/a\tb"), "grammar"],
  ["NUL in the target", target("/a\0b"), "grammar"],
  ["obs-text in the target", target("/\xe4"), "grammar"],
  ["a target without a slash", target("a"), "grammar"],
  ["an empty target", target(""), "grammar"],
  ["asterisk form for GET", target("*"), "grammar"],
  ["asterisk form with more", target("*a", "OPTIONS"), "grammar"],
  ["authority form for GET", target("orders.shop:80"), "grammar"],
  ["CONNECT in origin form", target("/", "CONNECT"), "grammar"],
  ["CONNECT without a port", target("orders.shop", "CONNECT"), "grammar"],
  ["CONNECT with userinfo", target("me@orders.shop:80", "CONNECT"), "grammar"],
  [
    "CONNECT with another Host",
    target("payments.shop:80", "CONNECT"),
    "grammar",
  ],
  ["a method that is no token", target("/", "G(T"), "grammar"],
  ["two spaces behind the method", target(" /"), "grammar"],
  ["a space before the method", ` ${withHost("")}`, "grammar"],
  ["a tab behind the method", `GET\t/ HTTP/1.1\r\n${HOST}\r\n`, "grammar"],
  [
    "two spaces before the version",
    `GET /  HTTP/1.1\r\n${HOST}\r\n`,
    "grammar",
  ],
  ["a space behind the version", `GET / HTTP/1.1 \r\n${HOST}\r\n`, "grammar"],
  ["only a method", "GET\r\n\r\n", "grammar"],
  ["HTTP/0.9 without a version", "GET /\r\n\r\n", "grammar"],
  ["HTTP/0.9", `GET / HTTP/0.9\r\n${HOST}\r\n`, "version"],
  ["HTTP/1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`, "version"],
  ["HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"],
  ["HTTP/1.10", `GET / HTTP/1.10\r\n${HOST}\r\n`, "grammar"],
  ["HTTP/1", `GET / HTTP/1\r\n${HOST}\r\n`, "grammar"],
  ["http in lower case", `GET / http/1.1\r\n${HOST}\r\n`, "grammar"],
  ["another protocol", `GET / HTTQ/1.1\r\n${HOST}\r\n`, "grammar"],
  ["a TLS record", "\x16\x03\x01\x02\x00\x01", "grammar"],
  // RFC 9110 7.6.1: Connection may not take away what others rely on.
  ...[
    "host",
    "content-length",
    "Transfer-Encoding",
    "authorization",
    "cookie",
    "x-wherry-destination",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "traceparent",
    "cache-control",
    "expect",
    "forwarded",
  ].map((name): Case => [
    `Connection names ${name}`,
    withHost(`Connection: close, ${name}\r\n`),
    "grammar",
  ]),
  [
    "a connection option that is no token",
    withHost("Connection: a b\r\n"),
    "grammar",
  ],
  // RFC 9110 10.1.1.
  ["another expectation", withHost("Expect: 200-ok\r\n"), "expectation"],
  [
    "two expectations",
    withHost("Expect: 100-continue\r\nExpect: 100-continue\r\n"),
    "expectation",
  ],
  // Limits: refused, never cut.
  ["too many field lines", withHost("A: b\r\n".repeat(100)), "head"],
  ["a head over its limit", withHost(`A: ${"b".repeat(66_000)}\r\n`), "head"],
  [
    "a head over its limit in many lines",
    withHost(`A: ${"b".repeat(700)}\r\n`.repeat(97)),
    "head",
  ],
  ["a request line over its limit", target(`/${"a".repeat(17_000)}`), "line"],
  ["a request line without an end", `GET /${"a".repeat(70_000)}`, "line"],
  [
    "a head without an end",
    `GET / HTTP/1.1\r\nA: ${"b".repeat(70_000)}`,
    "head",
  ],
];

for (const [what, bytes, kind] of REFUSED)
  void t.test(`refused: ${what}`, async (t) => {
    const side = await serverSide(t);
    side.peer.send(bytes);
    const answer = await side.peer.all();
    const { status, code } = REFUSALS[kind];
    t.ok(answer.startsWith(`HTTP/1.1 ${status} `), answer.slice(0, 80));
    t.match(answer, "\r\nconnection: close\r\n");
    t.match(answer, `\r\nx-wherry-reason: ${code}\r\n`);
    const [head = "", body = ""] = answer.split("\r\n\r\n");
    t.match(head, `\r\ncontent-length: ${body.length}`, "one whole response");
    t.equal(side.streams.length, 0, "nothing of it reaches the proxy");
    t.strictSame(
      side.refusals.map((refusal) => refusal.code),
      [code],
    );
    t.ok(
      body.includes(side.refusals[0]?.detail ?? "?"),
      "the body names the fault",
    );
  });

void t.test("a refused head is refused however it is cut", async (t) => {
  const bytes = withHost("A : b\r\n");
  for (const cut of [1, 2, 15, 16, 17, 18, bytes.length - 2]) {
    const side = await serverSide(t);
    side.peer.send(bytes.slice(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    side.peer.send(bytes.slice(cut));
    t.match(await side.peer.all(), /^HTTP\/1\.1 400 /);
  }
});

void t.test("what follows a refused head is not looked at", async (t) => {
  const side = await serverSide(t);
  side.peer.send(get("") + withHost(""));
  await side.peer.all();
  t.equal(side.streams.length, 0);
  t.equal(side.peer.received.split("HTTP/1.1 4").length, 2, "one answer");
});
