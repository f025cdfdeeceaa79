/** The server's end: answers, bodies, aborts in both directions (RFC 9113 8.1). */
import t from "tap";
import { MeshError, type Code } from "../../../src/core/errors.ts";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames.ts";
import { fakeClock } from "../../harness/fake-clock.ts";
import {
  fields,
  IGNORE,
  INFO,
  lines,
  OK,
  rawClient,
  Recorder,
  Requests,
} from "./ends.ts";
import {
  data,
  frame,
  GET,
  headers,
  POST,
  RawPeer,
  reset,
  settings,
  SETTINGS_ACK,
  socketPair,
  type Pairs,
} from "./raw-peer.ts";

const { END_STREAM, END_HEADERS } = Flag;
const CONNECT: Pairs = [
  [":method", "CONNECT"],
  [":authority", "db:5432"],
];

void t.test(
  "announces its SETTINGS first, and acknowledges the peer's (6.5)",
  async (t) => {
    const { peer } = await rawClient(t, { concurrentStreams: 7 });
    const first = await peer.next(FrameType.SETTINGS);
    t.equal(first.flags, 0);
    const said = new Map<number, number>();
    for (let at = 0; at < first.payload.length; at += 6)
      said.set(
        first.payload.readUInt16BE(at),
        first.payload.readUInt32BE(at + 2),
      );
    t.equal(said.get(3), 7, "MAX_CONCURRENT_STREAMS");
    t.equal(said.get(8), 1, "ENABLE_CONNECT_PROTOCOL");
    t.equal(said.get(6), 65_536, "MAX_HEADER_LIST_SIZE");
    const ack = await peer.next(FrameType.SETTINGS);
    t.equal(ack.flags, Flag.ACK);
  },
);

void t.test(
  "answers PING with its own payload, and ignores answers that it did not ask for (6.7)",
  async (t) => {
    const { peer } = await rawClient(t);
    peer.send(
      frame(FrameType.PING, Flag.ACK, 0, "unasked!"),
      frame(FrameType.PING, 0, 0, "12345678"),
      frame(200, 0, 0, "an unknown frame (5.5)"),
    );
    const answer = await peer.next(FrameType.PING);
    t.equal(answer.payload.toString(), "12345678");
    t.equal(answer.flags, Flag.ACK);
    await peer.settle();
  },
);

void t.test("an answer of a head, content and trailers", async (t) => {
  const { peer, requests, connection } = await rawClient(t);
  peer.send(
    headers(1, POST, false),
    data(1, "ask"),
    headers(1, [
      ["x-sum", "3"],
      ["content-type", "no"],
    ]),
  );
  const stream = await requests.get();
  const recorder = new Recorder();
  stream.receive(recorder);
  await recorder.until("end");
  t.equal(recorder.body.toString(), "ask");
  t.strictSame(lines(recorder.trailers), ["x-sum: 3"], "RFC 9110 6.5.1");
  t.equal(connection.active, 1);
  stream.informational({
    status: 103,
    fields: fields("link: </a>"),
    contentLength: undefined,
  });
  stream.respond(
    {
      status: 201,
      fields: fields(
        "x-a: 1",
        "connection: close",
        "transfer-encoding: chunked",
      ),
      contentLength: 4,
    },
    false,
  );
  stream.write(Buffer.from("re"));
  stream.write(Buffer.from("ply".slice(0, 2)));
  stream.end(fields("grpc-status: 0", "content-length: 4"));
  t.equal(connection.active, 0);
  const early = await peer.next(FrameType.HEADERS);
  t.strictSame(peer.fields(early), [":status: 103", "link: </a>"]);
  t.equal(early.flags, END_HEADERS);
  const head = await peer.next(FrameType.HEADERS);
  t.strictSame(peer.fields(head), [
    ":status: 201",
    "x-a: 1",
    "content-length: 4",
  ]);
  t.equal((await peer.next(FrameType.DATA)).payload.toString(), "re");
  t.equal((await peer.next(FrameType.DATA)).payload.toString(), "pl");
  const trailers = await peer.next(FrameType.HEADERS);
  t.strictSame(peer.fields(trailers), ["grpc-status: 0"]);
  t.equal(trailers.flags, END_HEADERS | END_STREAM);
});

