/** Faults of responses alone: status line, interim responses, bodies where none may be (RFC 9112 4 and 6, RFC 9110 15). Each is a 502. */

const head = (lines: string, first = "HTTP/1.1 200 OK"): string =>
  `${first}\r\n${lines}\r\n`;

/** What is wrong → the octets in place of an answer to GET. */
export const RESPONSE_FAULTS: Readonly<Record<string, string>> = {
  "no HTTP": "hello\r\n\r\n",
  "another protocol's greeting": "SSH-2.0-OpenSSH_9.2\r\n",
  "HTTP/0.9": "<html>",
  "a TLS alert": "\x15\x03\x03\x00\x02\x02\x28",
  "a request": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "an empty line first": `\r\n${head("Content-Length: 0\r\n")}`,
  "a bare LF first": `\n${head("Content-Length: 0\r\n")}`,
  "HTTP/2.0": head("", "HTTP/2.0 200 OK"),
  "HTTP/1.2": head("", "HTTP/1.2 200 OK"),
  "HTTP/1.10": head("", "HTTP/1.10 200 OK"),
  "http in lower case": head("", "http/1.1 200 OK"),
  "ICY, as Shoutcast has it": head("", "ICY 200 OK"),
  "a status of two digits": head("", "HTTP/1.1 20 OK"),
  "a status of four digits": head("", "HTTP/1.1 2000 OK"),
  "a status under 100": head("", "HTTP/1.1 099 OK"),
  "a status over 599": head("", "HTTP/1.1 600 OK"),
  "a status of letters": head("", "HTTP/1.1 2x0 OK"),
  "a status with a sign": head("", "HTTP/1.1 +20 OK"),
  "two spaces before the status": head("", "HTTP/1.1  200 OK"),
  "a tab before the status": head("", "HTTP/1.1\t200 OK"),
  "a tab behind the status": head("", "HTTP/1.1 200\tOK"),
  "no status": head("", "HTTP/1.1 "),
  "a control character in the phrase": head("", "HTTP/1.1 200 O\0K"),
  "a bare CR in the phrase": head("", "HTTP/1.1 200 O\rK"),
  "bare LF throughout": "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
  "a coding beside chunked": head("Transfer-Encoding: gzip, chunked\r\n"),
  "Transfer-Encoding in HTTP/1.0": head(
    "Transfer-Encoding: chunked\r\n",
    "HTTP/1.0 200 OK",
  ),
  "two Hosts": head("Host: a\r\nHost: a\r\n"),
  "too many fields": head("A: b\r\n".repeat(101)),
  "a head over the limit": head(`A: ${"b".repeat(70_000)}\r\n`),
  "a head without an end": `HTTP/1.1 200 OK\r\nA: ${"b".repeat(70_000)}`,
  "a status line over the limit": head(
    "",
    `HTTP/1.1 200 ${"b".repeat(70_000)}`,
  ),
  "101 that nobody asked for": head(
    "Upgrade: websocket\r\nConnection: upgrade\r\n",
    "HTTP/1.1 101 Switching Protocols",
  ),
  "a 204 with a length": head(
    "Content-Length: 1\r\n",
    "HTTP/1.1 204 No Content",
  ),
  "a 204 with a coding": head(
    "Transfer-Encoding: chunked\r\n",
    "HTTP/1.1 204 No Content",
  ),
  "a 100 with a length": head("Content-Length: 1\r\n", "HTTP/1.1 100 Continue"),
  "a 103 with a coding": head(
    "Transfer-Encoding: chunked\r\n",
    "HTTP/1.1 103 Early Hints",
  ),
  "a 1xx of HTTP/1.0": head("", "HTTP/1.0 103 Early Hints"),
  "a 1xx that closes": head(
    "Connection: close\r\n",
    "HTTP/1.1 103 Early Hints",
  ),
  "a flood of 1xx": head("", "HTTP/1.1 103 Early Hints").repeat(17),
};
