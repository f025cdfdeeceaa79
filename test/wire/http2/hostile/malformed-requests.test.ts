/** What makes a request malformed (RFC 9113 8.1.1 to 8.5), and what does not: as frames on a real socket. */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../../src/wire/http2/frames/frames.ts";
import { lines, OK, rawClient } from "../../../support/http2/ends.ts";
import { get, MALFORMED, show } from "../../../support/http2/malformed.ts";
import {
  block,
  data,
  frame,
  GET,
  headers,
  POST,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";

void t.test(
  "resets a malformed request with PROTOCOL_ERROR, says why, and goes on",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    let id = 1;
    for (const [pairs, why] of MALFORMED) {
      peer.send(headers(id, pairs));
      t.equal(await peer.resetCode(id), ErrorCode.PROTOCOL_ERROR, show(pairs));
      t.match(requests.refusals.at(-1), why, show(pairs));
      t.match(requests.refusals.at(-1), /^BAD_REQUEST: /);
      id += 2;
    }
    t.equal(requests.streams.length, 0, "none was handed on");
    peer.send(headers(id, GET));
    t.equal((await requests.get()).head.path, "/");
  },
);

void t.test(
  "answers 417 to an expectation that it cannot meet (RFC 9110 10.1.1)",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(headers(1, get([], ["expect", "200-maybe"])));
    const answer = await peer.next(FrameType.HEADERS, 1);
    t.strictSame(peer.fields(answer), [
      ":status: 417",
      "x-wherry-reason: EXPECTATION_FAILED",
      "content-length: 0",
    ]);
    t.match(requests.refusals, [/^EXPECTATION_FAILED: /]);
    peer.send(headers(3, [...POST, ["expect", "100-Continue"]], false));
    const { head } = await requests.get();
    t.strictSame(lines(head.fields), ["expect: 100-Continue"]);
  },
);

void t.test(
  "hands on what is in order, without what belongs to the framing",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(
      headers(
        1,
        get(
          [],
          ["host", "SHOP"],
          ["te", "trailers"],
          ["cookie", "a=1"],
          ["cookie", "b=2"],
          ["x", ""],
        ),
      ),
      headers(3, get([":authority"], ["host", "by.host"])),
      headers(
        5,
        get([":method", ":path"], [":method", "OPTIONS"], [":path", "*"]),
      ),
      headers(7, [...POST, ["content-length", "2"]], false),
      headers(9, [
        [":method", "CONNECT"],
        [":authority", "db:5432"],
      ]),
      headers(
        11,
        get([":method"], [":method", "CONNECT"], [":protocol", "websocket"]),
      ),
    );
    const streams = [];
    for (let at = 0; at < 6; at++) streams.push(await requests.get(at));
    const heads = streams.map(({ head }) => head);
    t.match(heads[0], {
      method: "GET",
      scheme: "http",
      authority: "shop",
      path: "/",
      protocol: undefined,
      contentLength: undefined,
      acceptsTrailers: true,
      absoluteForm: false,
    });
    t.strictSame(lines(heads[0]?.fields), [
      "cookie: a=1",
      "cookie: b=2",
      "x: ",
    ]);
    t.equal(heads[1]?.authority, "by.host");
    t.strictSame(lines(heads[1]?.fields), []);
    t.equal(heads[2]?.path, "*");
    t.equal(heads[3]?.contentLength, 2);
    t.match(heads[4], { method: "CONNECT", authority: "db:5432", path: "" });
    t.match(heads[5], { method: "GET", protocol: "websocket", path: "/" });
    t.strictSame(
      streams.map(({ ended }) => ended),
      [true, true, true, false, true, true],
    );
  },
);

void t.test("judges content against content-length (8.1.1)", async (t) => {
  const { peer, requests } = await rawClient(t);
  const length: Pairs = [...POST, ["content-length", "4"]];
  peer.send(headers(1, length, false), data(1, "12345"));
  t.equal(await peer.resetCode(1), ErrorCode.PROTOCOL_ERROR);
  peer.send(headers(3, length, false), data(3, "123", true));
  t.equal(await peer.resetCode(3), ErrorCode.PROTOCOL_ERROR);
  peer.send(
    headers(5, length, false),
    data(5, "12"),
    headers(5, [["x-t", "1"]]),
  );
  t.equal(await peer.resetCode(5), ErrorCode.PROTOCOL_ERROR);
  peer.send(headers(7, length, false), data(7, "12"), data(7, "34", true));
  await peer.settle();
  t.strictSame(requests.refusals, [
    "BAD_REQUEST: more content than content-length says",
    "BAD_REQUEST: less content than content-length says",
    "BAD_REQUEST: less content than content-length says",
  ]);
});

