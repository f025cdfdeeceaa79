/** Heads that are sixty kilobytes for a hundred bytes, within every limit of a list: none reaches the application, and an honest head does. */
import { connect } from "node:net";
import t from "tap";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { closeCalls, eventually } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";
import { frame } from "../../../support/hostile/attacks.ts";

const [HEADERS, SETTINGS] = [1, 4];
const END = 5;
const REQUEST = Buffer.from("\x82\x86\x84\x01\x0borders.shop", "latin1");

let reached = 0;
let fields = 0;
const sidecar = await startLoneSidecar((request, response) => {
  reached += 1;
  fields += Object.keys(request.headers).length;
  response.end("ok");
});
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

/** RFC 7541 5.1 with a prefix of seven bits. */
function length(size: number): Buffer {
  if (size < 127) return Buffer.from([size]);
  const rest = size - 127;
  return rest < 128
    ? Buffer.from([127, rest])
    : Buffer.from([127, (rest & 127) | 128, rest >> 7]);
}

/** A literal that goes into the table (6.2.1). */
function entry(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0x40]),
    length(name.length),
    Buffer.from(name),
    length(value.length),
    Buffer.from(value),
  ]);
}

/** Sends heads, each on a stream of its own, and waits for the end, or for all heads to arrive, or for so many bytes that come back; what came back. */
function send(
  localAddress: string,
  blocks: readonly Buffer[],
  most: number,
): Promise<number> {
  reached = 0;
  fields = 0;
  const socket = connect({
    port: sidecar.published,
    host: "127.0.0.1",
    localAddress,
  });
  let heard = 0;
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => (heard += chunk.length));
  socket.write(
    Buffer.concat([
      PREFACE,
      frame(SETTINGS, 0, 0),
      ...blocks.map((block, at) => frame(HEADERS, END, 2 * at + 1, block)),
    ]),
  );
  return eventually(
    "answers, or the end",
    10_000,
    () => Promise.resolve(heard),
    (octets) =>
      socket.destroyed ||
      socket.readableEnded ||
      reached >= blocks.length ||
      octets > most,
  ).finally(() => socket.destroy());
}

const BOMBS: Readonly<Record<string, readonly [first: Buffer, next: Buffer]>> =
  {
    "one field of 600 octets, 90 times": [
      entry("x", "v".repeat(600)),
      Buffer.alloc(90, 0xbe),
    ],
    "one name of 600 octets, 90 times": [
      entry("n".repeat(600), "v"),
      Buffer.concat(Array<Buffer>(90).fill(Buffer.from([0x0f, 0x2f, 1, 0x76]))),
    ],
    "a cookie of 600 octets, 90 times": [
      entry("cookie", `a=${"v".repeat(600)}`),
      Buffer.alloc(90, 0xbe),
    ],
  };

let host = 2;
for (const [what, [first, next]] of Object.entries(BOMBS))
  void t.test(`a bomb of ${what}`, async (t) => {
    const blocks = [
      Buffer.concat([REQUEST, first]),
      ...Array<Buffer>(50).fill(Buffer.concat([REQUEST, next])),
    ];
    await send(`127.0.0.${host++}`, blocks, 1500);
    const limited = await sidecar.metric(
      "wherry_limits_total",
      'limit="header_list"',
    );
    t.ok(limited >= 1, "the connection was ended");
    t.ok(reached <= 1, `${reached} heads reached the application`);
  });

void t.test(
  "twenty fields of an honest caller, from the table each time",
  async (t) => {
    const entries = Array.from({ length: 20 }, (_, at) =>
      entry(`x-field-${at}`, "v".repeat(120)),
    );
    // The last that came is 62.
    const again = Buffer.from(entries.map((_, at) => 0x80 + 62 + at));
    const blocks = [
      Buffer.concat([REQUEST, ...entries]),
      ...Array<Buffer>(100).fill(Buffer.concat([REQUEST, again])),
    ];
    await send(`127.0.0.${host++}`, blocks, Infinity);
    t.equal(reached, 101);
    t.ok(fields >= 101 * 20, `${fields} fields`);
  },
);
