/** The server's end: answers, bodies, aborts in both directions (RFC 9113 8.1). */
import type { Socket } from "node:net";
import t from "tap";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import {
  Flag,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  fields,
  IGNORE,
  INFO,
  lines,
  OK,
  rawClient,
  Recorder,
  Requests,
} from "../../support/http2/ends.ts";
import {
  data,
  frame,
  GET,
  headers,
  POST,
  RawPeer,
  settings,
  SETTINGS_ACK,
  socketPair,
  windowUpdate,
  type Pairs,
} from "../../support/http2/raw-peer.ts";

const { END_STREAM, END_HEADERS } = Flag;

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
  "a table that the peer took away and gave back is announced as empty (RFC 7541 4.2)",
  async (t) => {
    for (const frames of [
      [settings([1, 0], [1, 4096])],
      [settings([1, 0]), settings([1, 4096])],
    ]) {
      const { peer, requests } = await rawClient(t);
      const blocks: string[] = [];
      for (const at of [0, 1]) {
        if (at === 1) peer.send(...frames);
        peer.send(headers(2 * at + 1, GET));
        const head = { ...OK, fields: fields("x-a: 1") };
        (await requests.get(at)).respond(head, true);
        const { payload } = await peer.next(FrameType.HEADERS);
        blocks.push(payload.toString("hex"));
      }
      t.equal(blocks[1], `203fe11f${blocks[0] ?? ""}`, "sizes 0 and 4096");
    }
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
    headers(1, [["x-sum", "3"]]),
  );
  const stream = await requests.get();
  const recorder = new Recorder();
  stream.receive(recorder);
  await recorder.until("end");
  t.equal(recorder.body.toString(), "ask");
  t.strictSame(lines(recorder.trailers), ["x-sum: 3"]);
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

/** How often `socket` is written to from now on. */
function countWrites(socket: Socket): () => number {
  let writes = 0;
  const write = socket.write.bind(socket);
  socket.write = ((...args: Parameters<typeof write>) => {
    writes += 1;
    return write(...args);
  }) as typeof socket.write;
  return () => writes;
}

for (const [answers, expected] of [
  [1, 2],
  [2, 1],
] as const)
  void t.test(
    `${answers} answered in one turn and another in the next: ${expected} write(s)`,
    async (t) => {
      const { peer, requests, socket } = await rawClient(t);
      for (let id = 1; id < 7; id += 2) peer.send(headers(id, GET));
      await requests.get(2);
      await peer.settle();
      const writes = countWrites(socket);
      for (const stream of requests.streams.slice(0, answers))
        stream.respond(OK, true);
      setImmediate(() => requests.streams[2]?.respond(OK, true));
      await peer.next(FrameType.HEADERS, 5);
      t.equal(writes(), expected);
    },
  );

void t.test(
  "an answer by itself waits for the next turn where one of the last eight writes had company",
  async (t) => {
    const { peer, requests, socket } = await rawClient(t);
    let id = 1;
    let answered = 0;
    const ask = async (count: number): Promise<void> => {
      for (let one = 0; one < count; one += 1, id += 2)
        peer.send(headers(id, GET));
      await requests.get((id - 1) / 2 - 1);
      await peer.settle();
    };
    const answer = (): void => requests.streams[answered++]?.respond(OK, true);
    /** Writes that take one answer and another one a turn later. */
    const writesForTwo = async (): Promise<number> => {
      await ask(2);
      const writes = countWrites(socket);
      answer();
      setImmediate(answer);
      await peer.next(FrameType.HEADERS, id - 2);
      return writes();
    };
    t.equal(await writesForTwo(), 2, "nobody had company yet");
    await ask(2);
    answer();
    answer();
    await peer.next(FrameType.HEADERS, id - 2);
    t.equal(await writesForTwo(), 1, "two have just had it");
    for (let lone = 0; lone < 8; lone += 1) {
      await ask(1);
      answer();
      await peer.next(FrameType.HEADERS, id - 2);
    }
    t.equal(await writesForTwo(), 2, "eight have had none");
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
    const writes = countWrites(socket);
    for (const stream of requests.streams) {
      stream.respond(OK, false);
      stream.write(Buffer.from("small"));
      stream.end();
    }
    await peer.next(FrameType.DATA, 39);
    t.equal(writes(), 1);
    t.ok(socket.bytesWritten > before);
  },
);

void t.test(
  "100 (Continue) passes behind a backlog, once; a caller that does not read hears nothing else in between",
  async (t) => {
    const most = 2 ** 31 - 1;
    const { peer, requests } = await rawClient(t, {}, [[4, most]]);
    peer.send(
      windowUpdate(0, most - 65_535),
      headers(1, GET),
      headers(3, [...POST, ["expect", "100-continue"]], false),
    );
    const bulk = await requests.get(0);
    const upload = await requests.get(1);
    bulk.receive(IGNORE);
    bulk.respond(OK, false);
    await peer.next(FrameType.HEADERS, 1);
    peer.socket.pause();
    for (let full = 0; full < 20;) {
      if (!bulk.write(Buffer.alloc(65_536))) full += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const status of [103, 100, 100, 103])
      upload.informational({ ...OK, status });
    peer.socket.resume();
    const heads = (await peer.settle())
      .filter(({ id, type }) => id === 3 && type === FrameType.HEADERS)
      .map((frame) => peer.fields(frame));
    t.strictSame(heads, [[":status: 100"]]);
  },
);
