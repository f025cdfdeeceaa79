/** What a hostile peer can cause is bounded (RFC 9113 10.5). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import {
  IGNORE,
  INFO,
  OK,
  rawClient,
  rawServer,
  Recorder,
  requestHead,
  Requests,
} from "../../support/http2/ends.ts";
import {
  block,
  data,
  frame,
  GET,
  goaway,
  headers,
  POST,
  RawPeer,
  reset,
  settings,
  SETTINGS_ACK,
  socketPair,
  windowUpdate,
} from "../../support/http2/raw-peer.ts";
import type {
  Http2Limit,
  Http2Limits,
} from "../../../src/wire/http2/limits.ts";

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

void t.test(
  "a field block has a limit in octets and in CONTINUATION frames (CVE-2024-27316)",
  async (t) => {
    const many = await rawClient(t, { continuations: 4 });
    many.peer.send(frame(FrameType.HEADERS, 0, 1, block(GET)));
    for (let i = 0; i < 5; i++)
      many.peer.send(frame(FrameType.CONTINUATION, 0, 1));
    t.equal((await many.peer.goaway()).code, ENHANCE_YOUR_CALM);
    t.strictSame(many.limited, ["field_block"]);
    const large = await rawClient(t, { headerBlockBytes: 1000 });
    large.peer.send(
      frame(FrameType.HEADERS, 0, 1, block(GET)),
      frame(
        FrameType.CONTINUATION,
        Flag.END_HEADERS,
        1,
        block([["x", "v".repeat(1000)]]),
      ),
    );
    t.equal((await large.peer.goaway()).code, ENHANCE_YOUR_CALM);
  },
);

void t.test("a HPACK bomb ends the connection at the first", async (t) => {
  const { peer, requests, limited } = await rawClient(t);
  const value = "v".repeat(3000);
  const entry = Buffer.concat([
    Buffer.from([0x40, 1]),
    Buffer.from("x"),
    Buffer.from([127, ((3000 - 127) & 127) | 128, (3000 - 127) >> 7]),
    Buffer.from(value),
  ]);
  const bomb = Buffer.concat([block(GET), entry, Buffer.alloc(12_000, 0xbe)]);
  peer.send(
    frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, bomb),
  );
  t.equal((await peer.goaway()).code, ENHANCE_YOUR_CALM);
  t.match(requests.refusals, [/^OVERLOADED: .* more than the 16384 bytes/]);
  t.strictSame(limited, ["header_list"]);
  t.equal(requests.streams.length, 0);
});

/** RFC 7541 6.3. */
const TABLE_OF_16_KIB = Buffer.from([0x3f, 0xe1, 0x7f]);
/** GET http://shop/ without an entry of the dynamic table. */
const PLAIN = Buffer.from("\x82\x86\x84\x01\x04shop", "latin1");

void t.test(
  "a table may be taken once by a block, in whatever order, and in each block anew",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    await peer.settle();
    const value = "v".repeat(3000);
    const entries = Array.from({ length: 5 }, (_, index) =>
      Buffer.concat([
        Buffer.from([0x40, 1, 0x61 + index]),
        Buffer.from([127, ((3000 - 127) & 127) | 128, (3000 - 127) >> 7]),
        Buffer.from(value),
      ]),
    );
    const all = Buffer.from([0x80 + 62, 0x80 + 66, 0x80 + 64, 0xbf, 0x80 + 65]);
    peer.send(
      frame(
        FrameType.HEADERS,
        5,
        1,
        Buffer.concat([TABLE_OF_16_KIB, PLAIN, ...entries]),
      ),
    );
    for (const id of [3, 5, 7])
      peer.send(frame(FrameType.HEADERS, 5, id, Buffer.concat([PLAIN, all])));
    const { head } = await requests.get(3);
    t.equal(head.fields.length, 5);
  },
);

void t.test("names from the table count as what they bring", async (t) => {
  const { peer } = await rawClient(t);
  await peer.settle();
  const long = 3000;
  const entry = Buffer.concat([
    Buffer.from([0x40, 127, ((long - 127) & 127) | 128, (long - 127) >> 7]),
    Buffer.from("n".repeat(long)),
    Buffer.from([1, 0x76]),
  ]);
  const again = Buffer.from([0x0f, 62 - 15, 1, 0x76]);
  peer.send(
    frame(
      FrameType.HEADERS,
      5,
      1,
      Buffer.concat([PLAIN, entry, ...Array<Buffer>(6).fill(again)]),
    ),
  );
  t.equal((await peer.goaway()).code, ENHANCE_YOUR_CALM);
});

