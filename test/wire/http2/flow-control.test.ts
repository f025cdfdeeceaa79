/** Flow control of what we send, on both levels, and back-pressure with it (RFC 9113 5.2, 6.9). */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../src/wire/http2/frames/frames.ts";
import {
  IGNORE,
  OK,
  rawClient,
  Recorder,
  type ServerEnd,
} from "../../support/http2/ends.ts";
import type { RawPeer } from "../../support/http2/raw-peer.ts";
import {
  GET,
  headers,
  reset,
  settings,
  windowUpdate,
} from "../../support/http2/raw-peer.ts";

const { END_STREAM } = Flag;

/** Octets of content that came for the stream until now; and whether END_STREAM did. */
async function received(peer: RawPeer, id: number): Promise<number> {
  // Twice: content that a frame sets free leaves behind the PING's answer.
  const frames = [...(await peer.settle()), ...(await peer.settle())];
  return frames
    .filter((it) => it.type === FrameType.DATA && it.id === id)
    .reduce((sum, it) => sum + it.payload.length, 0);
}

async function answering(end: ServerEnd, id: number): Promise<Recorder> {
  const at = end.requests.streams.length;
  end.peer.send(headers(id, GET));
  const stream = await end.requests.get(at);
  const recorder = new Recorder();
  stream.receive(recorder);
  stream.respond(OK, false);
  return recorder;
}

void t.test(
  "sends no more than the stream's window, and goes on when it opens (6.9.1)",
  async (t) => {
    const end = await rawClient(t, {}, [[4, 10]]);
    await answering(end, 1);
    const stream = await end.requests.get();
    t.equal(
      stream.write(Buffer.alloc(25)),
      true,
      "25 octets are little to queue",
    );
    stream.end();
    t.equal(await received(end.peer, 1), 10);
    end.peer.send(windowUpdate(1, 5));
    t.equal(await received(end.peer, 1), 5);
    end.peer.send(windowUpdate(1, 100));
    const last = await end.peer.next(FrameType.DATA, 1);
    t.equal(last.payload.length, 10);
    t.equal(last.flags, END_STREAM);
  },
);

void t.test(
  "sends no more than the connection's window over all streams",
  async (t) => {
    const end = await rawClient(t, {}, [[4, 1_000_000]]);
    await answering(end, 1);
    await answering(end, 3);
    const [first, second] = end.requests.streams;
    first?.write(Buffer.alloc(60_000));
    second?.write(Buffer.alloc(60_000));
    second?.end();
    const frames = (await end.peer.settle()).filter(
      ({ type }) => type === FrameType.DATA,
    );
    t.equal(
      frames.reduce((sum, { payload }) => sum + payload.length, 0),
      65_535,
    );
    end.peer.send(windowUpdate(0, 100_000));
    t.equal(await received(end.peer, 3), 54_465);
    first?.write(Buffer.alloc(100));
    t.equal(await received(end.peer, 1), 100);
  },
);

void t.test(
  "a lowered initial window may be negative, and a raised one lets go on (6.9.2)",
  async (t) => {
    const end = await rawClient(t, {}, [[4, 100]]);
    await answering(end, 1);
    const stream = await end.requests.get();
    stream.write(Buffer.alloc(100));
    stream.write(Buffer.alloc(100));
    t.equal(await received(end.peer, 1), 100);
    end.peer.send(settings([4, 50]), windowUpdate(1, 40));
    t.equal(await received(end.peer, 1), 0, "the window is at -10");
    end.peer.send(settings([4, 70]));
    t.equal(await received(end.peer, 1), 10);
    end.peer.send(settings([4, 1000]));
    t.equal(await received(end.peer, 1), 90);
  },
);

