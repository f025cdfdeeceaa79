/** Bodies in frames and chunks of one byte: they reach the application together, a stream of them is cut off, and nothing honest waits. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { closeCalls, eventually } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";
import { frame } from "../../../support/hostile/attacks.ts";

const [DATA, HEADERS, SETTINGS, WINDOW_UPDATE] = [0, 1, 4, 8];
const END_HEADERS = 4;
const POST = Buffer.from("\x83\x86\x84\x01\x0borders.shop", "latin1");
const CHUNKED =
  "POST / HTTP/1.1\r\nHost: orders.shop\r\nTransfer-Encoding: chunked\r\n\r\n";

/** What the application was given: in how many pieces, how much. */
let requests = 0;
let pieces = 0;
let octets = 0;
const sidecar = await startLoneSidecar((request, response) => {
  requests += 1;
  request.on("data", (chunk: Buffer) => {
    pieces += 1;
    octets += chunk.length;
  });
  request.on("error", () => undefined);
  request.on("end", () => response.end("ok"));
});
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

let host = 2;
/** From an address of its own, for each counts by itself. */
function attacker(): Promise<{ readonly socket: Socket; heard: string }> {
  requests = 0;
  pieces = 0;
  octets = 0;
  const localAddress = `127.0.0.${host++}`;
  return new Promise((resolve) => {
    const socket = connect(
      { port: sidecar.published, host: "127.0.0.1", localAddress },
      () => resolve(made),
    );
    const made = { socket, heard: "" };
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    socket.on(
      "data",
      (chunk: Buffer) => (made.heard += chunk.toString("latin1")),
    );
    t.teardown(() => socket.destroy());
  });
}

/** The application has the heads: what comes now is passed on as it comes. */
const begun = (count: number): Promise<number> =>
  eventually(
    "requests",
    5000,
    () => Promise.resolve(requests),
    (there) => there >= count,
  );
const arrived = (count: number): Promise<number> =>
  eventually(
    `${count} octets`,
    5000,
    () => Promise.resolve(octets),
    (there) => there >= count,
  );

void t.test("9,000 DATA frames of a byte at once", async (t) => {
  const { socket } = await attacker();
  socket.write(
    Buffer.concat([
      PREFACE,
      frame(SETTINGS, 0, 0),
      frame(HEADERS, END_HEADERS, 1, POST),
    ]),
  );
  await begun(1);
  socket.write(
    Buffer.concat(
      Array<Buffer>(9000).fill(frame(DATA, 0, 1, Buffer.from("x"))),
    ),
  );
  await arrived(9000);
  t.ok(pieces < 200, `the application got ${pieces} pieces`);
});

void t.test(
  "300 DATA frames of a byte on each of 30 streams in turn",
  async (t) => {
    const { socket } = await attacker();
    const ids = Array.from({ length: 30 }, (_, at) => 2 * at + 1);
    socket.write(
      Buffer.concat([
        PREFACE,
        frame(SETTINGS, 0, 0),
        ...ids.map((id) => frame(HEADERS, END_HEADERS, id, POST)),
      ]),
    );
    await begun(30);
    const round = Buffer.concat(
      ids.map((id) => frame(DATA, 0, id, Buffer.from("x"))),
    );
    socket.write(Buffer.concat(Array<Buffer>(300).fill(round)));
    await arrived(9000);
    t.ok(pieces < 30 * 20, `the application got ${pieces} pieces`);
  },
);

void t.test("a stream of DATA frames of a byte is cut off", async (t) => {
  const { socket } = await attacker();
  socket.write(
    Buffer.concat([
      PREFACE,
      frame(SETTINGS, 0, 0),
      frame(WINDOW_UPDATE, 0, 0, Buffer.from([0, 15, 0, 0])),
      frame(HEADERS, END_HEADERS, 1, POST),
      ...Array<Buffer>(45_000).fill(frame(DATA, 0, 1, Buffer.from("x"))),
    ]),
  );
  await eventually(
    "the end of the connection, or all of it at the application",
    10_000,
    () =>
      Promise.resolve(
        socket.destroyed || socket.readableEnded || octets === 45_000,
      ),
    (ended) => ended,
  );
  t.ok(octets <= 10_001, `${octets} of 45,000 frames reached the application`);
  t.ok(
    (await sidecar.metric("wherry_limits_total", 'limit="tiny_data"')) >= 1,
    "it is counted",
  );
});

void t.test("a stream of chunks of a byte is cut off", async (t) => {
  const made = await attacker();
  made.socket.write(CHUNKED + "1\r\nx\r\n".repeat(45_000));
  await eventually(
    "an answer, or all of it at the application",
    10_000,
    () => Promise.resolve(made.heard !== "" || octets === 45_000),
    (ended) => ended,
  );
  t.match(made.heard, /^HTTP\/1\.1 503 .*x-wherry-reason: OVERLOADED/s);
  t.ok(octets <= 10_001, `${octets} of 45,000 chunks reached the application`);
  t.ok(
    (await sidecar.metric("wherry_limits_total", 'limit="tiny_chunks"')) >= 1,
    "it is counted",
  );
});

void t.test(
  "small messages, one after the other, wait for nothing",
  async (t) => {
    const { socket } = await attacker();
    socket.write(
      Buffer.concat([
        PREFACE,
        frame(SETTINGS, 0, 0),
        frame(HEADERS, END_HEADERS, 1, POST),
      ]),
    );
    for (let count = 1; count <= 50; count += 1) {
      socket.write(frame(DATA, 0, 1, Buffer.from("x")));
      await arrived(count);
    }
    t.equal(pieces, 50);
  },
);
