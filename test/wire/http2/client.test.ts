/** The client's end: requests, responses, and what is provably unprocessed (RFC 9113 8.1, 8.7). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../src/wire/http2/frames/frames.ts";
import {
  fields,
  lines,
  rawServer,
  Recorder,
  requestHead,
} from "../../support/http2/ends.ts";
import { data, headers, reset } from "../../support/http2/raw-peer.ts";

const { END_STREAM, END_HEADERS } = Flag;
const cancelled = new MeshError("CLIENT_CLOSED", "", { source: "downstream" });

void t.test("writes a request's head as HTTP/2 has it", async (t) => {
  const { peer, connection } = await rawServer(t);
  const table: readonly (readonly [
    Parameters<typeof requestHead>[0],
    string[],
  ])[] = [
    [
      { fields: fields("x-a: 1", "connection: x", "host: no", "upgrade: y") },
      [
        ":method: GET",
        ":scheme: http",
        ":authority: shop",
        ":path: /",
        "x-a: 1",
        "te: trailers",
      ],
    ],
    [
      {
        method: "PUT",
        scheme: "https",
        path: "/a?b",
        contentLength: 3,
        acceptsTrailers: false,
      },
      [
        ":method: PUT",
        ":scheme: https",
        ":authority: shop",
        ":path: /a?b",
        "content-length: 3",
      ],
    ],
    [
      {
        method: "CONNECT",
        authority: "db:5432",
        path: "",
        acceptsTrailers: false,
      },
      [":method: CONNECT", ":authority: db:5432"],
    ],
    [
      { scheme: "coap", path: "/index.html", acceptsTrailers: false },
      [
        ":method: GET",
        ":scheme: coap",
        ":authority: shop",
        ":path: /index.html",
      ],
    ],
  ];
  for (const [options, expected] of table) {
    connection.request(requestHead(options), true, new Recorder());
    const head = await peer.next(FrameType.HEADERS);
    t.strictSame(peer.fields(head), expected);
    t.equal(head.flags, END_HEADERS | END_STREAM);
  }
});

void t.test(
  "extended CONNECT needs the peer's consent (RFC 8441 3)",
  async (t) => {
    const head = requestHead({
      method: "CONNECT",
      protocol: "websocket",
      acceptsTrailers: false,
    });
    const without = await rawServer(t);
    await without.peer.settle();
    const refused = new Recorder();
    const stream = without.connection.request(head, false, refused);
    t.equal(stream.write(Buffer.from("x")), true);
    stream.pause();
    stream.resume();
    stream.end();
    t.strictSame(refused.events, [], "not from within request");
    await refused.until("abort");
    t.match(refused.error, { code: "UNSUPPORTED", unprocessed: true });
    const { peer, connection } = await rawServer(t, {}, [[8, 1]]);
    await peer.settle();
    connection.request(head, false, new Recorder());
    t.ok(
      peer
        .fields(await peer.next(FrameType.HEADERS))
        .includes(":protocol: websocket"),
    );
  },
);

void t.test(
  "an answer: interim heads, the head, content, trailers",
  async (t) => {
    const { peer, connection } = await rawServer(t);
    const recorder = new Recorder();
    const stream = connection.request(
      requestHead({ method: "POST" }),
      false,
      recorder,
    );
    stream.write(Buffer.from("ask"));
    stream.end(fields("x-t: 1"));
    await peer.next(FrameType.HEADERS, 1);
    t.equal((await peer.next(FrameType.DATA, 1)).payload.toString(), "ask");
    t.equal(
      (await peer.next(FrameType.HEADERS, 1)).flags,
      END_HEADERS | END_STREAM,
    );
    peer.send(
      headers(
        1,
        [
          [":status", "103"],
          ["link", "</a>"],
        ],
        false,
      ),
      headers(
        1,
        [
          [":status", "200"],
          ["content-length", "5"],
        ],
        false,
      ),
      data(1, "reply"),
      headers(1, [["grpc-status", "0"]]),
    );
    await recorder.until("end");
    t.strictSame(recorder.events, ["informational", "head", "data", "end"]);
    t.equal(recorder.heads[1]?.contentLength, 5);
    t.strictSame(recorder.heads[1]?.fields, []);
    t.strictSame(lines(recorder.trailers), ["grpc-status: 0"]);
    t.equal(connection.active, 0);
  },
);

void t.test(
  "answers without content, whatever content-length says",
  async (t) => {
    const { peer, connection } = await rawServer(t);
    const table: readonly (readonly [string, string])[] = [
      ["HEAD", "200"],
      ["GET", "304"],
      ["GET", "204"],
    ];
    let id = 1;
    for (const [method, status] of table) {
      const whole = new Recorder();
      connection.request(requestHead({ method }), true, whole);
      peer.send(
        headers(id, [
          [":status", status],
          ["content-length", status === "204" ? "0" : "9"],
        ]),
      );
      await whole.until("end");
      t.strictSame(whole.events, ["head", "end"], `${method} ${status}`);
      const broken = new Recorder();
      connection.request(requestHead({ method }), true, broken);
      peer.send(
        headers(id + 2, [[":status", status]], false),
        data(id + 2, "x"),
      );
      await broken.until("abort");
      t.match(
        broken.error,
        { code: "UPSTREAM_PROTOCOL" },
        `${method} ${status} with content`,
      );
      t.equal(await peer.resetCode(id + 2), ErrorCode.PROTOCOL_ERROR);
      id += 4;
    }
  },
);

void t.test(
  "an end without a response's head is malformed (8.1)",
  async (t) => {
    const { peer, connection } = await rawServer(t);
    for (const sent of [
      [data(1, "", true)],
      [headers(3, [[":status", "103"]], false), data(3, "", true)],
    ]) {
      const recorder = new Recorder();
      connection.request(requestHead(), true, recorder);
      peer.send(...sent);
      await peer.settle();
      t.match(recorder.error, {
        code: "UPSTREAM_PROTOCOL",
        unprocessed: false,
      });
      t.notOk(recorder.events.includes("end"));
    }
    t.equal(connection.active, 0);
  },
);

void t.test("a CONNECT's answer has no length (RFC 9110 9.3.6)", async (t) => {
  const { peer, connection } = await rawServer(t);
  const recorder = new Recorder();
  const stream = connection.request(
    requestHead({ method: "CONNECT", authority: "db:1" }),
    false,
    recorder,
  );
  peer.send(
    headers(
      1,
      [
        [":status", "200"],
        ["content-length", "1"],
      ],
      false,
    ),
    data(1, "bytes"),
  );
  await recorder.untilBody(5);
  stream.end();
  peer.send(data(1, "more", true));
  await recorder.until("end");
  t.equal(recorder.body.toString(), "bytesmore");
});

void t.test("resets say what they mean (8.7)", async (t) => {
  const { peer, connection } = await rawServer(t);
  const head = (id: number): Buffer => headers(id, [[":status", "200"]], false);
  const table: readonly (readonly [
    string,
    (id: number) => Buffer[],
    object | undefined,
  ])[] = [
    [
      "refused",
      (id) => [reset(id, 7)],
      { code: "STREAM_REFUSED", unprocessed: true },
    ],
    [
      "refused after the head",
      (id) => [head(id), reset(id, 7)],
      { code: "UPSTREAM_RESET", unprocessed: false },
    ],
    [
      "cancelled",
      (id) => [reset(id, 8)],
      { code: "UPSTREAM_RESET", unprocessed: false, message: /CANCEL/ },
    ],
    [
      "an unknown code",
      (id) => [reset(id, 99)],
      { code: "UPSTREAM_RESET", message: /0x63/ },
    ],
    [
      "no error before the end",
      (id) => [head(id), reset(id, 0)],
      { code: "UPSTREAM_RESET" },
    ],
    [
      "no error after the end (8.1)",
      (id) => [headers(id, [[":status", "413"]]), reset(id, 0)],
      undefined,
    ],
    [
      "cancelled after the end",
      (id) => [headers(id, [[":status", "413"]]), reset(id, 8)],
      undefined,
    ],
    [
      "another error after the end",
      (id) => [headers(id, [[":status", "413"]]), reset(id, 2)],
      { code: "UPSTREAM_RESET" },
    ],
  ];
  let id = 1;
  for (const [what, sent, expected] of table) {
    const recorder = new Recorder();
    const stream = connection.request(
      requestHead({ method: "POST" }),
      false,
      recorder,
    );
    await peer.next(FrameType.HEADERS, id);
    peer.send(...sent(id));
    await peer.settle();
    if (expected === undefined) t.equal(recorder.error, undefined, what);
    else t.match(recorder.error, expected, what);
    t.equal(stream.write(Buffer.from("late")), true);
    id += 2;
  }
  t.equal(connection.active, 0);
});

void t.test(
  "an abort cancels the stream, and what comes late is ignored (5.1)",
  async (t) => {
    const { peer, connection } = await rawServer(t);
    const recorder = new Recorder();
    const stream = connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, 1);
    stream.abort(cancelled);
    stream.abort(cancelled);
    t.equal(await peer.resetCode(1), ErrorCode.CANCEL);
    peer.send(
      headers(1, [[":status", "200"]], false),
      data(1, "late"),
      headers(1, [["x", "1"]]),
    );
    await peer.settle();
    t.strictSame(recorder.events, []);
    const next = new Recorder();
    connection.request(requestHead(), true, next);
    peer.send(headers(3, [[":status", "204"]]));
    await next.until("end");
  },
);
