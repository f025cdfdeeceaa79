/** Flow control on both levels and in both directions (RFC 9113 5.2, 6.9), and back-pressure with it. */
import t from "tap";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import { fakeClock } from "../../harness/fake-clock.ts";
import type { ServerStream } from "../../../src/wire/exchange.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames.ts";
import {
  IGNORE,
  INFO,
  OK,
  rawClient,
  Recorder,
  Requests,
  type ServerEnd,
} from "./ends.ts";
import {
  data,
  frame,
  GET,
  headers,
  POST,
  reset,
  RawPeer,
  settings,
  SETTINGS_ACK,
  socketPair,
  windowUpdate,
} from "./raw-peer.ts";

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
  "keeps to the peer's frame size, and to 16 KiB where it takes more (4.2)",
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
    t.strictSame(sizes, [16_384, 16_384, 7232]);
  },
);

void t.test(
  "write says false when enough is queued, and drained comes at half of it",
  async (t) => {
    const end = await rawClient(t, { streamQueueBytes: 1000 }, [[4, 0]]);
    const recorder = await answering(end, 1);
    const stream = await end.requests.get();
    t.equal(stream.write(Buffer.alloc(900)), true);
    t.equal(stream.write(Buffer.alloc(200)), false);
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

// --- what we let the peer send ---

async function uploading(
  end: ServerEnd,
  id = 1,
): Promise<{
  recorder: Recorder;
  stream: ServerStream;
}> {
  const at = end.requests.streams.length;
  end.peer.send(headers(id, POST, false));
  const stream = await end.requests.get(at);
  const recorder = new Recorder();
  stream.receive(recorder);
  return { recorder, stream };
}

/** The increments of WINDOW_UPDATE for the stream, among the frames that have come. */
async function credits(peer: RawPeer, id: number): Promise<number[]> {
  peer.send(frame(FrameType.PING, 0, 0, "credits?"));
  const increments: number[] = [];
  for (;;) {
    const at = peer.frames.findIndex(({ type }) => type === FrameType.PING);
    if (at >= 0) {
      for (const it of peer.frames.splice(0, at + 1))
        if (it.type === FrameType.WINDOW_UPDATE && it.id === id)
          increments.push(it.payload.readUInt32BE(0));
      return increments;
    }
    await new Promise((resolve) => peer.socket.once("data", resolve));
  }
}

void t.test(
  "the connection's window is opened beyond its default at once",
  async (t) => {
    const { peer } = await rawClient(t);
    t.strictSame(await credits(peer, 0), [1_048_576 - 65_535]);
    const small = await rawClient(t, { connectionWindow: 1 });
    t.strictSame(await credits(small.peer, 0), [], "it cannot be lowered");
  },
);

void t.test("window comes back in halves", async (t) => {
  const end = await rawClient(t, { streamWindow: 1000, streamWindowMax: 1000 });
  await uploading(end);
  await end.peer.settle();
  end.peer.send(data(1, Buffer.alloc(400)));
  t.strictSame(await credits(end.peer, 1), []);
  end.peer.send(data(1, Buffer.alloc(200)));
  t.strictSame(await credits(end.peer, 1), [600]);
  end.peer.send(data(1, Buffer.alloc(500)), data(1, Buffer.alloc(500), true));
  t.strictSame(
    await credits(end.peer, 1),
    [500],
    "none for a half that has ended",
  );
});

void t.test("padding counts and comes back (6.1)", async (t) => {
  const end = await rawClient(t, { streamWindow: 1000, streamWindowMax: 1000 });
  const { recorder } = await uploading(end);
  const padded = Buffer.concat([
    Buffer.from([250]),
    Buffer.from("x"),
    Buffer.alloc(250),
  ]);
  for (let i = 0; i < 2; i++)
    end.peer.send(frame(FrameType.DATA, Flag.PADDED, 1, padded));
  t.strictSame(await credits(end.peer, 1), [504]);
  t.equal(recorder.body.toString(), "xx");
});

void t.test("a paused stream gets no window until it resumes", async (t) => {
  const end = await rawClient(t, { streamWindow: 1000, streamWindowMax: 1000 });
  const { stream } = await uploading(end);
  stream.pause();
  end.peer.send(data(1, Buffer.alloc(1000)));
  t.strictSame(await credits(end.peer, 1), []);
  stream.resume();
  stream.resume();
  t.strictSame(await credits(end.peer, 1), [1000]);
});

void t.test(
  "DATA beyond the stream's window resets it, beyond the connection's ends that (6.9.1)",
  async (t) => {
    const end = await rawClient(t, {
      streamWindow: 1000,
      streamWindowMax: 1000,
      heldBytes: 0,
      connectionWindow: 70_000,
    });
    const { stream, recorder } = await uploading(end);
    stream.pause();
    await end.peer.settle();
    end.peer.send(data(1, Buffer.alloc(1001)));
    t.equal(await end.peer.resetCode(1), ErrorCode.FLOW_CONTROL_ERROR);
    t.equal(recorder.error?.code, "BAD_REQUEST");
    const wide = await rawClient(t, {
      streamWindow: 100_000,
      heldBytes: 0,
      connectionWindow: 65_535,
    });
    (await uploading(wide)).stream.pause();
    for (let i = 0; i < 5; i++) wide.peer.send(data(1, Buffer.alloc(16_384)));
    t.equal((await wide.peer.goaway()).code, ErrorCode.FLOW_CONTROL_ERROR);
  },
);

void t.test(
  "the window of a fast stream grows, and falls back after a pause",
  async (t) => {
    const end = await rawClient(t, {
      streamWindow: 1000,
      streamWindowMax: 3000,
    });
    const { stream } = await uploading(end);
    await end.peer.settle();
    // The first credit after the beginning is never quick.
    end.peer.send(data(1, Buffer.alloc(500)));
    t.strictSame(await credits(end.peer, 1), [500]);
    end.peer.send(data(1, Buffer.alloc(500)));
    t.strictSame(await credits(end.peer, 1), [1500], "doubled");
    end.peer.send(data(1, Buffer.alloc(1000)));
    t.strictSame(await credits(end.peer, 1), [2000], "up to the most");
    end.clock.advance(1000);
    end.peer.send(data(1, Buffer.alloc(1500)));
    t.strictSame(await credits(end.peer, 1), [1500], "slow: as it was");
    stream.pause();
    end.peer.send(data(1, Buffer.alloc(3000)));
    t.strictSame(await credits(end.peer, 1), []);
    stream.resume();
    t.strictSame(await credits(end.peer, 1), [1000], "2000 are withheld");
    end.peer.send(data(1, Buffer.alloc(1000)));
    t.strictSame(await credits(end.peer, 1), [1000]);
  },
);

void t.test("all growth of a connection is bounded", async (t) => {
  const end = await rawClient(t, {
    streamWindow: 1000,
    streamWindowMax: 9000,
    windowGrowth: 1500,
  });
  for (const id of [1, 3]) {
    await uploading(end, id);
    await end.peer.settle();
    end.peer.send(data(id, Buffer.alloc(500)));
    await credits(end.peer, id);
  }
  end.peer.send(data(1, Buffer.alloc(500)), data(3, Buffer.alloc(500)));
  t.strictSame(await credits(end.peer, 1), [1500]);
  end.peer.send(data(3, Buffer.alloc(1000)));
  t.strictSame(await credits(end.peer, 3), [1000]);
  end.peer.send(reset(1, ErrorCode.CANCEL), data(3, Buffer.alloc(1000)));
  t.strictSame(await credits(end.peer, 3), [2000], "what the other gave back");
});

void t.test(
  "stalled streams do not stop the others, until they hold too much",
  async (t) => {
    const end = await rawClient(t, {
      streamWindow: 60_000,
      streamWindowMax: 60_000,
      connectionWindow: 65_535,
      heldBytes: 100_000,
    });
    const stalled = [await uploading(end, 1), await uploading(end, 3)];
    for (const { stream } of stalled) stream.pause();
    const { recorder } = await uploading(end, 5);
    await credits(end.peer, 0);
    const send = (id: number): void => {
      for (let i = 0; i < 3; i++) end.peer.send(data(id, Buffer.alloc(16_000)));
    };
    send(1);
    t.strictSame(await credits(end.peer, 0), [48_000]);
    send(3);
    t.strictSame(await credits(end.peer, 0), [48_000]);
    send(5);
    await recorder.untilBody(48_000);
    t.strictSame(
      await credits(end.peer, 0),
      [48_000],
      "96,000 held: the third goes on",
    );
    end.peer.send(data(1, Buffer.alloc(10_000)));
    end.peer.send(data(5, Buffer.alloc(12_000)), data(5, Buffer.alloc(12_000)));
    t.strictSame(
      await credits(end.peer, 0),
      [],
      "106,000 held: the window is withheld",
    );
    stalled[0]?.stream.resume();
    t.strictSame(await credits(end.peer, 0), [34_000]);
  },
);

void t.test(
  "content before our SETTINGS were acknowledged goes by the default window (6.9.2)",
  async (t) => {
    const [accepted, dialled] = await socketPair();
    t.teardown(() => dialled.destroy());
    const requests = new Requests();
    serveHttp2(
      accepted,
      {
        clock: fakeClock(),
        info: INFO,
        limits: { streamWindow: 100, streamWindowMax: 100 },
      },
      requests,
    );
    const peer = new RawPeer(dialled, false);
    peer.send(PREFACE, settings(), headers(1, POST, false));
    (await requests.get()).pause();
    for (let i = 0; i < 3; i++) peer.send(data(1, Buffer.alloc(16_000)));
    await peer.settle();
    peer.send(
      SETTINGS_ACK,
      headers(3, POST, false),
      data(3, Buffer.alloc(100)),
    );
    await peer.settle();
    peer.send(data(3, "x"), data(1, "x"));
    t.equal(await peer.resetCode(3), ErrorCode.FLOW_CONTROL_ERROR);
    t.equal(await peer.resetCode(1), ErrorCode.FLOW_CONTROL_ERROR);
  },
);