void t.test(
  "END_STREAM rides on the last frame where that has not left",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    const table: readonly (readonly [string, Pairs, string[]])[] = [
      ["an empty answer", GET, ["1 5"]],
      ["content", GET, ["1 4", "0 1"]],
      ["content twice", GET, ["1 4", "0 0", "0 1"]],
    ];
    let id = 1;
    for (const [what, pairs, expected] of table) {
      peer.send(headers(id, pairs));
      const stream = await requests.get((id - 1) / 2);
      stream.respond(OK, false);
      for (let i = 1; i < expected.length; i++) stream.write(Buffer.from("x"));
      stream.end();
      const frames = await peer.settle();
      t.strictSame(
        frames.map(({ type, flags }) => `${type} ${flags}`),
        expected,
        what,
      );
      id += 2;
    }
  },
);

void t.test(
  "what is flushed already is ended by an empty DATA frame",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(headers(1, GET));
    const stream = await requests.get();
    stream.respond(OK, false);
    await peer.next(FrameType.HEADERS, 1);
    stream.write(Buffer.from("x"));
    await peer.next(FrameType.DATA, 1);
    stream.end();
    const last = await peer.next(FrameType.DATA, 1);
    t.equal(last.flags, END_STREAM);
    t.equal(last.payload.length, 0);
  },
);

void t.test(
  "a head larger than a frame goes on in CONTINUATION (6.10)",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(headers(1, GET));
    const stream = await requests.get();
    stream.respond(
      { ...OK, fields: fields(`x-long: ${"\xff".repeat(20_000)}`) },
      false,
    );
    stream.end();
    const first = await peer.next(FrameType.HEADERS, 1);
    t.equal(
      first.flags,
      END_STREAM,
      "END_STREAM stands on HEADERS, END_HEADERS does not",
    );
    t.equal(first.payload.length, 16_384);
    const second = await peer.next(FrameType.CONTINUATION, 1);
    t.equal(second.flags, END_HEADERS);
    const whole = {
      ...first,
      payload: Buffer.concat([first.payload, second.payload]),
    };
    t.equal(peer.fields(whole)[1]?.length, "x-long: ".length + 20_000);
  },
);

void t.test(
  "a complete answer before the request's end: RST_STREAM NO_ERROR (8.1)",
  async (t) => {
    const { peer, requests, connection } = await rawClient(t);
    peer.send(headers(1, POST, false));
    const stream = await requests.get();
    const recorder = new Recorder();
    stream.receive(recorder);
    stream.respond(OK, false);
    stream.write(Buffer.from("enough"));
    stream.end();
    t.equal((await peer.next(FrameType.DATA, 1)).flags, END_STREAM);
    t.equal(await peer.resetCode(1), ErrorCode.NO_ERROR);
    t.equal(connection.active, 0);
    peer.send(data(1, "more", true));
    await peer.settle();
    t.strictSame(recorder.events, [], "nothing more comes");
    t.equal(stream.write(Buffer.from("late")), true);
    stream.end();
    stream.abort(new MeshError("INTERNAL", "", { source: "proxy" }));
  },
);

