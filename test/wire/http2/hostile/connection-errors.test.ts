/** Errors of a connection (RFC 9113 5.4.1): GOAWAY with the right code, and the end. */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../../src/wire/http2/frames/frames.ts";
import {
  IGNORE,
  rawClient,
  rawServer,
  Recorder,
  requestHead,
} from "../../../support/http2/ends.ts";
import {
  block,
  data,
  frame,
  GET,
  goaway,
  headers,
  POST,
  reset,
  settings,
  uint32,
  windowUpdate,
} from "../../../support/http2/raw-peer.ts";

const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR } = ErrorCode;
const { COMPRESSION_ERROR, STREAM_CLOSED } = ErrorCode;

/** What a client sends after its preface, and the error that it is. */
const AT_SERVER: readonly (readonly [string, Buffer[], number])[] = [
  ["DATA on stream 0 (6.1)", [data(0, "x")], PROTOCOL_ERROR],
  ["DATA on an idle stream (5.1)", [data(1, "x")], PROTOCOL_ERROR],
  ["HEADERS on stream 0 (6.2)", [headers(0, GET)], PROTOCOL_ERROR],
  ["an even stream (5.1.1)", [headers(2, GET)], PROTOCOL_ERROR],
  [
    "a skipped stream (5.1.1)",
    [headers(5, GET), headers(3, GET)],
    PROTOCOL_ERROR,
  ],
  [
    "HEADERS too short for padding (6.2)",
    [frame(1, Flag.PADDED | 4, 1)],
    FRAME_SIZE_ERROR,
  ],
  [
    "HEADERS too short for priority (6.2)",
    [frame(1, Flag.PRIORITY | 4, 1, "ab")],
    FRAME_SIZE_ERROR,
  ],
  [
    "HEADERS with too much padding (6.2)",
    [frame(1, Flag.PADDED | 4, 1, "\x09a")],
    PROTOCOL_ERROR,
  ],
  [
    "a field block that does not decode (4.3)",
    [frame(1, 4, 1, Buffer.from([0xbf]))],
    COMPRESSION_ERROR,
  ],
  [
    "another frame within a field block (4.3)",
    [frame(1, 0, 1, block(GET)), frame(6, 0, 0, "12345678")],
    PROTOCOL_ERROR,
  ],
  [
    "DATA within a field block (4.3)",
    [headers(1, POST, false), frame(1, 0, 3, block(GET)), data(1, "x")],
    PROTOCOL_ERROR,
  ],
  [
    "CONTINUATION of another stream (6.10)",
    [frame(1, 0, 1, block(GET)), frame(9, 4, 3)],
    PROTOCOL_ERROR,
  ],
  [
    "CONTINUATION without HEADERS (6.10)",
    [headers(1, GET), frame(9, 4, 1)],
    PROTOCOL_ERROR,
  ],
  ["PRIORITY on stream 0 (6.3)", [frame(2, 0, 0, "12345")], PROTOCOL_ERROR],
  [
    "PRIORITY of an idle stream on itself (RFC 7540 5.3.1)",
    [frame(2, 0, 9, Buffer.concat([uint32(9), Buffer.alloc(1)]))],
    PROTOCOL_ERROR,
  ],
  [
    "PRIORITY of 4 octets for no stream (6.3)",
    [frame(2, 0, 9, "1234")],
    FRAME_SIZE_ERROR,
  ],
  ["RST_STREAM on stream 0 (6.4)", [reset(0, 8)], PROTOCOL_ERROR],
  ["RST_STREAM on an idle stream (6.4)", [reset(1, 8)], PROTOCOL_ERROR],
  [
    "RST_STREAM of 3 octets (6.4)",
    [headers(1, GET), frame(3, 0, 1, "123")],
    FRAME_SIZE_ERROR,
  ],
  ["SETTINGS on a stream (6.5)", [frame(4, 0, 1)], PROTOCOL_ERROR],
  ["SETTINGS of 5 octets (6.5)", [frame(4, 0, 0, "12345")], FRAME_SIZE_ERROR],
  [
    "an acknowledgement with content (6.5)",
    [frame(4, Flag.ACK, 0, "123456")],
    FRAME_SIZE_ERROR,
  ],
  ["ENABLE_PUSH of 2 (6.5.2)", [settings([2, 2])], PROTOCOL_ERROR],
  [
    "INITIAL_WINDOW_SIZE of 2^31 (6.5.2)",
    [settings([4, 2 ** 31])],
    FLOW_CONTROL_ERROR,
  ],
  ["MAX_FRAME_SIZE of 16383 (6.5.2)", [settings([5, 16_383])], PROTOCOL_ERROR],
  ["MAX_FRAME_SIZE of 2^24 (6.5.2)", [settings([5, 2 ** 24])], PROTOCOL_ERROR],
  [
    "ENABLE_CONNECT_PROTOCOL of 2 (RFC 8441 3)",
    [settings([8, 2])],
    PROTOCOL_ERROR,
  ],
  [
    "ENABLE_CONNECT_PROTOCOL withdrawn (RFC 8441 3)",
    [settings([8, 1], [8, 0])],
    PROTOCOL_ERROR,
  ],
  [
    "an initial window that takes a stream's over 2^31-1 (6.9.2)",
    [headers(1, GET), windowUpdate(1, 2 ** 31 - 65_536), settings([4, 65_537])],
    FLOW_CONTROL_ERROR,
  ],
  [
    "PUSH_PROMISE of a client (8.4)",
    [headers(1, GET), frame(5, 4, 1, uint32(2))],
    PROTOCOL_ERROR,
  ],
  ["PING on a stream (6.7)", [frame(6, 0, 1, "12345678")], PROTOCOL_ERROR],
  ["PING of 7 octets (6.7)", [frame(6, 0, 0, "1234567")], FRAME_SIZE_ERROR],
  ["GOAWAY on a stream (6.8)", [frame(7, 0, 1, "12345678")], PROTOCOL_ERROR],
  ["GOAWAY of 7 octets (6.8)", [frame(7, 0, 0, "1234567")], FRAME_SIZE_ERROR],
  [
    "WINDOW_UPDATE of 3 octets (6.9)",
    [frame(8, 0, 0, "123")],
    FRAME_SIZE_ERROR,
  ],
  [
    "WINDOW_UPDATE of 0 on the connection (6.9)",
    [windowUpdate(0, 0)],
    PROTOCOL_ERROR,
  ],
  [
    "WINDOW_UPDATE over 2^31-1 on the connection (6.9.1)",
    [windowUpdate(0, 2 ** 31 - 1)],
    FLOW_CONTROL_ERROR,
  ],
  [
    "WINDOW_UPDATE on an idle stream (5.1)",
    [windowUpdate(1, 1)],
    PROTOCOL_ERROR,
  ],
  [
    "DATA after its sender's RST_STREAM (5.1)",
    [headers(1, POST, false), reset(1, 8), data(1, "x")],
    STREAM_CLOSED,
  ],
  [
    "HEADERS after its sender's RST_STREAM (5.1)",
    [headers(1, POST, false), reset(1, 8), headers(1, GET)],
    STREAM_CLOSED,
  ],
];

