/** Small DATA frames of one read are passed on together, and what is passed on is the same, in the same order (decision 028). */
import t from "tap";
import type { ServerStream } from "../../../src/wire/exchange.ts";
import { Flag, FrameType } from "../../../src/wire/http2/frames/frames.ts";
import {
  OK,
  rawClient,
  rawServer,
  Recorder,
  requestHead,
  type ServerEnd,
} from "../../support/http2/ends.ts";
import {
  block,
  data,
  frame,
  headers,
  POST,
  reset,
} from "../../support/http2/raw-peer.ts";

/** Streams 1 to 2 * count - 1, whose content is recorded. */
async function uploads(end: ServerEnd, count: number): Promise<Recorder[]> {
  const recorders: Recorder[] = [];
  end.requests.onRequest = (stream: ServerStream) => {
    const recorder = new Recorder();
    recorders.push(recorder);
    stream.receive(recorder);
  };
  for (let at = 0; at < count; at += 1)
    end.peer.send(headers(2 * at + 1, POST, false));
  await end.requests.get(count - 1);
  return recorders;
}

const text = (recorder: Recorder | undefined): string[] =>
  recorder?.chunks.map(String) ?? [];

void t.test("a thousand frames of a byte are one piece", async (t) => {
  const end = await rawClient(t);
  const [recorder] = await uploads(end, 1);
  end.peer.send(Buffer.concat(Array(1000).fill(data(1, "x"))));
  await recorder?.untilBody(1000);
  t.ok((recorder?.chunks.length ?? 0) <= 3, `${recorder?.chunks.length ?? 0}`);
  t.equal(recorder?.body.toString(), "x".repeat(1000));
});

void t.test("each of several streams gets its own, in order", async (t) => {
  const end = await rawClient(t);
  const recorders = await uploads(end, 3);
  const frames: Buffer[] = [];
  for (let round = 0; round < 20; round += 1)
    for (const id of [1, 3, 5])
      frames.push(data(id, String.fromCharCode(97 + round)));
  end.peer.send(Buffer.concat(frames));
  for (const recorder of recorders) {
    await recorder.untilBody(20);
    t.strictSame(text(recorder), ["abcdefghijklmnopqrst"]);
  }
});

void t.test("what comes behind stays behind", async (t) => {
  const end = await rawClient(t);
  const [large, ended, trailed] = await uploads(end, 3);
  end.peer.send(
    Buffer.concat([
      ...[data(1, "a"), data(1, "b"), data(1, Buffer.alloc(2000, 99))],
      ...[data(3, "a"), data(3, "b"), data(3, "", true)],
      ...[data(5, "a"), data(5, "b")],
      frame(FrameType.HEADERS, 5, 5, block([["x-t", "1"]])),
    ]),
  );
  await trailed?.until("end");
  t.equal(large?.body.toString(), `ab${"c".repeat(2000)}`);
  t.strictSame(ended?.events, ["data", "end"]);
  t.strictSame(text(ended), ["ab"]);
  t.strictSame(trailed?.events, ["data", "end"]);
  t.strictSame(text(trailed), ["ab"]);
});

void t.test("frames that come one by one wait for nothing", async (t) => {
  const end = await rawClient(t);
  const [recorder] = await uploads(end, 1);
  for (const each of ["a", "b", "c"]) {
    end.peer.send(data(1, each));
    await recorder?.untilBody(each.charCodeAt(0) - 96);
  }
  t.strictSame(text(recorder), ["a", "b", "c"]);
});

void t.test("content of a stream that is reset goes with it", async (t) => {
  const end = await rawClient(t);
  const [recorder] = await uploads(end, 1);
  end.peer.send(Buffer.concat([data(1, "a"), data(1, "b"), reset(1, 8)]));
  await recorder?.until("abort");
  t.strictSame(recorder?.events, ["abort"]);
});

void t.test("the declared length is held against all of it", async (t) => {
  const end = await rawClient(t);
  const recorder = new Recorder();
  end.requests.onRequest = (stream) => stream.receive(recorder);
  end.peer.send(
    headers(1, [...POST, ["content-length", "2"]], false),
    Buffer.concat([data(1, "a"), data(1, "b"), data(1, "c")]),
  );
  t.equal(await end.peer.resetCode(1), 1);
  t.equal(recorder.error?.code, "BAD_REQUEST");
});

void t.test("an upstream's small frames are gathered as well", async (t) => {
  const { peer, connection } = await rawServer(t);
  const recorder = new Recorder();
  await peer.settle();
  connection.request(requestHead(), true, recorder);
  await peer.next(FrameType.HEADERS, 1);
  peer.send(
    Buffer.concat([
      frame(
        FrameType.HEADERS,
        Flag.END_HEADERS,
        1,
        block([[":status", "200"]]),
      ),
      ...Array<Buffer>(500).fill(data(1, "y")),
      data(1, "z", true),
    ]),
  );
  await recorder.until("end");
  t.ok(recorder.chunks.length <= 4, `${recorder.chunks.length} pieces`);
  t.equal(recorder.body.toString(), `${"y".repeat(500)}z`);
  t.equal(recorder.heads[0]?.status, OK.status);
});
