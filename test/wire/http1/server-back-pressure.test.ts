/** Back-pressure of the server codec, both ways: what is queued is bounded by the reader's pace. */
import t from "tap";
import { Buffers } from "../../../src/wire/buffers.ts";
import {
  receive,
  responseHead,
  serverSide,
} from "../../support/http1/harness.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = (length: number): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(resolve));

void t.test("back-pressure", async (t) => {
  await t.test(
    "a paused request is not read; its caller feels it",
    async (t) => {
      const side = await serverSide(t);
      side.peer.send(POST(10_000_000));
      const stream = await side.request(0);
      const request = receive(stream);
      stream.pause();
      stream.pause();
      const sent = side.peer.socket.write(Buffer.alloc(10_000_000, "x"));
      t.equal(sent, false);
      await turn();
      await turn();
      t.equal(request.body.length, 0);
      t.ok(side.socket.isPaused());
      stream.resume();
      stream.resume();
      t.equal((await request.done()).body.length, 10_000_000);
    },
  );
  await t.test(
    "before there is a receiver at most a read is held",
    async (t) => {
      const side = await serverSide(t);
      side.peer.send(`${POST(5_000_000)}x`);
      const stream = await side.request(0);
      t.equal(side.peer.socket.write(Buffer.alloc(4_999_999, "x")), false);
      for (let count = 0; count < 20; count += 1) await turn();
      t.ok(side.socket.isPaused());
      t.ok(side.socket.bytesRead < 500_000);
      t.equal((await receive(stream).done()).body.length, 5_000_000);
    },
  );
  await t.test(
    "write says when enough is queued, and drained when there is room",
    async (t) => {
      const side = await serverSide(t);
      side.peer.send(GET);
      side.peer.socket.pause();
      const stream = await side.request(0);
      const request = receive(stream);
      stream.respond(responseHead(200), false);
      const chunk = Buffer.alloc(60_000, "x");
      let written = 0;
      while (stream.write(chunk)) written += 1;
      t.ok(written < 1000, "bounded");
      t.ok(side.socket.writableLength >= side.socket.writableHighWaterMark);
      t.equal(request.drains, 0);
      side.peer.socket.resume();
      await request.signal.until(() => request.drains === 1);
      t.equal(stream.write(chunk), true);
      stream.end();
      await side.peer.until("0\r\n\r\n");
    },
  );
  await t.test(
    "room that came before the receiver is told to it",
    async (t) => {
      const side = await serverSide(t);
      side.peer.send(GET);
      side.peer.socket.pause();
      const stream = await side.request(0);
      stream.respond(responseHead(200), false);
      while (stream.write(Buffer.alloc(60_000)));
      const drained = new Promise((resolve) =>
        side.socket.once("drain", resolve),
      );
      side.peer.socket.resume();
      await drained;
      t.equal(receive(stream).drains, 1);
    },
  );
});

void t.test("where the proxy holds much", async (t) => {
  await t.test(
    "write says so after less, and drained still comes",
    async (t) => {
      const buffers = new Buffers(1e9);
      buffers.change(5e8 - 128 * 1000);
      const side = await serverSide(t, { buffers });
      side.peer.send(GET);
      side.peer.socket.pause();
      const request = receive(await side.request(0));
      const [stream] = side.streams;
      stream?.respond(responseHead(200), false);
      while (stream?.write(Buffer.alloc(3000, "x")) === true) await turn();
      t.ok(
        side.socket.writableLength < 10_000,
        `${side.socket.writableLength}`,
      );
      t.equal(buffers.held, 5e8 - 128 * 1000 + side.socket.writableLength);
      side.peer.socket.resume();
      await request.signal.until(() => request.drains === 1);
      await turn();
      t.equal(buffers.held, 5e8 - 128 * 1000);
    },
  );
  await t.test(
    "half a head is read no further until there is room",
    async (t) => {
      const buffers = new Buffers(1e9);
      buffers.change(5e8);
      const side = await serverSide(t, { buffers });
      side.peer.send("GET / HTTP/1.1\r\n");
      while (!side.socket.isPaused()) await turn();
      side.peer.send("Host: a\r\n\r\n");
      for (let count = 0; count < 20; count += 1) await turn();
      t.equal(side.streams.length, 0);
      buffers.change(-5e8);
      await side.request(0);
      t.equal(buffers.held, 0);
    },
  );
});