for (const [what, sent, code] of AT_SERVER)
  void t.test(`a server ends the connection on ${what}`, async (t) => {
    const { peer } = await rawClient(t);
    peer.send(...sent);
    t.equal((await peer.goaway()).code, code);
    await peer.ended;
  });

/** Rules of one stream that nobody breaks for somebody else: the server ends the connection, for whoever does so wants its resets (CVE-2025-8671). */
const VIOLATIONS: readonly (readonly [string, Buffer[], number])[] = [
  ["WINDOW_UPDATE of 0 (6.9)", [windowUpdate(1, 0)], PROTOCOL_ERROR],
  [
    "WINDOW_UPDATE over 2^31-1 (6.9.1)",
    [windowUpdate(1, 2 ** 31 - 1)],
    FLOW_CONTROL_ERROR,
  ],
  ["PRIORITY of 4 octets (6.3)", [frame(2, 0, 1, "1234")], FRAME_SIZE_ERROR],
  [
    "PRIORITY on itself (RFC 7540 5.3.1)",
    [frame(2, 0, 1, "\0\0\0\x01\0")],
    PROTOCOL_ERROR,
  ],
  [
    "DATA after END_STREAM (5.1)",
    [data(1, "", true), data(1, "x")],
    STREAM_CLOSED,
  ],
  [
    "HEADERS after END_STREAM (5.1)",
    [data(1, "", true), headers(1, GET)],
    STREAM_CLOSED,
  ],
  [
    "trailers on itself",
    [frame(1, Flag.PRIORITY | 5, 1, "\0\0\0\x01\0")],
    PROTOCOL_ERROR,
  ],
];

for (const [what, sent, code] of VIOLATIONS)
  void t.test(
    `a server ends the connection at the first ${what}`,
    async (t) => {
      const { peer, requests } = await rawClient(t);
      const recorder = new Recorder();
      requests.onRequest = (stream) => stream.receive(recorder);
      peer.send(headers(1, POST, false), ...sent);
      t.equal((await peer.goaway()).code, code);
      await peer.ended;
      t.equal(recorder.error?.code, "CLIENT_CLOSED");
      t.match(requests.refusals.at(-1), /^BAD_REQUEST/);
    },
  );

