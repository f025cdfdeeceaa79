/** Law 15 at the codecs: what comes byte by byte, and what comes in many small parts, takes time that grows with its size alone. */
import { Duplex } from "node:stream";
import type { Socket } from "node:net";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import type { RequestHead, ServerStream } from "../../src/wire/exchange.ts";
import { FieldClass } from "../../src/mesh/field-class.ts";
import { makeField, type Field } from "../../src/wire/fields.ts";
import { ChunkedDecoder } from "../../src/wire/http1/parse/chunked.ts";
import { connectHttp1 } from "../../src/wire/http1/client.ts";
import { DEFAULT_LIMITS } from "../../src/wire/http1/limits.ts";
import { serveHttp1 } from "../../src/wire/http1/server.ts";
import { ByteWriter } from "../../src/wire/http2/write/byte-writer.ts";
import { Decoder } from "../../src/wire/http2/hpack/decoder.ts";
import { Encoder } from "../../src/wire/http2/hpack/encoder.ts";
import { classify } from "../../src/wire/sniff.ts";
import { growthOf } from "../support/clocks/growth.ts";

const LIMITS = {
  ...DEFAULT_LIMITS,
  headBytes: 1 << 20,
  requestLineBytes: 1 << 20,
  trailerBytes: 1 << 20,
};

/** A socket without a network: what is said to it reaches the codec at once. */
function quietSocket(): Socket {
  const socket = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, done) => done(),
  });
  return Object.assign(socket, {
    setNoDelay: () => socket,
  }) as unknown as Socket;
}

function oneByOne(text: string): readonly Buffer[] {
  const all = Buffer.from(text, "latin1");
  return Array.from(all, (_byte, at) => all.subarray(at, at + 1));
}

const INFO = {
  protocol: "http/1.1",
  peer: undefined,
  remoteAddress: "127.0.0.1",
  remotePort: 1,
  localAddress: "127.0.0.1",
  originalDestination: undefined,
} as const;

/** Says it to the server's side, byte by byte. */
function toServer(text: string): () => void {
  const bytes = oneByOne(text);
  return () => {
    const socket = quietSocket();
    serveHttp1(
      socket,
      { clock: systemClock, info: INFO, limits: LIMITS },
      {
        request: (stream: ServerStream) =>
          stream.receive({
            data: () => undefined,
            end: () => undefined,
            abort: () => undefined,
            drained: () => undefined,
          }),
      },
    );
    for (const byte of bytes) socket.emit("data", byte);
    socket.destroy();
  };
}

const ASKED: RequestHead = {
  method: "GET",
  scheme: "http",
  authority: "a",
  path: "/",
  protocol: undefined,
  fields: [],
  contentLength: undefined,
  acceptsTrailers: true,
  absoluteForm: false,
};

/** Says it to the client's side, as the response to a request. */
function toClient(text: string): () => void {
  const bytes = oneByOne(text);
  return () => {
    const socket = quietSocket();
    const nothing = (): void => undefined;
    const connection = connectHttp1(
      socket,
      { clock: systemClock, limits: LIMITS },
      { available: nothing, draining: nothing, closed: nothing },
    );
    connection.request(ASKED, true, {
      informational: nothing,
      head: nothing,
      data: nothing,
      end: nothing,
      abort: nothing,
      drained: nothing,
    });
    for (const byte of bytes) socket.emit("data", byte);
    socket.destroy();
  };
}

const HEAD = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const RESPONSE = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/** What a head or a body looks like, of so many bytes. */
const TRICKLES: readonly (readonly [
  string,
  (text: string) => () => void,
  (size: number) => string,
])[] = [
  [
    "lines",
    toServer,
    (size) => `GET / HTTP/1.1\r\n${"a:\r\n".repeat(size / 4)}`,
  ],
  [
    "a long line",
    toServer,
    (size) => `GET / HTTP/1.1\r\na: ${"a".repeat(size)}`,
  ],
  ["a long first line", toServer, (size) => `GET /${"a".repeat(size)}`],
  ["CRs", toServer, (size) => `GET / HTTP/1.1\r\na: ${"\r".repeat(size)}`],
  ["a trailer", toServer, (size) => `${HEAD}0\r\na: ${"a".repeat(size)}`],
  ["chunks", toServer, (size) => HEAD + "1\r\na\r\n".repeat(size / 6)],
  [
    "lines of a response",
    toClient,
    (size) => `HTTP/1.1 200 OK\r\n${"a:\r\n".repeat(size / 4)}`,
  ],
  [
    "a long line of a response",
    toClient,
    (size) => `HTTP/1.1 200 OK\r\na: ${"a".repeat(size)}`,
  ],
  [
    "a trailer of a response",
    toClient,
    (size) => `${RESPONSE}0\r\na: ${"a".repeat(size)}`,
  ],
  ["interim responses", toClient, (size) => `HTTP/1.1 100 ${"a".repeat(size)}`],
];

