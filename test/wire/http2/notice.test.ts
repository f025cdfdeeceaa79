// NOTICE, the one frame type of our own (RFC 9113 5.5): told to the client's owner, skipped by everybody else.
import type { Socket } from "node:net";
import t, { type Test } from "tap";
import { FrameType } from "../../../src/wire/http2/frames/frames.ts";
import { connectHttp2 } from "../../../src/wire/http2/client.ts";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import type { Notifier } from "../../../src/wire/exchange.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { INFO, OK, Recorder, requestHead } from "../../support/http2/ends.ts";
import { frame, socketPair } from "../../support/http2/raw-peer.ts";

async function sockets(t: Test): Promise<[Socket, Socket]> {
  const pair = await socketPair();
  t.teardown(() => {
    for (const socket of pair) socket.destroy();
  });
  return pair;
}

void t.test("is of a type that HTTP leaves to experiments", (t) => {
  // RFC 7540 11.2; RFC 9113 keeps the registry.
  const experimental = Array.from({ length: 16 }, (_, index) => 0xf0 + index);
  t.ok(experimental.includes(FrameType.NOTICE));
  t.end();
});

void t.test(
  "a server's notice reaches the owner of the client's connection, until that ends",
  async (t) => {
    const clock = fakeClock();
    const [near, far] = await sockets(t);
    const heard: string[] = [];
    const noticed = new Promise<void>((resolve) => {
      const client = connectHttp2(
        near,
        { clock },
        {
          available: () => undefined,
          draining: () => undefined,
          closed: () => undefined,
          noticed(payload) {
            heard.push(payload.toString());
            if (heard.length === 2) resolve();
          },
        },
      );
      const recorder = new Recorder();
      client.request(requestHead(), true, recorder);
    });
    const notifier = await new Promise<Notifier | undefined>((resolve) => {
      serveHttp2(
        far,
        { clock, info: INFO },
        {
          request(stream) {
            stream.notifier?.notify(Buffer.from("one"));
            stream.respond(OK, true);
            stream.notifier?.notify(Buffer.from("two"));
            resolve(stream.notifier);
          },
        },
      );
    });
    await noticed;
    t.strictSame(heard, ["one", "two"]);
    near.destroy();
    await new Promise((resolve) => far.once("close", resolve));
    t.equal(notifier?.notify(Buffer.from("three")), false);
  },
);

void t.test(
  "a notice on a stream, or of too many octets, is skipped",
  async (t) => {
    const clock = fakeClock();
    const [near, far] = await sockets(t);
    const heard: string[] = [];
    const noticed = new Promise<void>((resolve) => {
      connectHttp2(
        near,
        { clock },
        {
          available: () => undefined,
          draining: () => undefined,
          closed: () => undefined,
          noticed(payload) {
            heard.push(payload.toString());
            resolve();
          },
        },
      );
    });
    far.write(
      Buffer.concat([
        frame(FrameType.SETTINGS, 0, 0),
        frame(FrameType.NOTICE, 0, 1, "on a stream"),
        frame(FrameType.NOTICE, 0, 0, Buffer.alloc(257)),
        frame(FrameType.NOTICE, 0xff, 0, "heard"),
      ]),
    );
    await noticed;
    t.strictSame(heard, ["heard"]);
  },
);
