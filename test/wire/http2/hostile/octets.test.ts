/** A connection that is told any octets: it goes on or ends by the rules, without a defect, and says little in return. */
import fc from "fast-check";
import t from "tap";
import type { ServerStream } from "../../../../src/wire/exchange.ts";
import { connectHttp2 } from "../../../../src/wire/http2/client.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { serveHttp2 } from "../../../../src/wire/http2/server.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { MemorySocket } from "../../../support/hostile/grammar-http1-readings.ts";
import {
  IGNORE,
  INFO,
  OK,
  Observer,
  Recorder,
  requestHead,
} from "../../../support/http2/ends.ts";
import {
  block,
  data,
  frame,
  GET,
  headers,
  POST,
  settings,
  SETTINGS_ACK,
} from "../../../support/http2/raw-peer.ts";

const SEED = Number(process.env["WHERRY_FUZZ_SEED"] ?? 20_260_101);
const CASES = Number(process.env["WHERRY_FUZZ_CASES"] ?? 10_000);

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((it) => Buffer.from(it)),
  fc.constantFrom(
    block(GET),
    block(POST),
    block([[":status", "200"]]),
    Buffer.from([0x82, 0x86, 0x84, 0x41, 1, 97]),
    Buffer.from([0, 0, 0, 8]),
    Buffer.from([0, 1, 0, 0, 0, 0]),
    Buffer.alloc(8),
  ),
);
const anyFrame = fc
  .tuple(
    fc.oneof(fc.constantFrom(0, 1, 1, 1, 3, 8, 9), fc.nat(10), fc.nat(255)),
    fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x20, 0x2d), fc.nat(255)),
    fc.oneof(fc.constantFrom(0, 1, 1, 3), fc.nat(7), fc.nat()),
    payload,
  )
  .map((parts) => frame(...parts));
const speech = fc.tuple(
  fc.array(
    fc.oneof(
      { weight: 8, arbitrary: anyFrame },
      {
        weight: 3,
        arbitrary: fc.constantFrom(
          headers(1, [[":status", "200"]], false),
          headers(1, [[":status", "103"]], false),
          headers(1, GET),
          headers(3, POST, false),
          data(1, "content"),
          data(3, "content", true),
        ),
      },
      {
        weight: 1,
        arbitrary: fc
          .uint8Array({ maxLength: 30 })
          .map((it) => Buffer.from(it)),
      },
    ),
    { maxLength: 12 },
  ),
  fc.array(fc.nat(60), { maxLength: 6 }),
);

/** Says it all, cut at these places. */
function say(
  socket: MemorySocket,
  frames: readonly Buffer[],
  cuts: readonly number[],
): void {
  let rest = Buffer.concat(frames);
  for (const cut of cuts) {
    socket.receive(rest.subarray(0, cut));
    rest = rest.subarray(cut);
  }
  socket.receive(rest);
}

function answer(stream: ServerStream): void {
  stream.receive(IGNORE);
  stream.respond(OK, false);
  stream.write(Buffer.from("answer"));
  stream.end();
}

const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(resolve));

void t.test("a server", async (t) => {
  const outcomes = new Set<string>();
  await fc.assert(
    fc.asyncProperty(speech, async ([frames, cuts]) => {
      const socket = new MemorySocket();
      const clock = fakeClock();
      const refusals: string[] = [];
      const connection = serveHttp2(
        socket,
        { clock, info: INFO },
        { request: answer, refused: (code) => refusals.push(code) },
      );
      socket.receive(Buffer.concat([PREFACE, settings(), SETTINGS_ACK]));
      say(socket, frames, cuts);
      await turn();
      await turn();
      connection.destroy();
      await turn();
      for (const code of refusals) outcomes.add(code);
      return (
        !refusals.includes("INTERNAL") &&
        connection.active === 0 &&
        clock.pending === 0 &&
        socket.sent.length < 4000
      );
    }),
    { seed: SEED, numRuns: CASES },
  );
  t.ok(outcomes.has("BAD_REQUEST"), "some were refused");
});

void t.test("a client", async (t) => {
  let aborted = 0;
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(speech, async ([frames, cuts]) => {
      const socket = new MemorySocket();
      const clock = fakeClock();
      const connection = connectHttp2(socket, { clock }, new Observer());
      const recorder = new Recorder();
      connection.request(requestHead(), true, recorder);
      socket.receive(Buffer.concat([settings(), SETTINGS_ACK]));
      say(socket, frames, cuts);
      await turn();
      await turn();
      connection.destroy();
      await turn();
      if (recorder.events.includes("abort")) aborted += 1;
      if (recorder.events.includes("head")) answered += 1;
      return (
        recorder.error?.code !== "INTERNAL" &&
        connection.active === 0 &&
        clock.pending === 0
      );
    }),
    { seed: SEED, numRuns: CASES },
  );
  t.ok(aborted > 0 && answered > 0, `${aborted} aborted, ${answered} answered`);
});
