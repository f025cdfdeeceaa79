/** What a connection holds for a peer that sends little and takes nothing (law 10): at most 1 MiB for a request that sent 10 KiB. */
import t from "tap";
import { collectGarbage } from "../../../src/runtime/v8.ts";
import { FrameType } from "../../../src/wire/http2/frames/frames.ts";
import {
  bothEnds,
  IGNORE,
  OK,
  rawClient,
  Recorder,
  requestHead,
  type ServerEnd,
} from "../../support/http2/ends.ts";
import { data, GET, headers, POST } from "../../support/http2/raw-peer.ts";

const MIB = 1_048_576;

/** Heap and buffers, when all that is dead is gone. */
async function inUse(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    collectGarbage({ type: "major" });
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** What is held after `act`, for each of `requests`. */
async function held(
  requests: number,
  act: () => Promise<unknown>,
): Promise<number> {
  const before = await inUse();
  await act();
  return ((await inUse()) - before) / requests;
}

void t.test(
  "content of an octet a frame, between large frames of another stream",
  async (t) => {
    const { peer, requests } = await rawClient(t, { tinyFramesPerSecond: 1e9 });
    peer.send(headers(1, POST, false), headers(3, POST, false));
    const first = await requests.get();
    (await requests.get(1)).receive(IGNORE);
    // Nobody takes the first one's content: it waits where the other's passes by.
    t.equal(first.ended, false);
    const tiny = data(1, "x");
    const large = data(3, Buffer.alloc(16_000));
    const perRequest = await held(1, async () => {
      for (let i = 0; i < 1024; i++) {
        peer.send(tiny, large, large, large);
        await peer.settle();
      }
    });
    t.ok(
      perRequest < MIB,
      `${Math.round(perRequest)} octets for 10 KiB of frames`,
    );
  },
);

void t.test("answers without a window, of an octet a chunk", async (t) => {
  const { peer, requests } = await rawClient(t, {}, [[4, 0]]);
  const count = 50;
  const perRequest = await held(count, async () => {
    for (let i = 0; i < count; i++) {
      peer.send(headers(2 * i + 1, GET));
      const stream = await requests.get(i);
      stream.receive(IGNORE);
      stream.respond(OK, false);
      // As they would come out of reads of an upstream that sends to others as well.
      for (let at = 0; at < 2000; at++)
        stream.write(Buffer.alloc(65_536).subarray(at, at + 1));
    }
    await peer.settle();
  });
  t.ok(perRequest < MIB / 16, `${Math.round(perRequest)} octets for 2,000`);
});

void t.test(
  "references to one large field, as many as a block may have",
  async (t) => {
    const end: ServerEnd = await rawClient(t, { concurrentStreams: 1000 });
    const { peer, requests } = end;
    const value = Buffer.alloc(4000, 97);
    const indexed = Buffer.concat([
      Buffer.from([0x40, 1, 0x78, 127, ((4000 - 127) & 127) | 128, 3873 >> 7]),
      value,
    ]);
    const start = Buffer.from([
      0x82, 0x86, 0x84, 0x01, 4, 0x73, 0x68, 0x6f, 0x70,
    ]);
    const count = 900;
    const perRequest = await held(count, async () => {
      for (let i = 0; i < count; i++) {
        const block = Buffer.concat([
          start,
          i === 0 ? indexed : Buffer.alloc(4, 0xbe),
        ]);
        const head = Buffer.alloc(9);
        head.writeUIntBE(block.length, 0, 3);
        head[3] = FrameType.HEADERS;
        head[4] = 5;
        head.writeUInt32BE(2 * i + 1, 5);
        peer.send(Buffer.concat([head, block]));
      }
      await peer.settle();
    });
    t.equal(requests.streams.length, count);
    t.equal(
      requests.streams[1]?.head.fields.length,
      4,
      "16 KiB of fields each",
    );
    t.ok(perRequest < 4096, `${Math.round(perRequest)} octets for each`);
  },
);

void t.test(
  "a fast answer whose reader stops holds no more than its window and its queue",
  async (t) => {
    const { client, requests } = await bothEnds(t);
    const recorder = new Recorder();
    const stream = client.request(requestHead(), true, recorder);
    const answer = await requests.get();
    answer.receive(IGNORE);
    answer.respond(OK, false);
    const chunk = Buffer.alloc(65_536, 97);
    // Until the window has grown as far as it can.
    for (let sent = 0; sent < 400; sent++)
      if (!answer.write(chunk))
        await new Promise((resolve) => setImmediate(resolve));
    await recorder.untilBody(20 * MIB);
    recorder.chunks.length = 0;
    stream.pause();
    for (let quiet = 0, before = -1; quiet < 50; quiet++) {
      for (let sent = 0; sent < 8; sent++) answer.write(chunk);
      await new Promise((resolve) => setImmediate(resolve));
      const now = recorder.body.length;
      if (now !== before) quiet = 0;
      before = now;
    }
    t.ok(recorder.body.length > 65_536, "the window had grown");
    t.ok(
      recorder.body.length <= 900_000,
      `${recorder.body.length} octets came after the pause`,
    );
  },
);