void t.test("tunnels end in each direction by itself (8.5)", async (t) => {
  const { peer, requests, connection } = await rawClient(t);
  for (const first of ["client", "server"] as const) {
    const id = first === "client" ? 1 : 3;
    const pairs =
      first === "client"
        ? CONNECT
        : [
            ...POST.slice(1),
            [":method", "CONNECT"] as const,
            [":protocol", "websocket"] as const,
          ];
    peer.send(headers(id, pairs, false));
    const stream = await requests.get((id - 1) / 2);
    const recorder = new Recorder();
    stream.receive(recorder);
    stream.respond(OK, false);
    peer.send(data(id, "up"));
    await recorder.untilBody(2);
    if (first === "client") {
      peer.send(data(id, "", true));
      await recorder.until("end");
      stream.write(Buffer.from("down"));
      stream.end();
      t.equal((await peer.next(FrameType.DATA, id)).payload.toString(), "down");
    } else {
      stream.end();
      await peer.next(FrameType.HEADERS, id);
      peer.send(data(id, "more"));
      await recorder.untilBody(6);
      peer.send(data(id, "", true));
      await recorder.until("end");
    }
    t.strictSame(
      (await peer.settle()).filter(({ type }) => type === FrameType.RST_STREAM),
      [],
    );
    t.equal(connection.active, 0);
  }
});

void t.test("a refused tunnel is no tunnel", async (t) => {
  const { peer, requests } = await rawClient(t);
  peer.send(headers(1, CONNECT, false));
  (await requests.get()).respond({ ...OK, status: 403 }, true);
  t.equal(await peer.resetCode(1), ErrorCode.NO_ERROR);
});

void t.test("aborts tell the client as much as it may know (7)", async (t) => {
  const { peer, requests } = await rawClient(t);
  const table: readonly (readonly [Code, boolean, boolean, number])[] = [
    ["CLIENT_CLOSED", false, false, ErrorCode.CANCEL],
    ["REQUEST_TIMEOUT", false, true, ErrorCode.CANCEL],
    ["IDLE_TIMEOUT", false, true, ErrorCode.CANCEL],
    ["UPSTREAM_RESET", false, true, ErrorCode.INTERNAL_ERROR],
    ["UPSTREAM_RESET", true, false, ErrorCode.REFUSED_STREAM],
    ["UPSTREAM_RESET", true, true, ErrorCode.INTERNAL_ERROR],
  ];
  let id = 1;
  for (const [code, unprocessed, responded, expected] of table) {
    peer.send(headers(id, POST, false));
    const stream = await requests.get((id - 1) / 2);
    const recorder = new Recorder();
    stream.receive(recorder);
    if (responded) stream.respond(OK, false);
    stream.abort(new MeshError(code, "", { source: "proxy", unprocessed }));
    t.equal(await peer.resetCode(id), expected, code);
    t.strictSame(recorder.events, [], "who aborts is not told");
    id += 2;
  }
});

void t.test(
  "a client's reset reaches the receiver, before and after the request's end, or when it comes",
  async (t) => {
    const { peer, requests, connection } = await rawClient(t);
    const recorders = [new Recorder(), new Recorder(), new Recorder()];
    peer.send(
      headers(1, POST, false),
      headers(3, GET),
      headers(5, POST, false),
      data(5, "early"),
    );
    for (const at of [0, 1]) {
      const recorder = recorders[at];
      if (recorder !== undefined) (await requests.get(at)).receive(recorder);
    }
    const third = await requests.get(2);
    for (const id of [1, 3, 5]) peer.send(reset(id, ErrorCode.CANCEL));
    await peer.settle();
    if (recorders[2] !== undefined) third.receive(recorders[2]);
    for (const { events, error } of recorders) {
      t.strictSame(events, ["abort"]);
      t.match(error, {
        code: "CLIENT_CLOSED",
        source: "downstream",
        message: /CANCEL/,
      });
    }
    t.equal(connection.active, 0);
  },
);

void t.test("the connection's death reaches every stream", async (t) => {
  const { peer, requests, connection } = await rawClient(t);
  const recorder = new Recorder();
  peer.send(headers(1, POST, false), headers(3, GET));
  (await requests.get(0)).receive(recorder);
  const second = await requests.get(1);
  peer.socket.resetAndDestroy();
  await recorder.until("abort");
  t.match(recorder.error, { code: "CLIENT_CLOSED" });
  t.equal(connection.active, 0);
  second.respond(OK, true);
});

