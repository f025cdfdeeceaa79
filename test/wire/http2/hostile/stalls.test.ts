/** What stands still is ended in bounded time: a head that never ends, an answer that nobody takes, a connection without a use. */
import type { Socket } from "node:net";
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
  PREFACE,
} from "../../../../src/wire/http2/frames/frames.ts";
import { serveHttp2 } from "../../../../src/wire/http2/server.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";
import {
  fields,
  INFO,
  OK,
  rawClient,
  rawServer,
  Recorder,
  requestHead,
  Requests,
} from "../../../support/http2/ends.ts";
import {
  block,
  data,
  frame,
  GET,
  headers,
  POST,
  RawPeer,
  reset,
  socketPair,
  windowUpdate,
} from "../../../support/http2/raw-peer.ts";

const { HEADERS, CONTINUATION, DATA, GOAWAY, PING } = FrameType;

/** Lets time pass in the steps in which the guard looks; `each` runs before every step. */
async function pass(
  clock: FakeClock,
  seconds: number,
  each: () => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  for (let at = 0; at < seconds; at += 5) {
    await each();
    clock.advance(5000);
  }
}

/** Waits until the socket has read so many octets in all. */
async function hasRead(socket: Socket, octets: number): Promise<void> {
  while (socket.bytesRead < octets)
    await new Promise((resolve) => setImmediate(resolve));
}

/** Pieces of a head that is never complete, however slowly it goes on. */
const UNFINISHED: readonly (readonly [string, Buffer, Buffer])[] = [
  [
    "a field block without its end",
    frame(HEADERS, Flag.END_STREAM, 1, block(GET)),
    frame(CONTINUATION, 0, 1),
  ],
  [
    "a frame without its end",
    frame(HEADERS, 5, 1, block(GET)).subarray(0, 20),
    Buffer.alloc(0),
  ],
  [
    "half a frame's head",
    frame(HEADERS, 5, 1, block(GET)).subarray(0, 3),
    Buffer.alloc(0),
  ],
];

for (const [what, begin, more] of UNFINISHED)
  void t.test(`a connection is ended by ${what} for ten seconds`, async (t) => {
    const { peer, clock, requests, socket, limited } = await rawClient(t);
    await peer.settle();
    let sent = socket.bytesRead + begin.length;
    peer.send(begin);
    await pass(clock, 10, () => {
      peer.send(more);
      sent += more.length;
      return hasRead(socket, sent);
    });
    clock.advance(5000);
    t.equal((await peer.goaway()).code, ErrorCode.ENHANCE_YOUR_CALM);
    await peer.ended;
    t.match(requests.refusals, [/^REQUEST_STALLED: .* within 10000 ms/]);
    t.strictSame(limited, ["header_time"]);
  });

void t.test("a preface that never ends is such a head", async (t) => {
  const [accepted, dialled] = await socketPair();
  t.teardown(() => dialled.destroy());
  const clock = fakeClock();
  const requests = new Requests();
  const limits = { settingsTimeout: 1e9 };
  serveHttp2(accepted, { clock, info: INFO, limits }, requests);
  const peer = new RawPeer(dialled, false);
  peer.send(PREFACE.subarray(0, 10));
  await hasRead(accepted, 10);
  clock.advance(15_000);
  t.equal((await peer.goaway()).code, ErrorCode.ENHANCE_YOUR_CALM);
});

void t.test("a head in pieces that does end is served", async (t) => {
  const { peer, clock, requests, socket, limited } = await rawClient(t);
  await peer.settle();
  const whole = frame(HEADERS, 5, 1, block(GET));
  for (let round = 0; round < 4; round++) {
    const id = round * 2 + 1;
    whole.writeUInt32BE(id, 5);
    const before = socket.bytesRead;
    peer.send(whole.subarray(0, 12));
    await hasRead(socket, before + 12);
    clock.advance(5000);
    peer.send(whole.subarray(12));
    await requests.get(round);
  }
  t.strictSame(limited, []);
});

void t.test("slow content is no slow head", async (t) => {
  const { peer, clock, requests, limited } = await rawClient(t);
  peer.send(headers(1, POST, false), data(1, "content").subarray(0, 12));
  (await requests.get()).receive(new Recorder());
  await pass(clock, 60);
  peer.send(Buffer.from("tent"));
  await peer.settle();
  t.strictSame(limited, []);
});

void t.test(
  "a complete answer that gets no window is given up after a minute, and its connection lives on",
  async (t) => {
    const { peer, clock, requests, connection, limited } = await rawClient(
      t,
      {},
      [[4, 3]],
    );
    peer.send(headers(1, GET), headers(3, GET));
    for (const at of [0, 1]) {
      const stream = await requests.get(at);
      stream.respond(OK, false);
      stream.write(Buffer.from("answer"));
      stream.end(at === 0 ? undefined : fields("x-t: 1"));
    }
    await pass(clock, 60, () => peer.settle());
    t.equal(connection.active, 2, "not before");
    clock.advance(5000);
    t.equal(await peer.resetCode(1), ErrorCode.CANCEL);
    t.equal(await peer.resetCode(3), ErrorCode.CANCEL);
    t.equal(connection.active, 0);
    t.strictSame(limited, ["write_time", "write_time"]);
    t.match(requests.refusals, [/^RESPONSE_STALLED/, /^RESPONSE_STALLED/]);
    peer.send(headers(5, GET));
    await requests.get(2);
  },
);

