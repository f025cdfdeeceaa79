/** HTTP/2's grammar in answers, through a whole proxy: what an application breaks is a 502 or a reset to every caller, and is mended by nobody (law 7). */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../src/wire/http2/frames/frames.ts";
import { resource, withPair, type Pair } from "../support/meshes/pair.ts";
import {
  block,
  data,
  frame,
  goaway,
  headers,
  RawPeer,
  reset,
  settings,
  SETTINGS_ACK,
  uint32,
  windowUpdate,
  type Pairs,
} from "../support/http2/raw-peer.ts";
import { enter, request } from "../support/hostile/grammar-http2-backends.ts";

const OK: Pairs = [[":status", "200"]];
type Frames = (id: number) => Buffer[];

/** An answer that is nothing but this head. */
function head(...pairs: Pairs): Frames {
  return (id) => [headers(id, pairs)];
}
/** A good head and these fields. */
function ok(...pairs: Pairs): Frames {
  return head(...OK, ...pairs);
}

/** Before anything of the answer was passed on: 502 and UPSTREAM_PROTOCOL. */
const REFUSED: readonly (readonly [string, Frames])[] = [
  ["no :status", head(["x", "1"])],
  ["no field at all", head()],
  ["two :status", ok(...OK)],
  ["a :status behind a field", head(["x", "1"], ...OK)],
  ...["", "20", "2000", "20x", "099", "600", "+200", "2 00"].map(
    (status) => [`:status "${status}"`, head([":status", status])] as const,
  ),
  ["101 (8.6)", (id) => [headers(id, [[":status", "101"]], false)]],
  ["a request's pseudo-header", ok([":path", "/"])],
  ["an unknown pseudo-header", ok([":x", "1"])],
  ["an upper-case name", ok(["X", "1"])],
  ["a name that is no token", ok(["x y", "1"])],
  ["an empty name", ok(["", "1"])],
  ["CR and LF in a value", ok(["x", "1\r\nset-cookie: a=b"])],
  ["LF in a value", ok(["x", "1\nset-cookie: a=b"])],
  ["NUL in a value", ok(["x", "a\0"])],
  ["a blank before a value", ok(["x", " a"])],
  ["a blank behind a value", ok(["x", "a\t"])],
  ["connection", ok(["connection", "close"])],
  ["keep-alive", ok(["keep-alive", "timeout=5"])],
  ["proxy-connection", ok(["proxy-connection", "x"])],
  ["transfer-encoding", ok(["transfer-encoding", "chunked"])],
  ["upgrade", ok(["upgrade", "websocket"])],
  ["te", ok(["te", "trailers"])],
  ["host", ok(["host", "orders.shop"])],
  ["a content-length that is no number", ok(["content-length", "1x"])],
  [
    "two content-lengths that agree",
    ok(["content-length", "0"], ["content-length", "0"]),
  ],
  ["a content-length and no content", ok(["content-length", "5"])],
  [
    "a content-length of 204",
    head([":status", "204"], ["content-length", "5"]),
  ],
  [
    "a content-length of 103",
    (id) => [
      headers(
        id,
        [
          [":status", "103"],
          ["content-length", "5"],
        ],
        false,
      ),
    ],
  ],
  ["an interim answer that ends", head([":status", "103"])],
  [
    "nothing but DATA",
    (id) => [data(id, "HTTP/1.1 200 OK\r\n\r\n"), data(id, "", true)],
  ],
  ["nothing but its end", (id) => [data(id, "", true)]],
  [
    "a head of too many fields",
    ok(...Array.from({ length: 101 }, (_, i) => [`x-${i}`, "1"] as const)),
  ],
  [
    "a field block that does not decode (4.3)",
    (id) => [frame(FrameType.HEADERS, 5, id, Buffer.from([0xbf]))],
  ],
  [
    "a promise that nobody allowed (8.4)",
    (id) => [
      frame(
        FrameType.PUSH_PROMISE,
        Flag.END_HEADERS,
        id,
        Buffer.concat([uint32(2), block(OK)]),
      ),
    ],
  ],
  [
    "DATA within the field block (4.3)",
    (id) => [
      frame(FrameType.HEADERS, 0, id, block(OK)),
      data(id, "x"),
      frame(FrameType.CONTINUATION, Flag.END_HEADERS, id),
    ],
  ],
  [
    "an answer to nobody before it",
    (id) => [headers(id + 2, OK), headers(id, OK)],
  ],
  ["SETTINGS that enable pushes", (id) => [settings([2, 1]), headers(id, OK)]],
  ["a window of 2^31", (id) => [windowUpdate(0, 2 ** 31 - 1), headers(id, OK)]],
];

