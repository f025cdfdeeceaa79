/** Floods: what a peer sends over and over ends its connection, and what is no flood does not (RFC 9113 10.5). */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../../src/wire/http2/frames/frames.ts";
import { IGNORE, OK, rawClient } from "../../../support/http2/ends.ts";
import {
  data,
  frame,
  GET,
  goaway,
  headers,
  POST,
  reset,
  settings,
  SETTINGS_ACK,
  windowUpdate,
} from "../../../support/http2/raw-peer.ts";
import type {
  Http2Limit,
  Http2Limits,
} from "../../../../src/wire/http2/limits.ts";

const { ENHANCE_YOUR_CALM } = ErrorCode;

/** What is sent over and over, under a limit of ten a second, and the name of that limit. */
const FLOODS: readonly (readonly [
  string,
  Partial<Http2Limits>,
  (i: number) => Buffer[],
  Http2Limit,
])[] = [
  [
    "rapid resets (CVE-2023-44487)",
    { resetsPerSecond: 10 },
    (i) => [headers(2 * i + 1, GET), reset(2 * i + 1, 8)],
    "resets",
  ],
  [
    "resets provoked by content of another length (CVE-2025-8671)",
    { resetsPerSecond: 10 },
    (i) => [
      headers(2 * i + 1, [...POST, ["content-length", "1"]], false),
      data(2 * i + 1, "xy"),
    ],
    "resets",
  ],
  [
    "streams above their number",
    { malformedPerSecond: 10, concurrentStreams: 1 },
    (i) => [headers(2 * i + 1, GET)],
    "malformed",
  ],
  [
    "malformed requests",
    { malformedPerSecond: 10 },
    (i) => [headers(2 * i + 1, [[":method", "GET"]])],
    "malformed",
  ],
  [
    "heads too large",
    { malformedPerSecond: 10, headerFields: 2 },
    (i) => [headers(2 * i + 1, GET)],
    "malformed",
  ],
  [
    "SETTINGS (CVE-2019-9515)",
    { settingsPerSecond: 10 },
    () => [settings()],
    "settings",
  ],
  [
    "SETTINGS that change the table's size to and fro",
    { settingsPerSecond: 10 },
    (i) => [settings([1, i % 2 === 0 ? 0 : 65_536])],
    "settings",
  ],
  [
    "acknowledgements of SETTINGS",
    { settingsPerSecond: 10 },
    () => [SETTINGS_ACK],
    "settings",
  ],
  ["GOAWAY", { settingsPerSecond: 10 }, () => [goaway(0)], "settings"],
  [
    "PING (CVE-2019-9512)",
    { pingsPerSecond: 10 },
    () => [frame(FrameType.PING, 0, 0, "12345678")],
    "pings",
  ],
  [
    "empty DATA (CVE-2019-9518)",
    { emptyFramesPerSecond: 10 },
    (i) => [...(i === 0 ? [headers(1, POST, false)] : []), data(1, "")],
    "empty_data",
  ],
  [
    "DATA of padding alone",
    { emptyFramesPerSecond: 10 },
    (i) => [
      ...(i === 0 ? [headers(1, POST, false)] : []),
      frame(FrameType.DATA, Flag.PADDED, 1, `\x7f${"p".repeat(127)}`),
    ],
    "empty_data",
  ],
  [
    "DATA of an octet each",
    { tinyFramesPerSecond: 10 },
    (i) => [...(i === 0 ? [headers(1, POST, false)] : []), data(1, "x")],
    "tiny_data",
  ],
  [
    "tiny WINDOW_UPDATEs",
    { tinyUpdatesPerSecond: 10 },
    () => [windowUpdate(0, 1)],
    "tiny_window_updates",
  ],
  [
    "PRIORITY (CVE-2019-9513)",
    { strayFramesPerSecond: 10 },
    () => [frame(FrameType.PRIORITY, 0, 3, "12345")],
    "stray_frames",
  ],
  [
    "unknown frames",
    { strayFramesPerSecond: 10 },
    () => [frame(77, 0, 0, "x")],
    "stray_frames",
  ],
  [
    "frames for streams that are over",
    { strayFramesPerSecond: 10 },
    (i) => [
      ...(i === 0 ? [headers(1, POST, false), reset(1, 8)] : []),
      reset(1, 8),
    ],
    "stray_frames",
  ],
];

for (const [what, limits, send, limit] of FLOODS)
  void t.test(`ends a connection that floods: ${what}`, async (t) => {
    const { peer, clock, connection, requests, limited } = await rawClient(
      t,
      limits,
    );
    for (let i = 0; i < 8; i++) peer.send(...send(i));
    await peer.settle();
    clock.advance(1000);
    for (let i = 8; i < 16; i++) peer.send(...send(i));
    await peer.settle();
    for (let i = 16; i < 24; i++) peer.send(...send(i));
    t.equal(
      (await peer.goaway()).code,
      ENHANCE_YOUR_CALM,
      "more than 10 in one second",
    );
    await peer.ended;
    t.equal(connection.active, 0);
    t.equal(limited.at(-1), limit, "for the metric");
    t.match(requests.refusals.at(-1), /^OVERLOADED: more than 10 in a second/);
  });

void t.test(
  "a stream that lived for a second may be reset: its number is bounded by the streams at once",
  async (t) => {
    const { peer, clock, requests } = await rawClient(t, {
      resetsPerSecond: 5,
    });
    for (let id = 1; id < 41; id += 2) peer.send(headers(id, GET));
    await requests.get(19);
    clock.advance(999);
    for (let id = 1; id < 11; id += 2) peer.send(reset(id, 8));
    await peer.settle();
    clock.advance(1);
    for (let id = 11; id < 41; id += 2) peer.send(reset(id, 8));
    await peer.settle();
    t.pass("five young ones, fifteen old ones");
  },
);

void t.test(
  "answered streams may be reset as often as one likes",
  async (t) => {
    const { peer, requests } = await rawClient(t, { resetsPerSecond: 5 });
    requests.onRequest = (stream) => {
      stream.receive(IGNORE);
      stream.respond(OK, true);
    };
    for (let id = 1; id < 61; id += 2)
      peer.send(headers(id, POST, false), reset(id, 8));
    await peer.settle();
    t.equal(requests.streams.length, 30);
  },
);