void t.test(
  "where a stalled answer is given up, a request that has not ended is told",
  async (t) => {
    const { peer, clock, requests, connection } = await rawClient(t, {}, [
      [4, 0],
    ]);
    peer.send(headers(1, POST, false), headers(3, POST, false));
    const recorders = [new Recorder(), new Recorder()];
    for (const [at, recorder] of recorders.entries()) {
      const stream = await requests.get(at);
      stream.receive(recorder);
      stream.respond(OK, false);
      stream.write(Buffer.from("answer"));
      stream.end();
    }
    peer.send(data(3, "the rest", true));
    await pass(clock, 65, () => peer.settle());
    t.equal(connection.active, 0);
    await peer.settle();
    t.match(recorders[0]?.error, { code: "RESPONSE_STALLED" });
    t.strictSame(recorders[1]?.events, ["data", "end"], "nothing after an end");
  },
);

void t.test(
  "an answer that is taken octet by octet is not stalled",
  async (t) => {
    const { peer, clock, requests, limited } = await rawClient(t, {}, [[4, 0]]);
    peer.send(headers(1, GET));
    const stream = await requests.get();
    stream.respond(OK, false);
    stream.write(Buffer.from("123456"));
    stream.end();
    await peer.next(HEADERS, 1);
    for (let octet = 0; octet < 6; octet++) {
      await pass(clock, 40, () => peer.settle());
      peer.send(windowUpdate(1, 1));
      t.equal((await peer.next(DATA, 1)).payload.length, 1);
    }
    t.strictSame(limited, []);
  },
);

void t.test(
  "an answer that is still being made is its maker's affair",
  async (t) => {
    const { peer, clock, requests, limited } = await rawClient(t, {}, [[4, 0]]);
    peer.send(headers(1, GET));
    const stream = await requests.get();
    stream.respond(OK, false);
    stream.write(Buffer.from("answer"));
    await pass(clock, 120, () => peer.settle());
    t.strictSame(limited, []);
    peer.send(reset(1, 8));
    await peer.settle();
  },
);

void t.test("a peer that takes nothing off the socket is left", async (t) => {
  const { peer, clock, requests, socket, limited } = await rawClient(t, {}, [
    [4, 2 ** 31 - 1],
  ]);
  peer.send(windowUpdate(0, 2 ** 30), headers(1, GET));
  const stream = await requests.get();
  await peer.settle();
  peer.socket.pause();
  stream.respond(OK, false);
  const chunk = Buffer.alloc(65_536);
  while (stream.write(chunk))
    await new Promise((resolve) => setImmediate(resolve));
  await pass(clock, 60);
  t.strictSame(limited, [], "not before");
  clock.advance(5000);
  t.strictSame(limited, ["write_time"]);
  t.match(requests.refusals, [/^RESPONSE_STALLED: the peer took nothing/]);
  clock.advance(1000);
  t.equal(socket.destroyed, true, "its last words are not waited for");
});

void t.test("a server that takes nothing off the socket is left", async (t) => {
  const { peer, connection, clock, observer, limited } = await rawServer(
    t,
    {},
    [[4, 2 ** 31 - 1]],
  );
  await peer.settle();
  peer.send(windowUpdate(0, 2 ** 30));
  await peer.settle();
  peer.socket.pause();
  const recorder = new Recorder();
  const stream = connection.request(
    requestHead({ method: "POST" }),
    false,
    recorder,
  );
  const chunk = Buffer.alloc(65_536);
  while (stream.write(chunk))
    await new Promise((resolve) => setImmediate(resolve));
  await pass(clock, 65);
  t.strictSame(limited, ["write_time"]);
  t.match(recorder.error, { source: "upstream", unprocessed: false });
  t.ok(observer.events.includes("closed"));
});

void t.test(
  "a connection without streams is drained after ten minutes, PINGs or not",
  async (t) => {
    const { peer, clock, requests, limited } = await rawClient(t);
    peer.send(headers(1, GET));
    const first = await requests.get();
    await peer.settle();
    await pass(clock, 900);
    t.strictSame(limited, [], "a stream is open");
    first.respond(OK, true);
    await pass(clock, 300);
    peer.send(headers(3, GET));
    (await requests.get(1)).respond(OK, true);
    await pass(clock, 300, () => peer.settle());
    await pass(clock, 300);
    t.strictSame(limited, [], "the time began anew");
    await pass(clock, 10);
    t.strictSame(limited, ["idle"]);
    t.equal((await peer.next(GOAWAY)).payload.readUInt32BE(4), 0);
    const ping = await peer.next(PING);
    peer.send(frame(PING, Flag.ACK, 0, ping.payload));
    await peer.ended;
    t.strictSame(requests.refusals, []);
  },
);

void t.test("nothing is looked at when the connection is over", async (t) => {
  const { connection, clock } = await rawClient(t);
  t.equal(clock.pending > 0, true);
  connection.destroy();
  t.equal(clock.pending, 0);
});