void t.test(
  "refuses streams above the limit, and takes others when there is room (5.1.2)",
  async (t) => {
    const { peer, requests, connection, limited } = await rawClient(t, {
      concurrentStreams: 2,
    });
    peer.send(headers(1, GET), headers(3, GET), headers(5, GET));
    t.equal(await peer.resetCode(5), ErrorCode.REFUSED_STREAM);
    t.equal(connection.active, 2);
    t.match(requests.refusals, [/^OVERLOADED/]);
    t.strictSame(limited, ["streams"]);
    requests.streams[0]?.respond(OK, true);
    peer.send(headers(7, GET));
    await requests.get(2);
  },
);

void t.test("SETTINGS must be acknowledged in time (6.5.3)", async (t) => {
  const [accepted, dialled] = await socketPair();
  t.teardown(() => dialled.destroy());
  const clock = fakeClock();
  const limited: Http2Limit[] = [];
  serveHttp2(
    accepted,
    { clock, info: INFO, onLimit: (limit) => limited.push(limit) },
    new Requests(),
  );
  const peer = new RawPeer(dialled, false);
  await peer.next(FrameType.SETTINGS);
  clock.advance(9999);
  peer.send(PREFACE, settings());
  await peer.settle();
  clock.advance(1);
  t.equal((await peer.goaway()).code, ErrorCode.SETTINGS_TIMEOUT);
  t.strictSame(limited, ["settings_ack"]);
  t.equal(clock.pending, 1, "only the timer of the closing socket");
  await peer.ended;
});

void t.test("a second acknowledgement means nothing", async (t) => {
  const { peer, clock } = await rawClient(t);
  peer.send(SETTINGS_ACK, SETTINGS_ACK);
  await peer.settle();
  t.equal(clock.pending, 1, "only the one that looks for what stands still");
});

void t.test(
  "a closing connection does not wait for ever for its peer",
  async (t) => {
    const { peer, clock, socket } = await rawClient(t);
    peer.socket.allowHalfOpen = true;
    peer.send(data(0, "x"));
    await peer.goaway();
    await peer.ended;
    t.equal(socket.destroyed, false);
    clock.advance(1000);
    t.equal(socket.destroyed, true);
  },
);

void t.test(
  "a client that does not read its answers gets no more requests in",
  async (t) => {
    const { peer, requests, socket, limited } = await rawClient(t, {
      outputBytesMax: 50_000,
    });
    const large = { ...OK, fields: [{ ...longField("x-large", 8000) }] };
    requests.onRequest = (stream) => stream.respond(large, true);
    peer.socket.pause();
    let id = 1;
    while (!socket.isPaused()) {
      for (let i = 0; i < 20; i++, id += 2) peer.send(headers(id, GET));
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.strictSame(limited, ["output"]);
    const served = requests.streams.length;
    t.ok(served > 0);
    peer.socket.resume();
    await peer.settle();
    t.equal(
      requests.streams.length,
      (id - 1) / 2,
      "all were served in the end",
    );
  },
);

function longField(
  name: string,
  length: number,
): (typeof OK)["fields"][number] {
  return {
    name,
    value: "\xff".repeat(length),
    bits: 0,
    indexing: "without",
    line: undefined,
    literal: undefined,
  };
}

void t.test(
  "a server that floods a client and does not read is left",
  async (t) => {
    const { peer, connection, observer, limited } = await rawServer(t, {
      outputBytesMax: 1000,
      pingsPerSecond: 1e9,
    });
    const recorder = new Recorder();
    connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, 1);
    peer.socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 5000 }, () =>
        frame(FrameType.PING, 0, 0, "12345678"),
      ),
    );
    while (!observer.events.includes("closed")) {
      peer.send(pings);
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.match(recorder.error, {
      code: "UPSTREAM_PROTOCOL",
      message: /does not read/,
    });
    t.strictSame(limited, ["output"]);
    t.equal(connection.capacity, 0);
  },
);

void t.test(
  "a client's backlog takes its capacity, and gives it back",
  async (t) => {
    const { peer, connection, observer } = await rawServer(t, {
      outputBytesMax: 20_000,
    });
    await peer.settle();
    peer.socket.pause();
    const fields = [longField("x-large", 10_000)];
    let made = 0;
    while (connection.capacity > 0) {
      connection.request(requestHead({ fields }), true, new Recorder());
      made += 1;
      if (made % 10 === 0)
        await new Promise((resolve) => setImmediate(resolve));
    }
    t.ok(made < 1000, "the backlog ended it");
    peer.socket.resume();
    await observer.until("available");
    t.ok(connection.capacity > 0);
    connection.destroy(new MeshError("DRAINING", "", { source: "proxy" }));
  },
);
