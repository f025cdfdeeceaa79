/** Where the codec refuses what Node's parser takes: the whole list, each with the reason and with octets that show it. Nowhere is it the other way round. */

export interface Stricter {
  /** The codec's words. */
  readonly refusal: string;
  readonly why: string;
  /** A message that Node reads to its end. */
  readonly octets: string;
}

const GET = "GET / HTTP/1.1\r\nHost: a.shop\r\n";
const CHUNKED =
  "POST / HTTP/1.1\r\nHost: a.shop\r\nTransfer-Encoding: chunked\r\n\r\n";

export const STRICTER_REQUESTS: readonly Stricter[] = [
  {
    refusal: "a WebSocket handshake with a body",
    why: "to some the bytes behind the head are the body, to others the first frame (RFC 9110 7.8)",
    octets:
      "POST / HTTP/1.1\r\nHost: a.shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
  },
  {
    refusal: "the request line has no version",
    why: "HTTP/0.9 has no framing, no fields and no Host (RFC 9112 2.3)",
    octets: "GET /\r\n\r\n",
  },
  {
    refusal: "neither HTTP/1.1 nor HTTP/1.0",
    why: "what other versions mean in this syntax nobody has written down",
    octets: "GET / HTTP/2.0\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "the request line has no well-formed version",
    why: "one SP before it, and the name in upper case (RFC 9112 3); lenient parsers disagree on where the target ends",
    octets: "GET /  HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "the method is not a token",
    why: "a bare LF before the request line is no empty line (RFC 9112 2.2)",
    octets: "\nGET / HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "what came does not begin like a head",
    why: "the same, where the head comes in pieces",
    octets: "\nGET / HTTP/1.1\r\nHost: a.shop\r\n|\r\n",
  },
  {
    refusal: "the request line has no target",
    why: "more than one empty line before the request line (RFC 9112 2.2 asks for one to be ignored)",
    octets: `\r\n\r\n${GET}\r\n`,
  },
  {
    refusal: "a CR without LF in the head",
    why: "a bare CR is a line's end to some (RFC 9112 2.2)",
    octets: `\r${GET}\r\n`,
  },
  {
    refusal: "a bare LF in the head",
    why: "Node reads an HTTP/0.9 request in it",
    octets: "GET /HTTP/1.1\nHost: a.shop\r\n|\r\n",
  },
  {
    refusal: "the request head is cut off",
    why: "an octet behind the last request; Node takes a CR for nothing",
    octets: `${GET}\r\n\r`,
  },
  {
    refusal: "the request target has a character that no target has",
    why: "fragments are not sent (RFC 9112 3.2), and octets above ASCII are not in a URI",
    octets: "GET /a#b HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "the request target is in none of the four forms",
    why: "schemes other than http and https are nothing that this proxy can send",
    octets: "GET ftp://a.shop/ HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "the target * is for OPTIONS only",
    why: "RFC 9112 3.2.4",
    octets: "GET * HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "the target's authority is not host:port",
    why: "userinfo and ports that are none hide another host (RFC 9110 4.2.4)",
    octets: "GET http://u@a.shop/ HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "the target of CONNECT is host:port",
    why: "RFC 9112 3.2.3",
    octets: "CONNECT / HTTP/1.1\r\nHost: a.shop\r\n\r\n",
  },
  {
    refusal: "CONNECT with a body (RFC 9110 9.3.6)",
    why: "its octets are the tunnel's to one and the request's to another",
    octets:
      "CONNECT a.shop:1 HTTP/1.1\r\nHost: a.shop:1\r\nContent-Length: 0\r\n\r\n",
  },
  {
    refusal: "TRACE with a body (RFC 9110 9.3.8)",
    why: "a client may not send one, and to some it is the next request",
    octets: "TRACE / HTTP/1.1\r\nHost: a.shop\r\nContent-Length: 2\r\n\r\nhi",
  },
  {
    refusal: "no Host in an HTTP/1.1 request",
    why: "RFC 9112 3.2; Node refuses it too, but not behind a request for another protocol or in CONNECT",
    octets: "CONNECT a.shop:1 HTTP/1.1\r\n\r\n",
  },
  {
    refusal: "Host is not one host and port",
    why: "RFC 9112 3.2: Node does not look at it",
    octets: "GET / HTTP/1.1\r\nHost: a.shop, b.shop\r\n\r\n",
  },
  {
    refusal: "more than one Host line",
    why: "RFC 9112 3.2: Node takes the first",
    octets: `${GET}Host: b.shop\r\n\r\n`,
  },
  {
    refusal: "Host differs from the request target",
    why: "one recipient goes by the one, the next by the other",
    octets: "GET http://a.shop/ HTTP/1.1\r\nHost: b.shop\r\n\r\n",
  },
  {
    refusal: "Content-Length is not one number",
    why: "more digits than any length has: where a sum overflows is up to each parser",
    octets: `${GET}Content-Length: 00000000000000000000\r\n\r\n`,
  },
  {
    refusal: "Transfer-Encoding in HTTP/1.0",
    why: "RFC 9112 6.1: HTTP/1.0 recipients do not know it",
    octets: "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  },
  {
    refusal: "Transfer-Encoding is not exactly one final chunked",
    why: "Node looks at the last of the list alone",
    octets: `${GET}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "a tab behind Transfer-Encoding's value",
    why: "Node takes it for a part of the coding's name, and refuses that only where it is the last",
    octets: `${GET}Transfer-Encoding: gzip\t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "a transfer coding other than chunked",
    why: "RFC 9112 6.1: what is not understood is a 501",
    octets: `${GET}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "more than one Transfer-Encoding line",
    why: "the first, the last, or both: parsers differ",
    octets: `${GET}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "a connection option is not a token",
    why: "RFC 9110 7.6.1",
    octets: `${GET}Connection: a b\r\n\r\n`,
  },
  {
    refusal: "Connection names a field that is not for this connection alone",
    why: "decision 009: to have it stripped on the way is an attack",
    octets: `${GET}Connection: host\r\n\r\n`,
  },
  {
    refusal: "a field name that CGI cannot tell from one that frames or steers",
    why: "decision 012",
    octets: `${GET}Content_Length: 5\r\n\r\n`,
  },
  {
    refusal: "the only expectation is 100-continue",
    why: "RFC 9110 10.1.1: Node looks for it anywhere in the value",
    octets: `${GET}Expect: 100-continue, x\r\n\r\n`,
  },
  {
    refusal: "a chunk size is too large",
    why: "more than 16 digits, though zeros: a way to send nothing for ever",
    octets: `${CHUNKED}${"0".repeat(16)}5\r\nhello\r\n0\r\n\r\n`,
  },
  {
    refusal: "a chunk extension is malformed",
    why: "RFC 9112 7.1.1: an equals sign has a value behind it",
    octets: `${CHUNKED}5;a=\r\nhello\r\n0\r\n\r\n`,
  },
  {
    refusal: "chunk extensions over 256 bytes",
    why: "nobody uses them but attackers (RFC 9112 7.1.1 asks for a bound)",
    octets: `${CHUNKED}5;${"a".repeat(300)}\r\nhello\r\n0\r\n\r\n`,
  },
  {
    refusal: "a trailer that belongs in the head (RFC 9110 6.5.1)",
    why: "merged into the head, it would change what was judged",
    octets: `${CHUNKED}0\r\nAuthorization: x\r\n\r\n`,
  },
];

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED_OK = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

export const STRICTER_RESPONSES: readonly Stricter[] = [
  {
    refusal: "the status line is not of HTTP/1.1 or 1.0",
    why: "Node takes the versions of RTSP and ICE, and 0.9 and 2.0",
    octets: "ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  },
  {
    refusal: "what came does not begin like a head",
    why: "the same, where the head comes in pieces; or an empty line before it, for which RFC 9112 2.2 has no leave",
    octets: `\r\n${OK}Content-Length: 0\r\n|\r\n`,
  },
  {
    refusal: "a CR without LF in the head",
    why: "a bare CR is a line's end to some (RFC 9112 2.2)",
    octets: `\r${OK}Content-Length: 0\r\n\r\n`,
  },
  {
    refusal: "the status is not from 100 to 599",
    why: "RFC 9110 15: no class says what it means, nor whether a body follows",
    octets: "HTTP/1.1 700 OK\r\nContent-Length: 0\r\n\r\n",
  },
  {
    refusal: "a control character in the status line",
    why: "RFC 9112 4",
    octets: "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
  },
  {
    refusal: "101 without an Upgrade",
    why: "this proxy never asks for one (RFC 9110 7.8)",
    octets: "HTTP/1.1 101 Switching Protocols\r\n\r\n",
  },
  {
    refusal: "a 1xx that ends the connection",
    why: "RFC 9110 15.2: then the final answer never comes, or comes after the end",
    octets: "HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n",
  },
  {
    refusal: "a body announced for a 1xx or 204",
    why: "RFC 9110 8.6, RFC 9112 6.1: some read a body, some do not",
    octets: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
  },
  {
    refusal: "more than one Host line",
    why: "a request that someone has put into an answer",
    octets: `${OK}Host: a.shop\r\nHost: a.shop\r\nContent-Length: 0\r\n\r\n`,
  },
  {
    refusal: "Content-Length is not one number",
    why: "more digits than any length has",
    octets: `${OK}Content-Length: 00000000000000000000\r\n\r\n`,
  },
  {
    refusal: "Transfer-Encoding in HTTP/1.0",
    why: "RFC 9112 6.1",
    octets: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  },
  {
    refusal: "Transfer-Encoding is not exactly one final chunked",
    why: "Node reads the body to the end of the connection",
    octets: `${OK}Transfer-Encoding: identity\r\n\r\nhello`,
  },
  {
    refusal: "a tab behind Transfer-Encoding's value",
    why: "it is OWS, but Node does not take it away, and reads to the end of the connection",
    octets: `${OK}Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "a transfer coding other than chunked",
    why: "we offered none (RFC 9110 10.1.4)",
    octets: `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "more than one Transfer-Encoding line",
    why: "the first, the last, or both: parsers differ",
    octets: `${OK}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    refusal: "a connection option is not a token",
    why: "RFC 9110 7.6.1",
    octets: `${OK}Connection: a b\r\nContent-Length: 0\r\n\r\n`,
  },
  {
    refusal: "Connection names a field that is not for this connection alone",
    why: "decision 009",
    octets: `${OK}Connection: set-cookie\r\nContent-Length: 0\r\n\r\n`,
  },
  {
    refusal: "a field name that CGI cannot tell from one that frames or steers",
    why: "decision 012",
    octets: `${OK}Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n`,
  },
  {
    refusal: "a chunk size is too large",
    why: "more than 16 digits",
    octets: `${CHUNKED_OK}${"0".repeat(17)}\r\n\r\n`,
  },
  {
    refusal: "a chunk extension is malformed",
    why: "RFC 9112 7.1.1",
    octets: `${CHUNKED_OK}5;a=\r\nhello\r\n0\r\n\r\n`,
  },
  {
    refusal: "chunk extensions over 256 bytes",
    why: "RFC 9112 7.1.1 asks for a bound",
    octets: `${CHUNKED_OK}5;${"a".repeat(300)}\r\nhello\r\n0\r\n\r\n`,
  },
  {
    refusal: "a trailer that belongs in the head (RFC 9110 6.5.1)",
    why: "merged into the head, it would change what was passed on",
    octets: `${CHUNKED_OK}0\r\nSet-Cookie: a=b\r\n\r\n`,
  },
];
