/** The orderly end of a server's connection (RFC 9113 6.8). */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../src/wire/http2/frames/frames.ts";
import { once } from "node:events";
import { Buffers } from "../../../src/wire/buffers.ts";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  bothEnds,
  IGNORE,
  OK,
  rawClient,
  rawServer,
  Recorder,
  requestHead,
} from "../../support/http2/ends.ts";
import {
  data,
  frame,
  GET,
  goaway,
  headers,
  POST,
  windowUpdate,
} from "../../support/http2/raw-peer.ts";

const LAST = 2 ** 31 - 1;

void t.test(
  "drain: GOAWAY twice, a round trip apart; streams are finished, later ones ignored",
  async (t) => {
    const { peer, requests, connection } = await rawClient(t);
    peer.send(headers(1, GET));
    const first = await requests.get();
    connection.drain();
    connection.drain();
    t.match(await peer.goaway(), { last: LAST, code: ErrorCode.NO_ERROR });
    const ping = await peer.next(FrameType.PING);
    // On its way when the first GOAWAY came: still served.
    peer.send(headers(3, GET));
    const second = await requests.get(1);
    peer.send(frame(FrameType.PING, Flag.ACK, 0, ping.payload));
    t.match(await peer.goaway(), { last: 3, code: ErrorCode.NO_ERROR });
    peer.send(headers(5, POST, false), data(5, "x"), goaway(0));
    await peer.settle();
    t.equal(requests.streams.length, 2);
    first.respond(OK, true);
    await peer.next(FrameType.HEADERS, 1);
    second.respond(OK, false);
    second.write(Buffer.from("bye"));
    second.end();
    t.equal((await peer.next(FrameType.DATA, 3)).payload.toString(), "bye");
    await peer.ended;
  },
);

void t.test(
  "drain of an idle connection ends it after the round trip",
  async (t) => {
    const { peer, connection, clock } = await rawClient(t);
    await peer.settle();
    connection.drain();
    const ping = await peer.next(FrameType.PING);
    peer.send(frame(FrameType.PING, Flag.ACK, 0, ping.payload));
    t.match(await peer.goaway(), { last: 0 });
    await peer.ended;
    clock.advance(5000);
    t.equal(clock.pending, 0);
  },
);

void t.test(
  "drain does not wait for ever for a peer that does not answer the PING",
  async (t) => {
    const { peer, connection, clock } = await rawClient(t);
    await peer.settle();
    connection.drain();
    await peer.next(FrameType.PING);
    clock.advance(1000);
    t.match(await peer.goaway(), { last: 0 });
    await peer.ended;
  },
);

void t.test("a peer that is given longer is served for as long", async (t) => {
  const { peer, requests, connection, clock } = await rawClient(t);
  await peer.settle();
  connection.drain(5000);
  t.match(await peer.goaway(), { last: LAST });
  clock.advance(4999);
  peer.send(headers(1, GET));
  (await requests.get()).respond(OK, true);
  await peer.next(FrameType.HEADERS, 1);
  clock.advance(1);
  t.match(await peer.goaway(), { last: 1, code: ErrorCode.NO_ERROR });
  await peer.ended;
});

void t.test(
  "a request that came while this thread stood still is served",
  async (t) => {
    const { peer, requests, connection, clock } = await rawClient(t);
    await peer.settle();
    connection.drain();
    await peer.next(FrameType.PING);
    // It has arrived, and sockets are read after timers.
    setImmediate(() => {
      peer.send(headers(1, GET));
      clock.advance(1000);
    });
    const stream = await requests.get();
    t.match(await peer.goaway(), { last: 1 });
    stream.respond(OK, true);
    await peer.next(FrameType.HEADERS, 1);
    await peer.ended;
  },
);

void t.test(
  "an error while draining does not raise the last stream again",
  async (t) => {
    const { peer, connection, requests } = await rawClient(t);
    peer.send(headers(1, GET));
    await requests.get();
    connection.drain();
    const ping = await peer.next(FrameType.PING);
    peer.send(frame(FrameType.PING, Flag.ACK, 0, ping.payload));
    t.match(await peer.goaway(), { last: 1 });
    peer.send(headers(9, GET), data(0, "x"));
    t.match(await peer.goaway(), { last: 1, code: ErrorCode.PROTOCOL_ERROR });
  },
);

void t.test(
  "our client goes along: it finishes, opens nothing, and is told",
  async (t) => {
    const { client, server, requests, observer } = await bothEnds(t);
    const recorder = new Recorder();
    client.request(requestHead(), true, recorder);
    const stream = await requests.get();
    server.drain();
    await observer.until("draining");
    t.equal(client.capacity, 0);
    stream.respond(OK, true);
    await recorder.until("end");
    await observer.until("closed");
    t.equal(observer.error, undefined);
    t.equal(server.active, 0);
  },
);

/** Writes until the kernel takes no more. */
async function fill(sink: { write(chunk: Buffer): boolean }): Promise<void> {
  for (let full = 0; full < 20;) {
    if (!sink.write(Buffer.alloc(65_536))) full += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

void t.test(
  "a drained connection whose peer does not read ends all the same",
  async (t) => {
    const wide = [[4, LAST]] as [number, number][];
    const all = windowUpdate(0, LAST - 65_535);
    const buffers = new Buffers(64 * 1_048_576);
    const client = await rawServer(t, {}, wide, undefined, buffers);
    client.peer.send(all);
    await client.peer.settle();
    const server = await rawClient(t, {}, wide, buffers);
    server.peer.send(all, headers(1, GET));
    const response = await server.requests.get();
    response.receive(IGNORE);
    await server.peer.settle();
    response.respond(OK, false);
    const post = requestHead({ method: "POST" });
    const request = client.connection.request(post, false, new Recorder());
    for (const [{ peer, connection, socket, clock }, stream] of [
      [client, request],
      [server, response],
    ] as const) {
      peer.socket.pause();
      await fill(stream);
      connection.drain();
      clock.advance(1000);
      stream.abort(new MeshError("INTERNAL", "", { source: "proxy" }));
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(59_000);
      t.notOk(socket.destroyed, "it may read yet");
      clock.advance(1000);
      t.ok(socket.destroyed);
      await once(socket, "close");
      t.equal(clock.pending, 0);
    }
    t.equal(buffers.held, 0);
  },
);