/** Once the head was passed on nothing can be said any more: the caller's exchange breaks, and never looks complete. */
const BROKEN: readonly (readonly [string, Frames])[] = [
  [
    "less DATA than content-length",
    (id) => [
      headers(id, [...OK, ["content-length", "5"]], false),
      data(id, "1234", true),
    ],
  ],
  [
    "more DATA than content-length",
    (id) => [
      headers(id, [...OK, ["content-length", "5"]], false),
      data(id, "1234"),
      data(id, "56", true),
    ],
  ],
  [
    "DATA behind a content-length of 0",
    (id) => [
      headers(id, [...OK, ["content-length", "0"]], false),
      data(id, "x", true),
    ],
  ],
  [
    "content of 204",
    (id) => [headers(id, [[":status", "204"]], false), data(id, "x", true)],
  ],
  [
    "content of 304",
    (id) => [headers(id, [[":status", "304"]], false), data(id, "x", true)],
  ],
  ["a second head", (id) => [headers(id, OK, false), headers(id, OK, false)]],
  [
    "a third field section",
    (id) => [
      headers(id, OK, false),
      data(id, "x"),
      headers(id, [["x", "1"]], false),
    ],
  ],
  ...(
    [
      ["a pseudo-header", [":status", "200"]],
      ["an upper-case name", ["X", "1"]],
      ["CR and LF", ["x", "1\r\ny: 2"]],
      ["transfer-encoding", ["transfer-encoding", "chunked"]],
      ["content-length", ["content-length", "1"]],
      ["set-cookie", ["set-cookie", "a=b"]],
      ["the mesh's reason", ["x-wherry-reason", "DENIED"]],
    ] as const
  ).map(
    ([what, pair]) =>
      [
        `trailers with ${what}`,
        (id: number): Buffer[] => [
          headers(id, OK, false),
          data(id, "x"),
          headers(id, [pair]),
        ],
      ] as const,
  ),
  [
    "a reset without an error in the midst of it",
    (id) => [
      headers(id, OK, false),
      data(id, "x"),
      reset(id, ErrorCode.NO_ERROR),
    ],
  ],
  [
    "DATA with more padding than there is",
    (id) => [
      headers(id, OK, false),
      frame(FrameType.DATA, Flag.PADDED, id, "\x09x"),
    ],
  ],
];

/** What is in order, and what the caller gets of it. */
const PASSED: readonly (readonly [string, string, Frames, string])[] = [
  ["a head alone", "GET", ok(["x", "1"]), "200 x: 1 end"],
  [
    "interim answers, the head, content, trailers",
    "GET",
    (id) => [
      headers(id, [[":status", "103"]], false),
      headers(id, OK, false),
      data(id, "body"),
      headers(id, [["grpc-status", "0"]]),
    ],
    "103 200 body grpc-status: 0 end",
  ],
  [
    "the length of what HEAD does not get",
    "HEAD",
    ok(["content-length", "5"]),
    "200 content-length: 5 end",
  ],
  [
    "the length of what has not changed",
    "GET",
    head([":status", "304"], ["content-length", "5"]),
    "304 content-length: 5 end",
  ],
  [
    "204",
    "GET",
    (id) => [headers(id, [[":status", "204"]], false), data(id, "", true)],
    "204 end",
  ],
  [
    "HEADERS behind the end (5.1): the answer was whole",
    "GET",
    (id) => [headers(id, [...OK, ["x", "1"]]), headers(id, [["y", "2"]])],
    "200 x: 1 end",
  ],
  [
    "DATA behind the end (5.1): the answer was whole",
    "GET",
    (id) => [headers(id, OK, false), data(id, "body", true), data(id, "more")],
    "200 body end",
  ],
];

/** What the caller is told where a stream or connection ends. */
const ENDED: readonly (readonly [string, Frames, string, string])[] = [
  [
    "a reset",
    (id) => [reset(id, ErrorCode.INTERNAL_ERROR)],
    "503",
    "UPSTREAM_RESET",
  ],
  [
    "a refusal, three times",
    (id) => [reset(id, ErrorCode.REFUSED_STREAM)],
    "503",
    "STREAM_REFUSED",
  ],
  [
    "a reset after an interim answer",
    (id) => [
      headers(id, [[":status", "103"]], false),
      reset(id, ErrorCode.REFUSED_STREAM),
    ],
    "103 503",
    "STREAM_REFUSED",
  ],
  ["GOAWAY below it", () => [goaway(0)], "503", "STREAM_REFUSED"],
];

