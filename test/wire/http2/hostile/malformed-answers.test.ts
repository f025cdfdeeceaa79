/** Malformed answers: each is reset, and the caller is told what is wrong with it (RFC 9113 8.1.1). */
import t from "tap";
import {
  ErrorCode,
  FrameType,
} from "../../../../src/wire/http2/frames/frames.ts";
import {
  rawServer,
  Recorder,
  requestHead,
} from "../../../support/http2/ends.ts";
import { data, headers, type Pairs } from "../../../support/http2/raw-peer.ts";

void t.test("resets a malformed answer and says so (8.1.1)", async (t) => {
  const { peer, connection } = await rawServer(t, { headerFields: 5 });
  const ok: Pairs = [[":status", "200"]];
  const table: readonly (readonly [
    string,
    (id: number) => Buffer[],
    RegExp,
  ])[] = [
    ["no status", (id) => [headers(id, [["x", "1"]])], /no :status/],
    ["two", (id) => [headers(id, [...ok, ...ok])], /two :status/],
    [
      "late status",
      (id) => [headers(id, [["x", "1"], ...ok])],
      /behind an ordinary/,
    ],
    [
      "status of four digits",
      (id) => [headers(id, [[":status", "2000"]])],
      /value of ":status"/,
    ],
    ["101 (8.6)", (id) => [headers(id, [[":status", "101"]], false)], /101/],
    [
      "interim at the end",
      (id) => [headers(id, [[":status", "100"]])],
      /interim/,
    ],
    [
      "a request's pseudo-header",
      (id) => [headers(id, [...ok, [":path", "/"]])],
      /:path in a response/,
    ],
    [
      "connection",
      (id) => [headers(id, [...ok, ["connection", "x"]])],
      /belongs to HTTP\/1.1/,
    ],
    ["te", (id) => [headers(id, [...ok, ["te", "trailers"]])], /"te"/],
    ["upper case", (id) => [headers(id, [...ok, ["X", "1"]])], /not a valid/],
    [
      "two lengths, though they agree",
      (id) => [
        headers(id, [...ok, ["content-length", "1"], ["content-length", "1"]]),
      ],
      /two content-length/,
    ],
    [
      "a length of 204",
      (id) => [
        headers(id, [
          [":status", "204"],
          ["content-length", "1"],
        ]),
      ],
      /announced for a 1xx or 204/,
    ],
    [
      "a length of 1xx",
      (id) => [
        headers(
          id,
          [
            [":status", "103"],
            ["content-length", "1"],
          ],
          false,
        ),
      ],
      /announced for a 1xx or 204/,
    ],
    [
      "host",
      (id) => [headers(id, [...ok, ["host", "shop"]])],
      /host in a resp/,
    ],
    [
      "a trailer that belongs in the head",
      (id) => [headers(id, ok, false), headers(id, [["content-length", "0"]])],
      /content-length in a trailer section/,
    ],
    [
      "17 interim answers",
      (id) =>
        Array.from({ length: 17 }, () =>
          headers(id, [[":status", "103"]], false),
        ),
      /more than 16 interim/,
    ],
    [
      "length without content",
      (id) => [headers(id, [...ok, ["content-length", "1"]])],
      /without content/,
    ],
    [
      "too little",
      (id) => [
        headers(id, [...ok, ["content-length", "2"]], false),
        data(id, "x", true),
      ],
      /less content/,
    ],
    [
      "too much",
      (id) => [
        headers(id, [...ok, ["content-length", "1"]], false),
        data(id, "xy"),
      ],
      /more content/,
    ],
    ["content first", (id) => [data(id, "x")], /before the response/],
    [
      "a third section",
      (id) => [headers(id, ok, false), headers(id, [["x", "1"]], false)],
      /second field section/,
    ],
    [
      "too many fields",
      (id) => [
        headers(id, [
          ...ok,
          ...Array.from({ length: 5 }, () => ["x", "1"] as const),
        ]),
      ],
      /over the limit/,
    ],
  ];
  let id = 1;
  for (const [what, sent, why] of table) {
    const recorder = new Recorder();
    connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, id);
    peer.send(...sent(id));
    t.equal(await peer.resetCode(id), ErrorCode.PROTOCOL_ERROR, what);
    t.match(recorder.error, { code: "UPSTREAM_PROTOCOL", message: why });
    id += 2;
  }
  t.equal(connection.active, 0);
});
