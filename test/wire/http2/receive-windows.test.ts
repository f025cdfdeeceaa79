/** The windows that we give: how much a peer may send, and that a stalled stream holds up no other (RFC 9113 5.2, 6.9). */
import { once } from "node:events";
import t from "tap";
import { Buffers } from "../../../src/wire/buffers.ts";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import type { ServerStream } from "../../../src/wire/exchange.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import {
  INFO,
  OK,
  rawClient,
  Recorder,
  Requests,
  type ServerEnd,
} from "../../support/http2/ends.ts";
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
} from "../../support/http2/raw-peer.ts";

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
    t.strictSame(await credits(peer, 0), [524_288 - 65_535]);
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
  "DATA beyond the stream's window or the connection's ends the connection (6.9.1)",
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
    t.equal((await end.peer.goaway()).code, ErrorCode.FLOW_CONTROL_ERROR);
    t.equal(recorder.error?.code, "CLIENT_CLOSED");
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

void t.test(
  "a half that lacks a few bytes comes back, so that a far peer's window grows as well",
  async (t) => {
    const end = await rawClient(t);
    await uploading(end);
    await end.peer.settle();
    const frames = (...lengths: readonly number[]): Promise<number[]> => {
      for (const length of lengths)
        end.peer.send(data(1, Buffer.alloc(length)));
      return credits(end.peer, 1);
    };
    t.strictSame(
      await frames(16_384, 16_384, 16_384, 16_383),
      [32_768, 32_767 + 65_535],
      "all that the window allows, in whole frames but for the last one",
    );
    end.clock.advance(200);
    const far = await frames(...Array<number>(7).fill(16_384), 16_382);
    t.strictSame(far, [65_536, 65_534 + 131_070], "a long round trip later");
  },
);

void t.test("of a large window much comes back at once", async (t) => {
  const end = await rawClient(t, {
    streamWindow: 1_048_576,
    streamWindowMax: 1_048_576,
  });
  await uploading(end);
  await end.peer.settle();
  for (let at = 0; at < 17; at += 1)
    end.peer.send(data(1, Buffer.alloc(16_384)));
  t.strictSame(await credits(end.peer, 1), [131_072, 131_072]);
});

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
  "the connection's window grows where the peer is far away, and only there",
  async (t) => {
    const HALVES = 60;
    /** What is given back for each burst that comes `silence` ms after the one before, its frames `pause` ms apart. */
    const given = async (
      silence: number,
      pause = 0,
      burst = 80_000,
    ): Promise<readonly number[]> => {
      const end = await rawClient(t, {
        streamWindow: 9_000_000,
        streamWindowMax: 9_000_000,
        connectionWindow: 160_000,
        connectionWindowMax: 400_000,
      });
      await uploading(end);
      await credits(end.peer, 0);
      const all: number[] = [];
      for (let half = 0; half < HALVES; half += 1) {
        end.clock.advance(silence);
        for (let at = 0; at < burst; at += 10_000) {
          end.peer.send(data(1, Buffer.alloc(10_000)));
          if (pause === 0) continue;
          all.push(...(await credits(end.peer, 0)));
          end.clock.advance(pause);
        }
        all.push(...(await credits(end.peer, 0)));
      }
      return all;
    };
    const same = Array<number>(HALVES).fill(80_000);
    t.strictSame(await given(4), same, "near");
    t.strictSame(await given(0, 20), same, "a peer that sends little");
    t.strictSame(
      new Set(await given(10, 0, 70_000)),
      new Set([80_000]),
      "a peer that pauses of its own accord, now and then at the window's end",
    );
    const far = await given(5);
    t.equal(Math.max(...far), 240_000, "doubled");
    const left =
      160_000 + far.reduce((sum, each) => sum + each, 0) - HALVES * 80_000;
    t.ok(left > 300_000 && left <= 400_000, `${left} left, of 400,000 at most`);
    t.ok(
      far.slice(0, 4).every((each) => each === 80_000),
      "not for waiting once or twice",
    );
  },
);

void t.test(
  "where the connection's window has grown, one stream's may grow in proportion",
  async (t) => {
    const end = await rawClient(t, {
      streamWindow: 120_000,
      streamWindowMax: 120_000,
      connectionWindow: 80_000,
      connectionWindowMax: 160_000,
    });
    await uploading(end);
    await end.peer.settle();
    let left = 120_000;
    let most = left;
    for (let trip = 0; trip < 40; trip += 1) {
      end.clock.advance(10);
      for (let at = 0; at < 80_000; at += 10_000)
        end.peer.send(data(1, Buffer.alloc(10_000)));
      const given = await credits(end.peer, 1);
      left += given.reduce((sum, each) => sum + each, -80_000);
      most = Math.max(most, left);
    }
    t.ok(most > 200_000 && most <= 240_000, `${most}, of 240,000 at most`);
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
    t.equal(requests.refusals.length, 0, "as much as the windows allow");
    peer.send(data(3, "x"));
    t.equal((await peer.goaway()).code, ErrorCode.FLOW_CONTROL_ERROR);
  },
);

void t.test(
  "where the proxy holds as much as it may, a connection with stalled streams gets no window and is not read, until there is room",
  async (t) => {
    const buffers = new Buffers(1e9);
    const end = await rawClient(
      t,
      { connectionWindow: 65_535, heldBytes: Infinity },
      [],
      buffers,
    );
    const { stream } = await uploading(end, 1);
    stream.pause();
    for (let i = 0; i < 3; i++) end.peer.send(data(1, Buffer.alloc(16_000)));
    t.strictSame(await credits(end.peer, 0), [48_000], "stalled, but roomy");
    buffers.change(5e8);
    end.peer.send(data(1, Buffer.alloc(10_000)));
    await end.peer.settle();
    t.ok(end.socket.isPaused());
    buffers.change(-5e8);
    const { recorder } = await uploading(end, 3);
    for (let i = 0; i < 3; i++) end.peer.send(data(3, Buffer.alloc(16_000)));
    await recorder.untilBody(48_000);
    t.notOk(end.socket.isPaused());
  },
);

void t.test(
  "what waits is counted, and nothing is left at the end",
  async (t) => {
    const buffers = new Buffers(1e9);
    const end = await rawClient(t, {}, [[4, 0]], buffers);
    end.peer.send(headers(1, GET), headers(3, POST, false), data(3, "early"));
    const stream = await end.requests.get(0);
    stream.receive(new Recorder());
    await end.requests.get(1);
    await end.peer.settle();
    const early = buffers.held;
    t.ok(early >= 5, "of a stream that has no receiver yet, too");
    stream.respond(OK, false);
    stream.write(Buffer.alloc(50_000));
    await end.peer.settle();
    t.equal(buffers.held, early + 50_000);
    end.peer.send(frame(FrameType.HEADERS, 0, 5, Buffer.alloc(100)));
    // Half a field block: a PING that settles would not be allowed in its midst.
    while (buffers.held !== early + 50_100)
      await new Promise((resolve) => setImmediate(resolve));
    end.socket.destroy();
    await once(end.socket, "close");
    t.equal(buffers.held, 0);
  },
);