/** A message that is malformed may be passed on for somebody else: its stream is reset, and the connection goes on. */
const STREAM_ERRORS: readonly (readonly [string, Buffer[]])[] = [
  [
    "more content than content-length (8.1.1)",
    [headers(1, [...POST, ["content-length", "1"]], false), data(1, "xy")],
  ],
  [
    "less content than content-length (8.1.1)",
    [
      headers(1, [...POST, ["content-length", "3"]], false),
      data(1, "xy", true),
    ],
  ],
  [
    "trailers that belong in the head (RFC 9110 6.5.1)",
    [headers(1, POST, false), headers(1, [["content-length", "1"]])],
  ],
];

for (const [what, sent] of STREAM_ERRORS)
  void t.test(`a server resets the stream on ${what}`, async (t) => {
    const { peer, requests } = await rawClient(t);
    const recorder = new Recorder();
    requests.onRequest = (stream) => stream.receive(recorder);
    peer.send(...sent);
    t.equal(await peer.resetCode(1), PROTOCOL_ERROR);
    peer.send(headers(3, GET));
    await requests.get(1);
    t.equal(recorder.error?.code, "BAD_REQUEST");
  });

void t.test(
  "a new stream that depends on itself is reset (RFC 7540 5.3.1)",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    const payload = Buffer.concat([Buffer.from("\0\0\0\x01\0"), block(GET)]);
    peer.send(frame(FrameType.HEADERS, Flag.PRIORITY | 5, 1, payload));
    t.equal(await peer.resetCode(1), PROTOCOL_ERROR);
    t.equal(requests.streams.length, 0);
  },
);

void t.test(
  "a connection that does not begin with SETTINGS is ended (3.4)",
  async (t) => {
    const { peer } = await rawServer(t, {}, null);
    peer.send(frame(FrameType.PING, 0, 0, "12345678"));
    t.equal((await peer.goaway()).code, PROTOCOL_ERROR);
    const other = await rawServer(t, {}, null);
    other.peer.send(data(1, "x"));
    t.equal((await other.peer.goaway()).code, PROTOCOL_ERROR);
  },
);

/** What a server sends to a client that has one request under way. */
const AT_CLIENT: readonly (readonly [string, Buffer[], number])[] = [
  [
    "PUSH_PROMISE, which it disabled (6.6)",
    [frame(5, 4, 1, uint32(2))],
    PROTOCOL_ERROR,
  ],
  ["ENABLE_PUSH of a server (6.5.2)", [settings([2, 1])], PROTOCOL_ERROR],
  [
    "HEADERS on a stream that it did not open (5.1)",
    [headers(3, [[":status", "200"]])],
    PROTOCOL_ERROR,
  ],
  [
    "HEADERS on an even stream (5.1)",
    [headers(2, [[":status", "200"]])],
    PROTOCOL_ERROR,
  ],
  [
    "DATA on a stream that it did not open (5.1)",
    [data(3, "x")],
    PROTOCOL_ERROR,
  ],
];

for (const [what, sent, code] of AT_CLIENT)
  void t.test(`a client ends the connection on ${what}`, async (t) => {
    const { peer, connection, observer } = await rawServer(t);
    const recorder = new Recorder();
    connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, 1);
    peer.send(...sent);
    t.equal((await peer.goaway()).code, code);
    await peer.ended;
    t.match(recorder.error, { code: "UPSTREAM_PROTOCOL", unprocessed: false });
    t.match(observer.error, { code: "UPSTREAM_PROTOCOL" });
  });

void t.test(
  "late frames for a stream that we reset are ignored, however many came between (5.1)",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(headers(1, POST, false));
    const first = await requests.get();
    first.receive(IGNORE);
    first.respond({ status: 200, fields: [], contentLength: 0 }, true);
    t.equal(await peer.resetCode(1), ErrorCode.NO_ERROR);
    for (let id = 3; id < 1003; id += 2) peer.send(headers(id, GET));
    for (let at = 1; at <= 500; at++) {
      const stream = await requests.get(at);
      stream.respond({ status: 200, fields: [], contentLength: 0 }, true);
    }
    peer.send(
      data(1, "late"),
      windowUpdate(1, 5),
      headers(1, [["x-late", "1"]]),
      reset(1, ErrorCode.CANCEL),
    );
    await peer.settle();
    peer.send(goaway(0));
    await peer.settle();
  },
);