let answer: Frames = ok();

/** Says `answer` to each request. */
function application(): Parameters<typeof withPair>[0] {
  return {
    appProtocol: "http2",
    rawApp: () => (socket) => {
      const peer = new RawPeer(socket, true);
      peer.send(settings(), SETTINGS_ACK);
      socket.on("data", () => {
        for (const { type, id } of peer.frames.splice(0))
          if (type === FrameType.HEADERS) peer.send(...answer(id));
      });
      socket.on("end", () => socket.end());
    },
    resources: [
      resource("TrafficPolicy", "orders", {
        targetRefs: [{ kind: "Service", name: "orders" }],
        circuitBreaker: { volumeThreshold: 1_000_000 },
      }),
    ],
  };
}

interface Got {
  /** Statuses, fields, content, trailers, and how it ended. */
  readonly text: string;
  readonly reason: string | undefined;
}

/** What a caller over HTTP/2 gets. */
async function over2(pair: Pair, method = "GET"): Promise<Got> {
  const peer = await enter(pair, "outbound");
  peer.send(headers(1, request("outbound", method, "/row")));
  const got: string[] = [];
  let reason: string | undefined;
  for (let over = false; !over;) {
    const { frames } = peer;
    const at = frames.findIndex(({ id, type }) => id === 1 && type !== 8);
    const found = frames[at];
    if (found === undefined) {
      await peer.arrives();
      continue;
    }
    frames.splice(0, at + 1);
    switch (found.type) {
      case FrameType.HEADERS:
        for (const line of peer.fields(found)) {
          if (line.startsWith("x-wherry-reason: ")) reason = line.slice(17);
          got.push(line.replace(/^:status: /, ""));
        }
        break;
      case FrameType.DATA:
        if (found.payload.length > 0) got.push(found.payload.toString());
        break;
      case FrameType.RST_STREAM:
        got.push("reset");
        over = true;
    }
    if (found.type <= 1 && (found.flags & Flag.END_STREAM) !== 0) {
      got.push("end");
      over = true;
    }
  }
  peer.socket.destroy();
  return { text: got.join(" "), reason };
}

void t.test("answers that applications give over HTTP/2", async (t) => {
  await withPair(application(), async (pair) => {
    await t.test("malformed before it is passed on: 502", async (t) => {
      for (const [what, frames] of REFUSED) {
        answer = frames;
        const { text, reason } = await over2(pair);
        t.match(text, /^502 [^]* end$/, `${what}: over HTTP/2`);
        t.match(reason, /^UPSTREAM_PROTOCOL/, `${what}: over HTTP/2`);
        const first = await pair.call();
        t.equal(first.status, 502, `${what}: over HTTP/1`);
        t.match(first.reason, /^UPSTREAM_PROTOCOL/, `${what}: over HTTP/1`);
        t.notOk(first.headers["set-cookie"], what);
      }
    });
    await t.test(
      "a flood of interim answers: 502 after the sixteenth",
      async (t) => {
        answer = (id) =>
          Array.from({ length: 1000 }, () =>
            headers(id, [[":status", "103"]], false),
          );
        const { text } = await over2(pair);
        t.match(text, /^(?:103 ){16}502 /);
        t.equal((await pair.call()).status, 502);
        const counted = await pair.metric(
          pair.callee,
          "wherry_limits_total",
          'listener="upstream",limit="informational"',
        );
        t.equal(counted, 2, "metric");
      },
    );
    await t.test("malformed after it was passed on: broken", async (t) => {
      for (const [what, frames] of BROKEN) {
        answer = frames;
        // 502 where all of it came at once and nothing had been passed on yet.
        t.match((await over2(pair)).text, /^(?:502 [^]*end|.* reset)$/, what);
        const got = await pair.call().then(
          ({ status, text }) => `${status} ${text}`,
          () => "broken",
        );
        // Of 204 and 304 the head is all that HTTP/1 has, and the connection ends after it.
        t.match(
          got,
          /^(?:50[23] [^]*|broken|[23]04 )$/,
          `${what}: over HTTP/1`,
        );
      }
    });
    await t.test("in order: passed on as it is", async (t) => {
      for (const [what, method, frames, expected] of PASSED) {
        answer = frames;
        t.equal((await over2(pair, method)).text, expected, what);
      }
    });
    await t.test("streams and connections that end", async (t) => {
      for (const [what, frames, status, reason] of ENDED) {
        answer = frames;
        const got = await over2(pair);
        t.ok(got.text.startsWith(`${status} `), `${what}: ${got.text}`);
        t.equal(got.reason, reason, what);
      }
    });
  });
});