void t.test(
  "keeps to the peer's frame size, and to what fills a TLS record where it takes more (4.2)",
  async (t) => {
    const end = await rawClient(t, {}, [
      [4, 1_000_000],
      [5, 100_000],
    ]);
    await answering(end, 1);
    (await end.requests.get()).write(Buffer.alloc(40_000));
    const sizes = [];
    for (let i = 0; i < 3; i++)
      sizes.push((await end.peer.next(FrameType.DATA, 1)).payload.length);
    // With its header of 9 octets a frame then comes in one piece.
    t.strictSame(sizes, [16_375, 16_375, 7250]);
  },
);

void t.test(
  "write says false when as much again would be too much, and drained comes at half of what may wait",
  async (t) => {
    const end = await rawClient(t, { streamQueueBytes: 1000 }, [[4, 0]]);
    const recorder = await answering(end, 1);
    const stream = await end.requests.get();
    t.equal(stream.write(Buffer.alloc(500)), true);
    t.equal(stream.write(Buffer.alloc(600)), false);
    t.equal(stream.write(Buffer.alloc(1)), false);
    t.equal(stream.write(Buffer.alloc(0)), false);
    end.peer.send(windowUpdate(1, 500));
    await end.peer.settle();
    t.strictSame(recorder.events, [], "601 are left");
    end.peer.send(windowUpdate(1, 500));
    await recorder.until("drained");
    t.equal(stream.write(Buffer.alloc(1)), true);
  },
);

void t.test(
  "drained is kept for a receiver that comes late, and one that throws is reset",
  async (t) => {
    const { peer, requests } = await rawClient(t, { streamQueueBytes: 10 }, [
      [4, 0],
    ]);
    peer.send(headers(1, GET), headers(3, GET));
    const [first, second] = [await requests.get(0), await requests.get(1)];
    first.respond(OK, false);
    t.equal(first.write(Buffer.alloc(20)), false);
    peer.send(windowUpdate(1, 100));
    await peer.settle();
    const recorder = new Recorder();
    first.receive(recorder);
    t.strictSame(recorder.events, ["drained"]);
    second.receive({
      ...IGNORE,
      drained: () => {
        throw new Error("in drained");
      },
    });
    second.respond(OK, false);
    second.write(Buffer.alloc(20));
    peer.send(windowUpdate(3, 100));
    t.equal(await peer.resetCode(3), ErrorCode.INTERNAL_ERROR);
  },
);

void t.test("trailers wait behind the content", async (t) => {
  const end = await rawClient(t, {}, [[4, 3]]);
  await answering(end, 1);
  const stream = await end.requests.get();
  stream.write(Buffer.from("abcdef"));
  stream.end([]);
  end.peer.send(windowUpdate(1, 2));
  t.equal(await received(end.peer, 1), 5);
  end.peer.send(windowUpdate(1, 2));
  const last = await end.peer.next(FrameType.DATA, 1);
  t.match(last, { flags: END_STREAM });
});

void t.test("a reset forgets what was queued", async (t) => {
  const end = await rawClient(t, {}, [[4, 0]]);
  const recorder = await answering(end, 1);
  (await end.requests.get()).write(Buffer.alloc(100));
  end.peer.send(reset(1, ErrorCode.CANCEL), windowUpdate(1, 1000));
  t.equal(await received(end.peer, 1), 0);
  t.strictSame(recorder.events, ["abort"]);
});

void t.test(
  "streams take turns, frame by frame, and small ones do not wait behind bulk",
  async (t) => {
    const end = await rawClient(t, {}, [[4, 1_000_000]]);
    for (const id of [1, 3, 5]) await answering(end, id);
    const [bulk, other, small] = end.requests.streams;
    t.equal(bulk?.write(Buffer.alloc(200_000)), false);
    other?.write(Buffer.alloc(40_000));
    small?.write(Buffer.from("small"));
    small?.end();
    t.equal(
      await received(end.peer, 1),
      65_535,
      "the connection's window is used up",
    );
    end.peer.send(windowUpdate(0, 1_000_000));
    const order: number[] = [];
    for (let i = 0; i < 7; i++)
      order.push((await end.peer.next(FrameType.DATA)).id);
    t.strictSame(order, [1, 3, 5, 1, 3, 1, 3]);
  },
);
