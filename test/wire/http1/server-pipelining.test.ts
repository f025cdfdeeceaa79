/** Requests sent ahead: one at a time, in order, bounded (RFC 9112 9.3.2). */
import t from "tap";
import { Buffers } from "../../../src/wire/buffers.ts";
import { answer, receive, serverSide } from "../../support/http1/harness.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = (length: number): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
const CHUNKED =
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

void t.test("the first bytes count as received first", async (t) => {
  const bytes = POST(4) + "abcd" + GET;
  const side = await serverSide(t, {
    firstBytes: Buffer.from(bytes.slice(0, 20)),
  });
  side.peer.send(bytes.slice(20));
  const request = await receive(await side.request(0)).done();
  t.equal(request.body, "abcd");
  const whole = await serverSide(t, { firstBytes: Buffer.from(GET) });
  answer(await whole.request(0), 204);
  await whole.peer.until("204");
});

void t.test(
  "pipelined requests are handed over one at a time and answered in order",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(`${GET}${POST(3)}abc${CHUNKED}1\r\nx\r\n0\r\n\r\n${GET}`);
    for (const index of [0, 1, 2, 3]) {
      const stream = await side.request(index);
      const request = receive(stream);
      if (!stream.ended) await request.done();
      t.equal(side.streams.length, index + 1, "the next one waits");
      answer(stream, 200, `answer ${index};`);
    }
    await side.peer.until("answer 3;");
    const order = [...side.peer.received.matchAll(/answer \d;/g)].map(String);
    t.strictSame(order, ["answer 0;", "answer 1;", "answer 2;", "answer 3;"]);
  },
);

void t.test(
  "ten thousand pipelined requests, answered at once, do not exhaust the stack",
  async (t) => {
    const side = await serverSide(t, {
      onRequest: (stream) => answer(stream, 204),
    });
    side.peer.send(GET.repeat(10_000));
    await side.signal.until(() => side.streams.length === 10_000);
    await side.peer.signal.until(
      () => side.peer.received.split("204 No").length === 10_001,
    );
    t.pass("all answered");
  },
);

void t.test(
  "requests sent ahead are held up to a bound, then the connection is read no further",
  async (t) => {
    const side = await serverSide(t, { limits: { pipelinedBytes: 10_000 } });
    side.peer.send(GET);
    const stream = await side.request(0);
    const filler = `GET /${"a".repeat(900)} HTTP/1.1\r\nHost: a\r\n\r\n`;
    let blocked = false;
    side.peer.socket.on("drain", () => (blocked = false));
    for (let turn = 0; turn < 20_000 && !blocked; turn += 1) {
      blocked = !side.peer.socket.write(filler);
      if (turn % 50 === 0)
        await new Promise((resolve) => setImmediate(resolve));
    }
    t.ok(blocked, "the caller feels the back-pressure");
    t.ok(side.socket.isPaused());
    t.ok(side.socket.bytesRead < 400_000, `${side.socket.bytesRead} were read`);
    answer(stream, 204);
    answer(await side.request(1), 200, "second");
    await side.peer.until("second");
  },
);

void t.test(
  "one empty line before a request is ignored (RFC 9112 2.2)",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(`\r\n${GET}`);
    answer(await side.request(0), 204);
    side.peer.send("\r");
    await new Promise((resolve) => setImmediate(resolve));
    side.peer.send(`\n${GET}`);
    answer(await side.request(1), 204);
    await side.peer.signal.until(
      () => side.peer.received.split("204").length === 3,
    );
    t.equal(side.refusals.length, 0);
  },
);

void t.test(
  "requests sent ahead wait where nobody reads the responses before them, and all are answered in the end",
  async (t) => {
    const buffers = new Buffers(1e9);
    const body = "x".repeat(60_000);
    const side = await serverSide(t, {
      buffers,
      onRequest: (stream) => answer(stream, 200, body),
    });
    side.peer.socket.pause();
    side.peer.send(GET.repeat(1000));
    await until(() => side.socket.writableLength > 0);
    // The kernel takes some megabytes before anything waits here.
    for (let turns = 0; turns < 100; turns += 1)
      await new Promise((resolve) => setImmediate(resolve));
    t.ok(side.streams.length < 500, `${side.streams.length} are answered`);
    // One gathered write, and what came before it was seen that nobody takes it.
    t.ok(side.socket.writableLength < 400_000);
    t.ok(buffers.held >= side.socket.writableLength, "what waits is counted");
    side.peer.socket.resume();
    await side.signal.until(() => side.streams.length === 1000);
    side.peer.socket.destroy();
    await side.closed;
    t.equal(buffers.held, 0);
  },
);

void t.test(
  "where room is short, what is not taken for a second is closed: half a head, or whole responses",
  async (t) => {
    const half = await serverSide(t);
    half.peer.send("GET / HTTP/1.1\r\nHost: a\r\n");
    await until(() => half.socket.bytesRead > 0);
    t.equal(half.connection.shed(1000, 1), 0);
    half.clock.advance(1000);
    t.equal(half.connection.shed(1000, 1), 1);
    await half.peer.until("HTTP/1.1 408");

    const whole = await serverSide(t, {
      onRequest: (stream) => answer(stream, 200, "x".repeat(10_000_000)),
    });
    whole.peer.socket.pause();
    whole.peer.send(GET);
    await until(() => whole.socket.writableLength > 0);
    t.equal(whole.connection.shed(1000, 1), 0, "the first look");
    whole.clock.advance(1000);
    t.equal(whole.connection.shed(1000, 1), 1);
    t.ok(whole.socket.destroyed);

    const idle = await serverSide(t);
    idle.clock.advance(1000);
    t.equal(idle.connection.shed(0, 1), 0);
    idle.clock.advance(1000);
    t.equal(idle.connection.shed(0, 1), 0, "nothing of it waits");
  },
);
