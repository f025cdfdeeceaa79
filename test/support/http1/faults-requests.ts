/** Faults of requests alone: request line, Host, expectations, limits (RFC 9112 2 and 3, RFC 9110 7.2, 9, 10.1.1). */
import type { RefusalKind } from "../../../src/wire/refusal.ts";

export interface RequestFault {
  readonly what: string;
  readonly octets: string;
  readonly kind: RefusalKind;
}

const HOST = "Host: orders.shop\r\n";
const get = (lines: string): string => `GET / HTTP/1.1\r\n${lines}\r\n`;
const withHost = (lines: string): string => get(HOST + lines);
const target = (text: string, method = "GET"): string =>
  `${method} ${text} HTTP/1.1\r\n${HOST}\r\n`;
const version = (text: string): string => `GET / ${text}\r\n${HOST}\r\n`;

type Table = Readonly<Record<string, string>>;

const GRAMMAR: Table = {
  "Transfer-Encoding in HTTP/1.0": `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "CONNECT with Content-Length":
    "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\nContent-Length: 3\r\n\r\n",
  "CONNECT with Transfer-Encoding":
    "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\nTransfer-Encoding: chunked\r\n\r\n",
  "TRACE with Content-Length": `TRACE / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  "TRACE with Transfer-Encoding": `TRACE / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  // RFC 9112 2.2: line ends.
  "bare LF after the request line": `GET / HTTP/1.1\n${HOST}\r\n`,
  "bare LF throughout": "GET / HTTP/1.1\nHost: orders.shop\n\n",
  "bare LF as the empty line": `GET / HTTP/1.1\r\n${HOST}\n`,
  "bare CR in the request line": `GET / HTTP/1.1\rX\r\n${HOST}\r\n`,
  "an empty line of LF before the request line": `\n${withHost("")}`,
  "an empty line of CR before the request line": `\r${withHost("")}`,
  "two empty lines before the request line": `\r\n\r\n${withHost("")}`,
  "white space before the first field line": `GET / HTTP/1.1\r\n ${HOST}\r\n`,
  // RFC 9110 7.2, RFC 9112 3.2: Host.
  "no Host": get(""),
  "two Hosts, the same": withHost(HOST),
  "two Hosts, different": withHost("Host: payments.shop\r\n"),
  "two Hosts, apart": withHost("A: b\r\nhOST: payments.shop\r\n"),
  "a Host folded into another field": withHost(
    "A: b\r\n Host: payments.shop\r\n",
  ),
  "an empty Host": get("Host:\r\n"),
  "Host as a list": get("Host: a.shop, b.shop\r\n"),
  "Host as a list without spaces": get("Host: orders.shop,payments.shop\r\n"),
  "Host with userinfo": get("Host: me@orders.shop\r\n"),
  "Host with a port and userinfo": get(
    "Host: orders.shop:80@payments.shop\r\n",
  ),
  "Host with a scheme": get("Host: http://orders.shop\r\n"),
  "Host with a path": get("Host: orders.shop/a\r\n"),
  "Host with a backslash": get("Host: orders.shop\\a\r\n"),
  "Host with a query": get("Host: orders.shop?a\r\n"),
  "Host with a fragment": get("Host: orders.shop#a\r\n"),
  "Host with a space": get("Host: orders shop\r\n"),
  "Host with a tab": get("Host: orders.shop\tpayments.shop\r\n"),
  "Host with a NUL": get("Host: orders.shop\0payments.shop\r\n"),
  "Host with an empty port": get("Host: orders.shop:\r\n"),
  "Host with a port of letters": get("Host: orders.shop:http\r\n"),
  "Host with a negative port": get("Host: orders.shop:-80\r\n"),
  "Host with a port over 65535": get("Host: orders.shop:65536\r\n"),
  "Host with a port of six digits": get("Host: orders.shop:000080\r\n"),
  "Host with two ports": get("Host: orders.shop:80:80\r\n"),
  "Host with only a port": get("Host: :80\r\n"),
  "Host with percent-encoding": get("Host: orders%2eshop\r\n"),
  "Host with obs-text": get("Host: \xf6rders.shop\r\n"),
  "Host in quotes": get('Host: "orders.shop"\r\n'),
  "Host as an unclosed address": get("Host: [::1\r\n"),
  "Host as a bare IPv6 address": get("Host: ::1\r\n"),
  "Host as an address that is none": get("Host: [1.2.3.4]\r\n"),
  "Host as an address with a zone": get("Host: [fe80::1%25eth0]\r\n"),
  "Host with text behind the address": get("Host: [::1]x\r\n"),
  // RFC 9112 3.2.2: absolute form.
  "absolute form with another Host": target("http://payments.shop/"),
  "absolute form with another port": target("http://orders.shop:81/"),
  "absolute form with userinfo": target("http://me@orders.shop/"),
  "absolute form with a backslash": target(
    "http://payments.shop\\@orders.shop/",
  ),
  "absolute form of another scheme": target("ftp://orders.shop/"),
  "absolute form of one slash": target("http:/orders.shop/"),
  "absolute form without slashes": target("http:orders.shop"),
  "absolute form without a host": target("http:///a"),
  "absolute form without Host": "GET http://orders.shop/ HTTP/1.1\r\n\r\n",
  "a fragment in the absolute form": target("http://orders.shop/#b"),
  // RFC 9112 3.2: other targets.
  "a fragment in the target": target("/a#b"),
  "a space in the target": target("/a b"),
  "a tab in the target": target("/a\tb"),
  "NUL in the target": target("/a\0b"),
  "DEL in the target": target("/a\x7fb"),
  "obs-text in the target": target("/\xe4"),
  "a target without a slash": target("a"),
  "a target that begins with a query": target("?a"),
  "a target that begins with userinfo": target("@payments.shop/"),
  "a target that begins with a backslash": target("\\payments.shop\\"),
  "an empty target": target(""),
  "asterisk form for GET": target("*"),
  "asterisk form with more": target("*a", "OPTIONS"),
  "authority form for GET": target("orders.shop:80"),
  "CONNECT in origin form": target("/", "CONNECT"),
  "CONNECT in absolute form": target("http://orders.shop:80", "CONNECT"),
  "CONNECT without a port": target("orders.shop", "CONNECT"),
  "CONNECT with userinfo": target("me@orders.shop:80", "CONNECT"),
  "CONNECT with another Host": target("payments.shop:80", "CONNECT"),
  // RFC 9112 3: the request line.
  "a method that is no token": target("/", "G(T"),
  "a method with a NUL": target("/", "GET\0"),
  "an empty method": target("/", ""),
  "two spaces behind the method": target(" /"),
  "a space before the method": ` ${withHost("")}`,
  "a tab behind the method": `GET\t/ HTTP/1.1\r\n${HOST}\r\n`,
  "a vertical tab behind the method": `GET\x0b/ HTTP/1.1\r\n${HOST}\r\n`,
  "a no-break space behind the method": `GET\xa0/ HTTP/1.1\r\n${HOST}\r\n`,
  "two spaces before the version": version(" HTTP/1.1"),
  "a tab before the version": `GET /\tHTTP/1.1\r\n${HOST}\r\n`,
  "a space behind the version": version("HTTP/1.1 "),
  "a tab behind the version": version("HTTP/1.1\t"),
  "words behind the version": version("HTTP/1.1 x"),
  "a request line behind the version": version("HTTP/1.1 / HTTP/1.1"),
  "only a method": "GET\r\n\r\n",
  "HTTP/0.9 without a version": "GET /\r\n\r\n",
  "HTTP/1.10": version("HTTP/1.10"),
  "HTTP/01.1": version("HTTP/01.1"),
  "HTTP/1": version("HTTP/1"),
  "HTTP/11": version("HTTP/11"),
  "HTTP/1,1": version("HTTP/1,1"),
  "HTTP /1.1": version("HTTP /1.1"),
  "http in lower case": version("http/1.1"),
  "another protocol": version("HTTQ/1.1"),
  HTTPS: version("HTTPS/1.1"),
  RTSP: version("RTSP/1.0"),
  "a TLS record": "\x16\x03\x01\x02\x00\x01",
  "a line of a PROXY protocol": `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${withHost("")}`,
};

const VERSION: Table = {
  "HTTP/0.9": version("HTTP/0.9"),
  "HTTP/1.2": version("HTTP/1.2"),
  "HTTP/3.0": version("HTTP/3.0"),
};

const METHOD: Table = {
  "a method in lower case": target("/", "get"),
  "DELETE in lower case, which some take for DELETE": target("/", "delete"),
  "a method that nobody registered": target("/", "FOO"),
  "a method with more behind it": target("/", "GETX"),
  "PRI, of HTTP/2's preface": target("/", "PRI"),
};

const EXPECTATION: Table = {
  "another expectation": withHost("Expect: 200-ok\r\n"),
  "two expectations": withHost("Expect: 100-continue\r\n".repeat(2)),
  "an expectation and another": withHost("Expect: 100-continue, x\r\n"),
  "an empty expectation": withHost("Expect:\r\n"),
};

/** Limits: refused, never cut. */
const HEAD: Table = {
  "too many field lines": withHost("A: b\r\n".repeat(100)),
  "a value over the limit": withHost(`A: ${"b".repeat(66_000)}\r\n`),
  "a name over the limit": withHost(`${"A".repeat(66_000)}: b\r\n`),
  "a head over its limit in many lines": withHost(
    `A: ${"b".repeat(700)}\r\n`.repeat(97),
  ),
  "a head without an end": `GET / HTTP/1.1\r\nA: ${"b".repeat(70_000)}`,
};

/** The same, past the limits of the link, which has room for what the mesh adds. */
const HEAD_BEYOND_LINK: Table = {
  "more field lines than the link takes": withHost("A: b\r\n".repeat(200)),
  "a value that the link does not take": withHost(
    `A: ${"b".repeat(83_000)}\r\n`,
  ),
  "a name that the link does not take": withHost(
    `${"A".repeat(83_000)}: b\r\n`,
  ),
  "many lines that the link does not take": withHost(
    `A: ${"b".repeat(860)}\r\n`.repeat(97),
  ),
  "a head without an end that the link does not take": `GET / HTTP/1.1\r\nA: ${"b".repeat(83_000)}`,
};

/** Names of the faults that are none on the link. */
export const TAKEN_BY_LINK: ReadonlySet<string> = new Set(Object.keys(HEAD));

const LINE: Table = {
  "a request line over its limit": target(`/${"a".repeat(17_000)}`),
  "a request line without an end": `GET /${"a".repeat(70_000)}`,
  "a method over the limit": target("/", "G".repeat(17_000)),
};

const CODING: Table = {
  "a coding beside chunked": withHost("Transfer-Encoding: gzip, chunked\r\n"),
  "identity beside chunked": withHost(
    "Transfer-Encoding: identity, chunked\r\n",
  ),
};

export const REQUEST_FAULTS: readonly RequestFault[] = (
  [
    ["grammar", GRAMMAR],
    ["version", VERSION],
    ["method", METHOD],
    ["expectation", EXPECTATION],
    ["head", HEAD],
    ["head", HEAD_BEYOND_LINK],
    ["line", LINE],
    ["coding", CODING],
  ] as const
).flatMap(([kind, table]) =>
  Object.entries(table).map(([what, octets]) => ({ what, octets, kind })),
);