for (const [what, to, make] of TRICKLES)
  void t.test(`${what}, byte by byte`, (t) => {
    const { linear, ratio } = growthOf((size) => to(make(size)), 8000);
    t.ok(linear, `${ratio.toFixed(1)} times as long`);
    t.end();
  });

void t.test("sniffing a first line, byte by byte", (t) => {
  const { linear, ratio } = growthOf((size) => {
    const line = Buffer.from(`GET /${"a".repeat(size)}`);
    const prefixes = Array.from(line, (_byte, index) =>
      line.subarray(0, index + 1),
    );
    return () => {
      for (const prefix of prefixes) classify(prefix);
    };
  }, 1900);
  t.ok(linear, `${ratio.toFixed(1)} times as long`);
  t.end();
});

void t.test("chunks with extensions and quoted strings", (t) => {
  for (const part of [
    "1\r\na\r\n",
    '1;a="\\"";b=c\r\na\r\n',
    "0001\r\na\r\n",
  ]) {
    const { linear, ratio } = growthOf((size) => {
      const body = Buffer.from(part.repeat(size / part.length));
      return () =>
        new ChunkedDecoder(LIMITS).decode(
          Buffer.from(body),
          0,
          body.length,
          undefined,
        );
    }, 32_000);
    t.ok(linear, `${part.slice(0, 8)}: ${ratio.toFixed(1)} times as long`);
  }
  t.end();
});

/** A field block of so many fields, as another encoder would send it. */
function blockOf(fields: readonly Field[], table: number): Buffer {
  const encoder = new Encoder(table);
  const out = new ByteWriter();
  for (const field of fields) encoder.field(field, out);
  return Buffer.from(out.bytes.subarray(0, out.length));
}

const HPACK = {
  headerListBytes: 1 << 24,
  headerFields: 1 << 16,
  headerTableBytes: 1 << 24,
};
const BLOCKS: Readonly<Record<string, (count: number) => Field[]>> = {
  "new names with one value": (count) =>
    Array.from({ length: count }, (_each, index) =>
      makeField(`x-${index}`, "same"),
    ),
  "one name with new values": (count) =>
    Array.from({ length: count }, (_each, index) =>
      makeField("x-a", `v${index}`),
    ),
  "one field again and again": (count) =>
    Array.from({ length: count }, () => makeField("x-a", "v")),
  "fields that are never indexed": (count) =>
    Array.from({ length: count }, (_each, index) =>
      makeField("authorization", `v${index}`, "never"),
    ),
  "no values": (count) =>
    Array.from({ length: count }, (_each, index) =>
      makeField(`x-${index}`, ""),
    ),
};

for (const [what, make] of Object.entries(BLOCKS)) {
  void t.test(`encoding ${what}`, (t) => {
    const { linear, ratio } = growthOf((count) => {
      const fields = make(count);
      return () => blockOf(fields, 65_536);
    }, 800);
    t.ok(linear, `${ratio.toFixed(1)} times as long`);
    t.end();
  });
  // More than what is remembered of names and fields, or the smaller one would have the memory for itself.
  void t.test(`decoding ${what}`, (t) => {
    const { linear, ratio } = growthOf((count) => {
      const block = blockOf(make(count), 4096);
      return () => new Decoder(HPACK).decode(block, 0, block.length);
    }, 8000);
    t.ok(linear, `${ratio.toFixed(1)} times as long`);
    t.end();
  });
}

void t.test("the classes of a long name", (t) => {
  for (const name of ["a", "auth", "-", "x-api-", "passphras", "_"]) {
    const { linear, ratio } = growthOf((size) => {
      const long = name.repeat(size / name.length);
      return () => makeField(long, "").bits & FieldClass.SENSITIVE;
    }, 16_000);
    t.ok(linear, `${name}: ${ratio.toFixed(1)} times as long`);
  }
  t.end();
});
