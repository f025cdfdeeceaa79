/** What a peer can have open, owe and leave open is bounded (RFC 9113 5.1.2, 6.5.3, 10.5). */
import t from "tap";
import {
  ErrorCode,
  FrameType,
  PREFACE,
} from "../../../../src/wire/http2/frames/frames.ts";
import { serveHttp2 } from "../../../../src/wire/http2/server.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { INFO, OK, rawClient, Requests } from "../../../support/http2/ends.ts";
import {
  data,
  GET,
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  socketPair,
} from "../../../support/http2/raw-peer.ts";
import type { Http2Limit } from "../../../../src/wire/http2/limits.ts";

void t.test(
  "refuses streams above the limit, and takes others when there is room (5.1.2)",
  async (t) => {
    const { peer, requests, connection, limited } = await rawClient(t, {
      concurrentStreams: 2,
    });
    peer.send(headers(1, GET), headers(3, GET), headers(5, GET));
    t.equal(await peer.resetCode(5), ErrorCode.REFUSED_STREAM);
    t.equal(connection.active, 2);
    t.match(requests.refusals, [/^OVERLOADED/]);
    t.strictSame(limited, ["streams"]);
    requests.streams[0]?.respond(OK, true);
    peer.send(headers(7, GET));
    await requests.get(2);
  },
);

void t.test("SETTINGS must be acknowledged in time (6.5.3)", async (t) => {
  const [accepted, dialled] = await socketPair();
  t.teardown(() => dialled.destroy());
  const clock = fakeClock();
  const limited: Http2Limit[] = [];
  serveHttp2(
    accepted,
    { clock, info: INFO, onLimit: (limit) => limited.push(limit) },
    new Requests(),
  );
  const peer = new RawPeer(dialled, false);
  await peer.next(FrameType.SETTINGS);
  clock.advance(9999);
  peer.send(PREFACE, settings());
  await peer.settle();
  clock.advance(1);
  t.equal((await peer.goaway()).code, ErrorCode.SETTINGS_TIMEOUT);
  t.strictSame(limited, ["settings_ack"]);
  t.equal(clock.pending, 1, "only the timer of the closing socket");
  await peer.ended;
});

void t.test("a second acknowledgement means nothing", async (t) => {
  const { peer, clock } = await rawClient(t);
  peer.send(SETTINGS_ACK, SETTINGS_ACK);
  await peer.settle();
  t.equal(clock.pending, 1, "only the one that looks for what stands still");
});

void t.test(
  "a closing connection does not wait for ever for its peer",
  async (t) => {
    const { peer, clock, socket } = await rawClient(t);
    peer.socket.allowHalfOpen = true;
    peer.send(data(0, "x"));
    await peer.goaway();
    await peer.ended;
    t.equal(socket.destroyed, false);
    clock.advance(1000);
    t.equal(socket.destroyed, true);
  },
);