void t.test("judges trailers (8.1)", async (t) => {
  const { peer, requests } = await rawClient(t, { headerFields: 8 });
  const table: readonly (readonly [Buffer, RegExp])[] = [
    [headers(1, [["x", "1"]], false), /without END_STREAM/],
    [headers(3, [[":path", "/"]]), /:path in a trailer/],
    [headers(5, [["connection", "x"]]), /"connection" belongs/],
    [headers(7, [["X", "1"]]), /not a valid field name/],
    [headers(11, [["content-length", "0"]]), /content-length in a trailer/],
    [headers(13, [["host", "shop"]]), /host in a trailer/],
    [headers(15, [["te", "trailers"]]), /te in a trailer/],
    [headers(17, [["authorization", "a"]]), /authorization in a trailer/],
    [headers(19, [["x-wherry-reason", "a"]]), /x-wherry-reason in a trailer/],
    [headers(21, [["x", "a\r\nb"]]), /value of "x"/],
    [
      headers(
        23,
        Array.from({ length: 9 }, () => ["x", "1"] as const),
      ),
      /over the limit/,
    ],
  ];
  for (const [trailers, why] of table) {
    const id = trailers.readUInt32BE(5);
    peer.send(headers(id, POST, false), trailers);
    t.equal(await peer.resetCode(id), ErrorCode.PROTOCOL_ERROR, why.source);
    t.match(requests.refusals.at(-1), why);
  }
});

void t.test("a tunnel takes DATA only (8.5)", async (t) => {
  const { peer, requests } = await rawClient(t);
  const connect: Pairs = [
    [":method", "CONNECT"],
    [":authority", "db:1"],
  ];
  peer.send(headers(1, connect, false));
  (await requests.get()).respond(OK, false);
  peer.send(headers(1, [["x", "1"]]));
  t.equal(await peer.resetCode(1), ErrorCode.PROTOCOL_ERROR);
  t.match(requests.refusals.at(-1), /in a tunnel/);
});

void t.test("answers 431 to a head over the limits (RFC 6585 5)", async (t) => {
  const { peer, requests } = await rawClient(t, {
    headerFields: 10,
    headerListBytes: 1000,
  });
  const many: Pairs = Array.from({ length: 10 }, (_, i) => [`x-${i}`, "1"]);
  peer.send(headers(1, [...GET, ...many]));
  const tooLarge = [
    ":status: 431",
    "x-wherry-reason: HEADERS_TOO_LARGE",
    "content-length: 0",
  ];
  t.strictSame(peer.fields(await peer.next(FrameType.HEADERS, 1)), tooLarge);
  peer.send(headers(3, [...POST, ["x", "v".repeat(1000)]], false));
  const answer = await peer.next(FrameType.HEADERS, 3);
  t.strictSame(peer.fields(answer), tooLarge);
  t.equal(answer.flags, Flag.END_HEADERS | Flag.END_STREAM);
  t.equal(await peer.resetCode(3), ErrorCode.NO_ERROR);
  t.equal(requests.refusals.length, 2);
  t.match(
    requests.refusals[0],
    /^HEADERS_TOO_LARGE: .*1000 bytes or 10 fields/,
  );
  peer.send(headers(5, GET));
  await requests.get();
});

void t.test(
  "a head may be padded, carry a priority, and be cut into CONTINUATION frames",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    const fields = block([...GET, ["x", "1"]]);
    peer.send(
      frame(
        FrameType.HEADERS,
        Flag.PADDED | Flag.PRIORITY | Flag.END_STREAM,
        1,
        Buffer.concat([
          Buffer.from([3, 0, 0, 0, 0, 16]),
          fields.subarray(0, 10),
          Buffer.alloc(3),
        ]),
      ),
      frame(FrameType.CONTINUATION, 0, 1, fields.subarray(10, 11)),
      frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, fields.subarray(11)),
    );
    const { head, ended } = await requests.get();
    t.strictSame(lines(head.fields), ["x: 1"]);
    t.ok(ended);
  },
);
