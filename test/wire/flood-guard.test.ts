/** What costs a peer nothing is counted over all connections of its source: who comes back goes on where it was. */
import t, { type Test } from "tap";
import {
  excess,
  LonelySource,
  type Source,
} from "../../src/wire/flood-guard.ts";
import type { Http2Limits } from "../../src/wire/http2/limits.ts";
import { serveHttp2 } from "../../src/wire/http2/server.ts";
import { FrameType, PREFACE } from "../../src/wire/http2/frames/frames.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import { INFO, Requests } from "../support/http2/ends.ts";
import {
  frame,
  GET,
  headers,
  RawPeer,
  reset,
  settings,
  SETTINGS_ACK,
  socketPair,
  windowUpdate,
} from "../support/http2/raw-peer.ts";

/** Knows what was held against it. */
class Counted extends LonelySource {
  offences = 0;
  readonly #most: number;

  constructor(most: number) {
    super();
    this.#most = most;
  }

  override mostStreams(): number {
    return this.#most;
  }

  override offended(_now?: number, weight = 1): void {
    this.offences += weight;
  }
}

function source(most = 100): Counted {
  return new Counted(most);
}

interface End {
  readonly peer: RawPeer;
  readonly requests: Requests;
}

async function connected(
  t: Test,
  from: Source,
  clock: FakeClock,
  limits: Partial<Http2Limits>,
): Promise<End> {
  const [accepted, dialled] = await socketPair();
  t.teardown(() => {
    accepted.destroy();
    dialled.destroy();
  });
  const requests = new Requests();
  serveHttp2(accepted, { clock, limits, info: INFO, source: from }, requests);
  const peer = new RawPeer(dialled, false);
  peer.send(PREFACE, settings(), SETTINGS_ACK);
  return { peer, requests };
}

const PING = frame(FrameType.PING, 0, 0, "12345678");

void t.test("a second connection has what the first has left", async (t) => {
  const clock = fakeClock();
  const from = source();
  const limits = { pingsPerSecond: 10 };
  const first = await connected(t, from, clock, limits);
  // To settle takes one itself.
  for (let count = 0; count < 9; count += 1) first.peer.send(PING);
  await first.peer.settle();
  const second = await connected(t, from, clock, limits);
  second.peer.send(PING);
  t.equal((await second.peer.goaway()).code, 11);
  t.equal(from.offences, 1);
  const other = await connected(t, source(), clock, limits);
  other.peer.send(PING);
  await other.peer.next(FrameType.PING);
  clock.advance(1000);
  first.peer.send(PING);
  await first.peer.settle();
  t.pass("another source, and the next second, have their own");
});

void t.test("connections by themselves are no nuisance", async (t) => {
  const clock = fakeClock();
  const from = source();
  const limits = { settingsPerSecond: 1, pingsPerSecond: 1 };
  for (let count = 0; count < 20; count += 1) {
    const { peer, requests } = await connected(t, from, clock, limits);
    peer.send(headers(1, GET));
    await requests.get();
  }
  t.equal(from.offences, 0);
});

void t.test("a violation is an offence, at once", async (t) => {
  const clock = fakeClock();
  const from = source();
  const { peer } = await connected(t, from, clock, {});
  peer.send(headers(1, GET), windowUpdate(1, 0));
  await peer.goaway();
  t.equal(from.offences, 1);
});

void t.test("silence, and a peer that is slow, are none", async (t) => {
  const clock = fakeClock();
  const from = source();
  const { peer } = await connected(t, from, clock, {});
  await peer.settle();
  peer.send(frame(FrameType.HEADERS, 0, 1, "ab"));
  for (let turn = 0; turn < 50; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
  for (let count = 0; count < 6; count += 1) clock.advance(5000);
  await peer.goaway();
  t.equal(from.offences, 0);
});

void t.test(
  "streams are counted over connections, and given back at every end",
  async (t) => {
    const clock = fakeClock();
    const from = source(3);
    const first = await connected(t, from, clock, {});
    first.peer.send(headers(1, GET), headers(3, GET));
    await first.requests.get(1);
    const second = await connected(t, from, clock, {});
    second.peer.send(headers(1, GET), headers(3, GET));
    t.equal(await second.peer.resetCode(3), 7, "REFUSED_STREAM");
    t.match(second.requests.refusals, [/^OVERLOADED: more than 3 streams/]);
    clock.advance(1000);
    first.peer.send(reset(1, 8));
    await first.peer.settle();
    second.requests.streams[0]?.respond(
      { status: 200, fields: [], contentLength: undefined },
      true,
    );
    await second.peer.next(FrameType.HEADERS, 1);
    t.equal(from.streams, 1);
    first.peer.socket.destroy();
    while (from.streams > 0)
      await new Promise((resolve) => setImmediate(resolve));
    t.equal(from.offences, 0, "old ones may go with their connection");
  },
);

void t.test(
  "requests that go with their connection are resets without a frame",
  async (t) => {
    const clock = fakeClock();
    const from = source();
    const limits = { resetsPerSecond: 10 };
    for (let round = 0; round < 3; round += 1) {
      const { peer, requests } = await connected(t, from, clock, limits);
      for (let id = 1; id < 61; id += 2) peer.send(headers(id, GET));
      await requests.get(29);
      peer.socket.destroy();
      while (from.streams > 0)
        await new Promise((resolve) => setImmediate(resolve));
    }
    t.equal(from.offences, 1 + 2 + 2, "20, 30 and 30 beyond the limit, by 25");
  },
);

void t.test("an identity's share is a multiple", (t) => {
  const from = new LonelySource(4);
  for (let count = 0; count < 40; count += 1)
    t.equal(excess(from, "resets", 10, 0), undefined);
  t.equal(excess(from, "resets", 10, 0), 40);
  t.equal(excess(from, "pings", 10, 0), undefined, "each kind by itself");
  t.equal(excess(from, "resets", 10, 1000), undefined, "the next second");
  t.end();
});
