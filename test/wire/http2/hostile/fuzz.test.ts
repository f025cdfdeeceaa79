/** Frames at random: whatever a peer sends, the connection goes on or ends by the rules, and nothing is left behind. */
import t from "tap";
import type { MeshError } from "../../../../src/mesh/errors.ts";
import { MeshError as Failure } from "../../../../src/mesh/errors.ts";
import type { ServerStream } from "../../../../src/wire/exchange.ts";
import { ErrorCode } from "../../../../src/wire/http2/frames/frames.ts";
import { seededRandom } from "../../../support/clocks/fake-clock.ts";
import { fields, OK, rawClient } from "../../../support/http2/ends.ts";
import {
  block,
  data,
  frame,
  GET,
  headers,
  POST,
  settings,
  uint32,
  windowUpdate,
} from "../../../support/http2/raw-peer.ts";

const BLOCKS = [
  block(GET),
  block(POST),
  block([["x", "1"]]),
  Buffer.from([0x82, 0x86, 0xbe]),
];

/** Types of frame, the harmless ones more often. */
const TYPES = [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 8, 8, 8];

/** A frame that is mostly well formed, so that most of them get beyond the first check. */
function randomFrame(pick: (below: number) => number): Buffer {
  const id = 2 * pick(12) + 1;
  if (pick(60) === 0) {
    const octets = Array.from({ length: pick(60) }, () => pick(256));
    return frame(pick(256), pick(256), pick(30), Buffer.from(octets));
  }
  const type = TYPES[pick(TYPES.length)] ?? 0;
  const ends = pick(8) === 0 ? 1 : 0;
  switch (type) {
    case 1:
      return frame(type, 4 | ends, id, BLOCKS[pick(BLOCKS.length)]);
    case 2:
      return frame(
        type,
        0,
        id,
        Buffer.concat([uint32(pick(9)), Buffer.alloc(1)]),
      );
    case 3:
      return frame(type, 0, id, uint32(pick(14)));
    case 4:
      return settings([1 + pick(4), pick(2) === 0 ? pick(2) : pick(70_000)]);
    case 6:
      return frame(type, pick(2), 0, "12345678");
    case 8:
      return windowUpdate(pick(2) * id, pick(100_000));
    default:
      return data(id, Buffer.alloc(pick(3000)), ends === 1);
  }
}

/** Answers in all manners, right ones and odd ones. */
function answerAtRandom(
  stream: ServerStream,
  pick: (below: number) => number,
): void {
  const steps = [
    (): void => stream.respond(OK, pick(2) === 0),
    (): void => stream.informational({ ...OK, status: 103 }),
    (): void => void stream.write(Buffer.alloc(pick(100_000))),
    (): void => stream.end(pick(2) === 0 ? fields("x: 1") : undefined),
    (): void => stream.pause(),
    (): void => stream.resume(),
    (): void => stream.abort(new Failure("DENIED", "", { source: "proxy" })),
  ];
  const act = (): void => steps[pick(steps.length)]?.();
  stream.receive({
    data: act,
    end: act,
    abort: (_error: MeshError) => act(),
    drained: act,
  });
  for (let i = pick(5); i > 0; i--) act();
}

void t.test("150 connections of random frames", async (t) => {
  let ended = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const random = seededRandom(seed);
    const pick = (below: number): number => Math.floor(random() * below);
    const { peer, requests, connection } = await rawClient(t);
    requests.onRequest = (stream) => answerAtRandom(stream, pick);
    for (let id = 1; id < 24; id += 2) peer.send(headers(id, POST, false));
    for (let i = 0; i < 30; i++) peer.send(randomFrame(pick));
    let code: number = ErrorCode.NO_ERROR;
    try {
      await peer.settle();
    } catch {
      ended += 1;
      code = (await peer.goaway()).code;
      t.not(code, ErrorCode.NO_ERROR, `seed ${seed}`);
    }
    t.not(code, ErrorCode.INTERNAL_ERROR, `seed ${seed}: no defect`);
    connection.destroy();
    t.equal(connection.active, 0);
    await peer.ended;
  }
  t.comment(`${ended} of 150 were ended by us`);
  t.ok(ended > 10 && ended < 150, "both outcomes were seen");
});
