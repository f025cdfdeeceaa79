/** What a hostile peer says to a listener: octets without sense, half sentences, and floods. Everything is drawn from a seeded source. */
import type { Socket } from "node:net";

export type Random = () => number;

/** Speaks on a socket that has just connected. Afterwards the socket is held, ended or reset by whoever runs it. */
export interface Attack {
  readonly name: string;
  readonly run: (socket: Socket, random: Random) => void;
}

export function bytes(random: Random, length: number): Buffer {
  const made = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index += 1)
    made[index] = Math.floor(random() * 256);
  return made;
}

const HEAD = "GET / HTTP/1.1\r\nHost: orders.shop\r\n";
const CHUNKED =
  "PUT / HTTP/1.1\r\nHost: orders.shop\r\nTransfer-Encoding: chunked\r\n\r\n";

function says(name: string, text: string): Attack {
  return { name, run: (socket) => void socket.write(text, "latin1") };
}

/** A text that ends somewhere in its midst. */
function truncated(name: string, text: string): Attack {
  return {
    name,
    run: (socket, random) =>
      void socket.write(
        text.slice(0, Math.floor(random() * text.length)),
        "latin1",
      ),
  };
}

export const HTTP1_ATTACKS: readonly Attack[] = [
  {
    name: "random octets",
    run: (socket, random) =>
      void socket.write(bytes(random, 1 + Math.floor(random() * 4096))),
  },
  {
    name: "a request with random octets in it",
    run: (socket: Socket, random: Random): void => {
      const text = Buffer.from(`${HEAD}X-A: b\r\n\r\n`);
      for (let count = 0; count < 3; count += 1)
        text[Math.floor(random() * text.length)] = Math.floor(random() * 256);
      socket.write(text);
    },
  },
  truncated("half a head", `${HEAD}X-A: b\r\n\r\n`),
  truncated("half a body", `${CHUNKED}5\r\nhello\r\n0\r\n\r\n`),
  {
    name: "a head octet by octet, never to its end",
    run: (socket: Socket, random: Random): void => {
      const text = `${HEAD}X-Slow: ${"s".repeat(20)}`;
      let at = 0;
      const next = (): void => {
        if (socket.destroyed || at >= text.length) return;
        socket.write(text.charAt(at));
        at += 1 + Math.floor(random() * 3);
        setImmediate(next);
      };
      next();
    },
  },
  says("10,000 fields", `${HEAD}${"x-a: b\r\n".repeat(10_000)}\r\n`),
  says("a field of a megabyte", `${HEAD}x-a: ${"b".repeat(1_000_000)}\r\n\r\n`),
  says("a target of a megabyte", `GET /${"a".repeat(1_000_000)} HTTP/1.1\r\n`),
  says("a head without an end", `${HEAD}${"x-a: b\r\n".repeat(100_000)}`),
  says("a giant chunk", `${CHUNKED}FFFFFFFFFFFFFFFF\r\nx`),
  says("a large chunk", `${CHUNKED}7FFFFFFF\r\n${"x".repeat(100_000)}`),
  says("a chunk size without an end", `${CHUNKED}${"0".repeat(1_000_000)}`),
  says("a chunk extension", `${CHUNKED}1;${"e".repeat(1_000_000)}\r\n`),
  says(
    "trailers without an end",
    `${CHUNKED}0\r\n${"x-t: v\r\n".repeat(100_000)}`,
  ),
  says(
    "two lengths",
    `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  ),
  says("a thousand requests at once", `${HEAD}\r\n`.repeat(1000)),
  says("a CONNECT and noise", "CONNECT orders.shop:80 HTTP/1.1\r\n\r\n\0\0\0"),
  says("HTTP/0.9", "GET /\r\n"),
  says("nothing at all", ""),
];

/** A ClientHello as Node sends it to a name, cut off by `truncated`; its octets matter less than that it begins as one. */
const CLIENT_HELLO = Buffer.from(
  "16030100c8010000c40303" +
    "11".repeat(32) +
    "20" +
    "22".repeat(32) +
    "0006130213031301" +
    "0100" +
    "0075" +
    "00".repeat(117),
  "hex",
).toString("latin1");

export const TLS_ATTACKS: readonly Attack[] = [
  truncated("half a ClientHello", CLIENT_HELLO),
  says("a ClientHello with nonsense in it", CLIENT_HELLO),
  says(
    "a record that is too long",
    "\x16\x03\x01\xff\xff" + "a".repeat(70_000),
  ),
  says("a record of no length", "\x16\x03\x01\x00\x00".repeat(1000)),
  says("an alert", "\x15\x03\x03\x00\x02\x02\x28"),
  says("application data", "\x17\x03\x03\x00\x05hello"),
  {
    name: "a handshake record of random octets",
    run: (socket: Socket, random: Random): void => {
      socket.write("\x16\x03\x03\x02\x00", "latin1");
      socket.write(bytes(random, 512));
    },
  },
];

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** GET http://orders.shop/ from the static table (RFC 7541 appendix A). */
const REQUEST = Buffer.concat([
  Buffer.from([0x82, 0x86, 0x84, 0x01, 11]),
  Buffer.from("orders.shop"),
]);
const [DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING] = [
  0, 1, 2, 3, 4, 5, 6,
];
const [GOAWAY, WINDOW_UPDATE, CONTINUATION] = [7, 8, 9];
const [END_STREAM, END_HEADERS] = [1, 4];

function http2(name: string, make: (random: Random) => Buffer[]): Attack {
  return {
    name: `HTTP/2: ${name}`,
    run: (socket: Socket, random: Random): void => {
      socket.write(
        Buffer.concat([
          Buffer.from(PREFACE),
          frame(SETTINGS, 0, 0),
          ...make(random),
        ]),
      );
    },
  };
}

function many(count: number, make: (index: number) => Buffer): Buffer[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

const CANCEL = Buffer.from([0, 0, 0, 8]);
const ONE = Buffer.from([0, 0, 0, 1]);

/** A server ends each of these connections by itself. */
export const HTTP2_FLOODS: readonly Attack[] = [
  http2("PING", () => many(50_000, () => frame(PING, 0, 0, Buffer.alloc(8)))),
  http2("SETTINGS", () => many(50_000, () => frame(SETTINGS, 0, 0))),
  http2("rapid reset (CVE-2023-44487)", () =>
    many(10_000, (index) =>
      Buffer.concat([
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, REQUEST),
        frame(RST_STREAM, 0, 2 * index + 1, CANCEL),
      ]),
    ),
  ),
  http2("CONTINUATION without an end (CVE-2024-27316)", () => [
    frame(HEADERS, END_STREAM, 1, REQUEST),
    ...many(50_000, () => frame(CONTINUATION, 0, 1, Buffer.alloc(0))),
  ]),
  http2("a field block of megabytes", () => [
    frame(HEADERS, END_STREAM, 1, REQUEST),
    ...many(200, () => frame(CONTINUATION, 0, 1, Buffer.alloc(16_000, 0x40))),
  ]),
  http2("empty DATA", () => [
    frame(HEADERS, END_HEADERS, 1, REQUEST),
    ...many(50_000, () => frame(DATA, 0, 1)),
  ]),
  http2("PRIORITY", () =>
    many(60_000, () => frame(PRIORITY, 0, 1, Buffer.from([0, 0, 0, 3, 1]))),
  ),
  http2("a window beyond 2^31-1", () =>
    many(3, () =>
      frame(WINDOW_UPDATE, 0, 0, Buffer.from([127, 255, 255, 255])),
    ),
  ),
  http2("a frame that is too long", () => [
    frame(DATA, 0, 1, Buffer.alloc(100_000)),
  ]),
  http2("a promise from a client", () => [frame(PUSH_PROMISE, 4, 1, ONE)]),
];

export const HTTP2_ATTACKS: readonly Attack[] = [
  ...HTTP2_FLOODS,
  http2("1,000 streams that nobody reads", () => [
    // No window for any answer.
    frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])),
    ...many(1000, (index) =>
      frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, REQUEST),
    ),
  ]),
  http2("window of one octet each", () =>
    many(20_000, () => frame(WINDOW_UPDATE, 0, 0, ONE)),
  ),
  http2("frames of random kinds", (random) =>
    many(200, () =>
      frame(
        Math.floor(random() * 12),
        Math.floor(random() * 256),
        Math.floor(random() * 8),
        bytes(random, Math.floor(random() * 64)),
      ),
    ),
  ),
  http2("GOAWAY and on", () => [
    frame(GOAWAY, 0, 0, Buffer.alloc(8)),
    frame(HEADERS, END_STREAM | END_HEADERS, 1, REQUEST),
  ]),
  truncated("HTTP/2: half a preface", PREFACE),
];
