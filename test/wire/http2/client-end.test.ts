/** The client's end, when the connection ends or runs out of room: what is provably unprocessed (RFC 9113 5.1.2, 6.8, 8.7). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import { Buffers } from "../../../src/wire/buffers.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../src/wire/http2/frames/frames.ts";
import { rawServer, Recorder, requestHead } from "../../support/http2/ends.ts";
import {
  data,
  frame,
  goaway,
  headers,
  reset,
  settings,
  windowUpdate,
} from "../../support/http2/raw-peer.ts";

/** Lets what is under way on sockets happen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}

const cancelled = new MeshError("CLIENT_CLOSED", "", { source: "downstream" });

void t.test(
  "counts its streams against the peer's limit (5.1.2)",
  async (t) => {
    const early = await rawServer(t, {}, null);
    t.equal(
      early.connection.capacity,
      100,
      "before the peer has said its limit",
    );
    t.match(early.connection, { protocol: "h2", keepAlive: undefined });
    const { peer, connection, observer } = await rawServer(t, {}, [[3, 1]]);
    await peer.settle();
    t.equal(connection.capacity, 1);
    const first = new Recorder();
    connection.request(requestHead(), true, first);
    t.equal(connection.capacity, 0);
    t.equal(connection.active, 1);
    peer.send(headers(1, [[":status", "200"]]));
    await observer.until("available");
    t.equal(connection.capacity, 1);
    connection.request(requestHead(), true, new Recorder());
    t.equal(connection.capacity, 0);
    peer.send(settings([3, 5]));
    await peer.settle();
    t.equal(observer.events.filter((it) => it === "available").length, 2);
    t.equal(connection.capacity, 4);
  },
);

void t.test(
  "identifiers that are used up end in a drain (5.1.1)",
  async (t) => {
    const lastId = 2 ** 31 - 1;
    const { peer, connection, observer } = await rawServer(t, {}, [], lastId);
    await peer.settle();
    t.equal(connection.capacity, 1);
    const last = new Recorder();
    connection.request(requestHead(), true, last);
    t.equal(connection.capacity, 0);
    t.strictSame(observer.events, [], "not from within request");
    await observer.until("draining");
    peer.send(headers(lastId, [[":status", "204"]]));
    await last.until("end");
    await observer.until("closed");
  },
);

void t.test(
  "GOAWAY: what is above is unprocessed, the rest goes on (6.8)",
  async (t) => {
    const { peer, connection, observer } = await rawServer(t);
    const [first, second, third] = [
      new Recorder(),
      new Recorder(),
      new Recorder(),
    ];
    connection.request(requestHead(), true, first);
    connection.request(requestHead({ method: "POST" }), false, second);
    await peer.next(FrameType.HEADERS, 3);
    peer.send(goaway(2 ** 31 - 1));
    await observer.until("draining");
    t.equal(connection.capacity, 0);
    connection.request(requestHead(), true, third);
    await third.until("abort");
    t.match(third.error, { code: "STREAM_REFUSED", unprocessed: true });
    peer.send(goaway(1));
    await second.until("abort");
    t.match(second.error, { code: "STREAM_REFUSED", unprocessed: true });
    t.equal(first.error, undefined);
    peer.send(headers(1, [[":status", "200"]]));
    await first.until("end");
    await observer.until("closed");
    t.equal(observer.error, undefined);
    t.strictSame(observer.events, ["draining", "closed"]);
    await peer.ended;
  },
);

void t.test(
  "the connection's death: unprocessed is only what never left",
  async (t) => {
    const { peer, connection, observer, socket } = await rawServer(t);
    const [sent, unsent] = [new Recorder(), new Recorder()];
    connection.request(requestHead(), true, sent);
    await peer.next(FrameType.HEADERS, 1);
    connection.request(requestHead(), true, unsent);
    t.strictSame(unsent.events, []);
    socket.destroy(new Error("cable cut"));
    await observer.until("closed");
    t.match(sent.error, {
      code: "UPSTREAM_RESET",
      unprocessed: false,
      message: /cable cut/,
    });
    t.match(unsent.error, { code: "UPSTREAM_RESET", unprocessed: true });
    t.match(observer.error, { code: "UPSTREAM_RESET" });
    t.equal(connection.capacity, 0);
    t.equal(connection.active, 0);
  },
);

void t.test(
  "what was called unprocessed does not leave any more",
  async (t) => {
    const { peer, connection, observer } = await rawServer(t);
    await peer.settle();
    const recorder = new Recorder();
    peer.socket.end();
    await new Promise((resolve) => peer.socket.once("finish", resolve));
    connection.request(requestHead(), true, recorder);
    await observer.until("closed");
    t.equal(recorder.error?.code, "UPSTREAM_RESET");
    await peer.ended;
    const left = peer.frames.some(({ type }) => type === FrameType.HEADERS);
    t.equal(left, recorder.error?.unprocessed === false);
  },
);

void t.test(
  "an orderly close by the peer is no error, but for the streams",
  async (t) => {
    const { peer, connection, observer } = await rawServer(t);
    const recorder = new Recorder();
    connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, 1);
    peer.socket.end();
    await observer.until("closed");
    t.equal(observer.error, undefined);
    t.match(recorder.error, { code: "UPSTREAM_RESET", unprocessed: false });
  },
);

void t.test(
  "drain: finishes what is under way, then says GOAWAY and ends",
  async (t) => {
    const { peer, connection, observer } = await rawServer(t);
    const recorder = new Recorder();
    connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, 1);
    connection.drain();
    t.equal(connection.capacity, 0);
    peer.send(headers(1, [[":status", "200"]]));
    await recorder.until("end");
    t.equal((await peer.goaway()).code, ErrorCode.NO_ERROR);
    await peer.ended;
    t.strictSame(observer.events, ["closed"]);
    connection.drain();
    connection.destroy();
  },
);

void t.test(
  "a reset after the response's end: a tunnel's sender hears of it, nobody else needs to (8.1, 8.5)",
  async (t) => {
    const { peer, connection } = await rawServer(t, {}, [[8, 1]]);
    await peer.settle();
    const tunnel = requestHead({ method: "CONNECT", path: "" });
    const chat = requestHead({ protocol: "websocket" });
    let id = 1;
    for (const code of [ErrorCode.NO_ERROR, ErrorCode.CANCEL])
      for (const [head, status, told] of [
        [tunnel, "200", true],
        [chat, "200", true],
        [tunnel, "403", false],
        [chat, "403", false],
        [requestHead({ method: "POST" }), "200", false],
      ] as const) {
        const recorder = new Recorder();
        const stream = connection.request(head, false, recorder);
        peer.send(headers(id, [[":status", status]], false));
        peer.send(data(id, "all", true));
        await recorder.until("end");
        stream.write(Buffer.from("up"));
        peer.send(reset(id, code));
        await peer.settle();
        t.match(
          recorder.error,
          told ? { code: "UPSTREAM_RESET" } : undefined,
          `${head.method} ${head.protocol ?? ""} ${status}`,
        );
        id += 2;
      }
    t.equal(connection.active, 0);
  },
);

void t.test("destroy tells the streams what it was given", async (t) => {
  const { peer, connection, observer } = await rawServer(t);
  const recorder = new Recorder();
  connection.request(requestHead(), true, recorder);
  await peer.next(FrameType.HEADERS);
  const unsent = new Recorder();
  connection.request(requestHead(), true, unsent);
  const error = new MeshError("IDLE_TIMEOUT", "stale", { source: "proxy" });
  connection.destroy(error);
  t.equal(recorder.error, error);
  t.equal(observer.error, error);
  t.match(
    unsent.error,
    { code: "IDLE_TIMEOUT", message: "stale", unprocessed: true },
    "what has not left is known to be unprocessed",
  );
  await peer.ended;
  const late = new Recorder();
  connection.request(requestHead(), true, late).abort(cancelled);
  await t.rejects(connection.ping(), { code: "UPSTREAM_RESET" });
  t.strictSame(late.events, []);
});

void t.test(
  "ping resolves with the answer, and rejects with the end",
  async (t) => {
    const { peer, connection, clock } = await rawServer(t);
    const pings = Array.from({ length: 10 }, () => connection.ping());
    t.equal(pings[9], pings[8], "more askers share the last");
    const sent = [];
    for (let i = 0; i < 8; i++) sent.push(await peer.next(FrameType.PING));
    clock.advance(50);
    peer.send(
      frame(FrameType.PING, Flag.ACK, 0, "another!"),
      frame(FrameType.PING, Flag.ACK, 0, sent[3]?.payload),
    );
    await Promise.all(pings.slice(0, 4));
    t.equal(connection.heardAt, 50);
    peer.socket.destroy();
    await t.rejects(pings[4] ?? Promise.resolve(), { code: "UPSTREAM_RESET" });
  },
);

void t.test("it says which write waits for the socket", async (t) => {
  const { peer, connection } = await rawServer(t, {}, [[4, 2 ** 30]]);
  peer.send(windowUpdate(0, 2 ** 30));
  await peer.settle();
  t.equal(connection.pendingWrite, undefined);
  peer.socket.pause();
  const upload = new Recorder();
  const stream = connection.request(requestHead(), false, upload);
  for (let written = 0; written < 16; written += 1)
    stream.write(Buffer.alloc(1_048_576));
  await turns();
  const { pendingWrite } = connection;
  t.type(pendingWrite, "number");
  await turns();
  t.equal(connection.pendingWrite, pendingWrite, "the kernel is full");
  peer.socket.resume();
  await upload.until("drained");
  t.not(connection.pendingWrite, pendingWrite);
});

void t.test("it says that it does not read", async (t) => {
  const buffers = new Buffers(100_000);
  const end = await rawServer(t, {}, [], undefined, buffers);
  const { peer, connection } = end;
  const paused = new Recorder();
  connection.request(requestHead(), true, paused).pause();
  buffers.change(100_000);
  t.notOk(connection.deaf);
  peer.send(
    headers(1, [[":status", "200"]], false),
    frame(FrameType.DATA, 0, 1, "waits"),
  );
  await paused.until("head");
  await turns();
  t.ok(connection.deaf);
  buffers.change(-100_000);
  await turns();
  t.notOk(connection.deaf);
});

void t.test("receivers and observers that throw do no harm", async (t) => {
  const { peer, connection, observer } = await rawServer(t);
  observer.available =
    observer.draining =
    observer.closed =
      () => {
        throw new Error("in observer");
      };
  const thrower = new Recorder();
  thrower.head = () => {
    throw new Error("in head");
  };
  connection.request(requestHead(), true, thrower);
  peer.send(headers(1, [[":status", "200"]], false));
  t.equal(await peer.resetCode(1), ErrorCode.INTERNAL_ERROR);
  t.match(thrower.error, { code: "INTERNAL" });
  peer.send(goaway(0), windowUpdate(0, 1));
  await peer.ended;
});