void t.test(
  "content that comes before there is a receiver waits, and so does the end",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(
      headers(1, POST, false),
      data(1, "a"),
      data(1, "b"),
      headers(1, [["x", "1"]]),
    );
    const stream = await requests.get();
    t.equal(stream.ended, false);
    await peer.settle();
    const recorder = new Recorder();
    stream.receive(recorder);
    t.strictSame(recorder.events, ["data", "data", "end"]);
    t.strictSame(lines(recorder.trailers), ["x: 1"]);
    peer.send(headers(3, POST, false), data(3, "a"), data(3, "b"));
    const second = await requests.get(1);
    await peer.settle();
    const aborting = new Recorder();
    aborting.onChunk = () =>
      second.abort(new MeshError("DENIED", "", { source: "proxy" }));
    second.receive(aborting);
    t.strictSame(aborting.events, ["data"], "nothing after an abort");
  },
);

void t.test(
  "a handler or receiver that throws costs its stream, not the process",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    requests.onRequest = (stream) => {
      const { path } = stream.head;
      if (path === "/request") throw new Error("in request");
      stream.receive({
        ...IGNORE,
        data: () => {
          throw new Error("in data");
        },
        end: () => {
          throw new Error("in end");
        },
        abort: () => {
          throw new Error("in abort");
        },
      });
    };
    const path = (it: string): Pairs => [...POST.slice(0, 3), [":path", it]];
    peer.send(headers(1, path("/request"), false));
    t.equal(await peer.resetCode(1), ErrorCode.INTERNAL_ERROR);
    peer.send(headers(3, path("/data"), false), data(3, "x"));
    t.equal(await peer.resetCode(3), ErrorCode.INTERNAL_ERROR);
    peer.send(headers(5, path("/end"), false), data(5, "", true));
    t.equal(await peer.resetCode(5), ErrorCode.INTERNAL_ERROR);
    peer.send(headers(7, path("/abort"), false), reset(7, 8));
    await peer.settle();
    t.strictSame(requests.refusals, [
      "INTERNAL: in request",
      "INTERNAL: in data",
      "INTERNAL: in end",
    ]);
  },
);

void t.test(
  "takes what a sniffer has read, and a socket that reads by octets",
  async (t) => {
    const [accepted, dialled] = await socketPair();
    t.teardown(() => dialled.destroy());
    const requests = new Requests();
    const opening = Buffer.concat([PREFACE, settings(), headers(1, GET)]);
    const connection = serveHttp2(
      accepted,
      { clock: fakeClock(), info: INFO, firstBytes: opening.subarray(0, 30) },
      requests,
    );
    const peer = new RawPeer(dialled, false);
    peer.send(opening.subarray(30), SETTINGS_ACK);
    const stream = await requests.get();
    t.equal(stream.connection, INFO);
    connection.destroy();
    connection.destroy();
    connection.drain();
    await peer.ended;
  },
);

void t.test(
  "frames of many streams in one turn leave in one write",
  async (t) => {
    const { peer, requests, socket } = await rawClient(t);
    for (let id = 1; id < 41; id += 2) peer.send(headers(id, GET));
    await requests.get(19);
    await peer.settle();
    const before = socket.bytesWritten;
    let writes = 0;
    const write = socket.write.bind(socket);
    socket.write = ((...args: Parameters<typeof write>) => {
      writes += 1;
      return write(...args);
    }) as typeof socket.write;
    for (const stream of requests.streams) {
      stream.respond(OK, false);
      stream.write(Buffer.from("small"));
      stream.end();
    }
    await peer.next(FrameType.DATA, 39);
    t.equal(writes, 1);
    t.ok(socket.bytesWritten > before);
  },
);
