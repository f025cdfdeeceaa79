/** How server connections and exchanges end: aborts, half-close, time-outs, back-pressure (RFC 9112 8, 9). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  answer,
  receive,
  responseHead,
  serverSide,
} from "../../support/http1/harness.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = (length: number): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
const CHUNKED =
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const ABORT = new MeshError("UPSTREAM_RESET", "", { source: "upstream" });
const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(resolve));

void t.test(
  "a caller that closes its half before its answer is whole has gone: the exchange is aborted (decision 012)",
  async (t) => {
    await t.test("before the answer begins", async (t) => {
      const side = await serverSide(t);
      side.peer.send(GET);
      const request = receive(await side.request(0));
      side.peer.socket.end();
      t.match(await request.aborted(), {
        code: "CLIENT_CLOSED",
        source: "downstream",
      });
      t.equal(await side.peer.all(), "");
      await side.closed;
      t.equal(side.connection.active, 0);
    });
    await t.test(
      "within the answer, which is then seen to be cut off",
      async (t) => {
        const rows = [
          [GET, "3\r\nabc\r\n", undefined],
          // Its end would be taken for the end of the body.
          ["GET / HTTP/1.0\r\n\r\n", "abc", "ECONNRESET"],
        ] as const;
        for (const [bytes, body, error] of rows) {
          const side = await serverSide(t);
          side.peer.send(bytes);
          const stream = await side.request(0);
          const request = receive(stream);
          stream.respond(responseHead(200), false);
          stream.write(Buffer.from("abc"));
          await side.peer.until(`\r\n\r\n${body}`);
          side.peer.socket.end();
          t.equal((await request.aborted()).code, "CLIENT_CLOSED");
          await side.peer.gone();
          t.ok(side.peer.received.endsWith(body));
          t.equal(side.peer.error, error);
        }
      },
    );
    await t.test("requests that it had sent ahead go with it", async (t) => {
      const side = await serverSide(t);
      side.peer.send(GET + GET);
      const request = receive(await side.request(0));
      side.peer.socket.end();
      await request.aborted();
      await side.closed;
      t.equal(side.streams.length, 1);
    });
  },
);

void t.test(
  "what could be answered when the half-close came was answered",
  async (t) => {
    const side = await serverSide(t, {
      onRequest: (stream) => answer(stream, 204),
    });
    side.peer.send(GET + GET + GET);
    side.peer.socket.end();
    t.equal((await side.peer.all()).split("204 No").length, 4);
  },
);

void t.test("a half-close within the body aborts the request", async (t) => {
  for (const [bytes, held] of [
    [POST(10) + "abc", "abc"],
    [CHUNKED + "5\r\nab", "ab"],
    [CHUNKED + "2\r\nab\r\n0\r\n", "ab"],
  ] as const) {
    const side = await serverSide(t);
    side.peer.send(bytes);
    const request = receive(await side.request(0));
    await request.signal.until(() => request.body === held);
    side.peer.socket.end();
    t.equal((await request.aborted()).code, "CLIENT_CLOSED");
    t.equal((await request.aborted()).source, "downstream");
  }
});

void t.test(
  "a half-close before the receiver is there waits for it",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(POST(10) + "abc");
    side.peer.socket.end();
    const stream = await side.request(0);
    await turn();
    await turn();
    const request = receive(stream);
    t.equal((await request.aborted()).code, "CLIENT_CLOSED");

    const whole = await serverSide(t);
    whole.peer.send(POST(3) + "abc");
    whole.peer.socket.end();
    const complete = await whole.request(0);
    await turn();
    await turn();
    const body = receive(complete);
    t.equal(body.body, "abc");
    t.equal((await body.aborted()).code, "CLIENT_CLOSED");
  },
);

void t.test(
  "a caller that goes away while its answer is pending aborts the exchange, its body long ended",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(GET);
    const request = receive(await side.request(0));
    side.peer.socket.resetAndDestroy();
    t.equal((await request.aborted()).code, "CLIENT_CLOSED");
    t.equal(side.connection.active, 0);
  },
);

void t.test(
  "an abort that came before the receiver is told to it",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(GET);
    const stream = await side.request(0);
    const closed = new Promise((resolve) => side.socket.once("close", resolve));
    side.peer.socket.resetAndDestroy();
    await closed;
    t.equal(receive(stream).error?.code, "CLIENT_CLOSED");
    answer(stream, 200, "nobody is there");
  },
);

void t.test("a head that is cut off is refused", async (t) => {
  const side = await serverSide(t);
  side.peer.send("GET / HTTP/1.1\r\nHost:");
  side.peer.socket.end();
  t.match(await side.peer.all(), /^HTTP\/1\.1 400 /);
});

void t.test(
  "an idle connection that the caller closes is closed",
  async (t) => {
    const side = await serverSide(t);
    side.peer.socket.end();
    await side.peer.gone();
    t.equal(side.peer.received, "");
  },
);

void t.test(
  "abort: the caller sees that the response is cut off",
  async (t) => {
    await t.test(
      "before the head, the connection closes without an answer",
      async (t) => {
        const side = await serverSide(t);
        side.peer.send(GET);
        (await side.request(0)).abort(ABORT);
        await side.peer.gone();
        t.equal(side.peer.received, "");
      },
    );
    await t.test("a chunked body gets no last chunk", async (t) => {
      const side = await serverSide(t);
      side.peer.send(GET);
      const stream = await side.request(0);
      stream.respond(responseHead(200), false);
      stream.write(Buffer.from("abc"));
      await side.peer.until("abc\r\n");
      stream.abort(ABORT);
      await side.peer.gone();
      t.match(side.peer.received, /3\r\nabc\r\n$/);
    });
    await t.test("a close-delimited body ends in a reset", async (t) => {
      const side = await serverSide(t);
      side.peer.send("GET / HTTP/1.0\r\n\r\n");
      const stream = await side.request(0);
      stream.respond(responseHead(200), false);
      stream.write(Buffer.from("abc"));
      await side.peer.until("abc");
      stream.abort(ABORT);
      await side.peer.gone();
      t.equal(side.peer.error, "ECONNRESET");
    });
  },
);

void t.test("a fault within the body", async (t) => {
  await t.test("before the answer began is answered with 400", async (t) => {
    const side = await serverSide(t);
    side.peer.send(`${CHUNKED}3\r\nabcX`);
    const request = receive(await side.request(0));
    t.equal((await request.aborted()).code, "BAD_REQUEST");
    t.match(
      await side.peer.all(),
      /^HTTP\/1\.1 400 .*x-wherry-reason: BAD_REQUEST/s,
    );
    t.equal(side.refusals.length, 1);
  });
  await t.test("after it began breaks the connection", async (t) => {
    const side = await serverSide(t);
    side.peer.send(CHUNKED);
    const stream = await side.request(0);
    const request = receive(stream);
    stream.respond(responseHead(200), false);
    await side.peer.until("\r\n\r\n");
    side.peer.send("nonsense");
    t.equal((await request.aborted()).code, "BAD_REQUEST");
    await side.peer.gone();
    t.notMatch(side.peer.received, /0\r\n\r\n$/);
    t.equal(side.refusals.length, 1);
  });
});

void t.test("an answer before the end of the request", async (t) => {
  await t.test(
    "the rest is read, delivered, and the connection goes on",
    async (t) => {
      const side = await serverSide(t);
      side.peer.send(POST(6) + "abc");
      const stream = await side.request(0);
      const request = receive(stream);
      answer(stream, 403, "early");
      await side.peer.until("early");
      side.peer.send(`def${GET}`);
      t.equal((await request.done()).body, "abcdef");
      answer(await side.request(1), 204);
      await side.peer.until("204");
      t.equal(side.connection.active, 0);
    },
  );
  await t.test("without a receiver the rest is dropped", async (t) => {
    const side = await serverSide(t);
    side.peer.send(`${POST(6)}abc`);
    answer(await side.request(0), 403, "early");
    await side.peer.until("early");
    side.peer.send(`def${GET}`);
    await side.request(1);
  });
  await t.test("a long rest is announced as the end", async (t) => {
    const side = await serverSide(t, { limits: { drainBytes: 5 } });
    side.peer.send(`${POST(20)}abc`);
    const stream = await side.request(0);
    const request = receive(stream);
    stream.respond(responseHead(403), true);
    t.match(await side.peer.all(), /connection: close/);
    t.equal((await request.aborted()).code, "CLIENT_CLOSED");
  });
  await t.test("a rest without an end is cut", async (t) => {
    const side = await serverSide(t, { limits: { drainBytes: 100 } });
    side.peer.send(CHUNKED);
    const stream = await side.request(0);
    const request = receive(stream);
    answer(stream, 403, "early");
    await side.peer.until("early");
    side.peer.send(`ff\r\n${"x".repeat(255)}\r\n`);
    await side.peer.all();
    t.equal((await request.aborted()).code, "CLIENT_CLOSED");
  });
  await t.test(
    "a rest that does not come is waited for only so long",
    async (t) => {
      const side = await serverSide(t);
      side.peer.send(`${POST(6)}abc`);
      const stream = await side.request(0);
      const request = receive(stream);
      answer(stream, 403, "early");
      await side.peer.until("early");
      side.clock.advance(9999);
      t.equal(side.peer.ended, false);
      side.clock.advance(1);
      await side.peer.all();
      t.equal((await request.aborted()).code, "CLIENT_CLOSED");
    },
  );
});

void t.test(
  "a head that does not end in its time is answered with 408, counted from its first octet",
  async (t) => {
    const side = await serverSide(t);
    side.clock.advance(55_000);
    const read = async (octets: number): Promise<void> => {
      while (side.socket.bytesRead < octets) await turn();
    };
    side.peer.send("GET / HTTP/1.1\r\n");
    await read(16);
    side.clock.advance(6000);
    side.peer.send("Host: a\r\n");
    await read(25);
    side.clock.advance(3999);
    t.equal(side.peer.received, "");
    side.clock.advance(1);
    t.match(
      await side.peer.all(),
      /^HTTP\/1\.1 408 .*x-wherry-reason: REQUEST_STALLED/s,
    );
    t.equal(side.refusals[0]?.code, "REQUEST_STALLED");
  },
);

void t.test(
  "a connection without a request is closed after its idle time",
  async (t) => {
    const side = await serverSide(t);
    side.clock.advance(59_999);
    side.peer.send(GET);
    answer(await side.request(0), 204);
    await side.peer.until("204");
    side.clock.advance(59_999);
    t.equal(side.peer.ended, false);
    side.clock.advance(1);
    t.equal((await side.peer.all()).split("HTTP/1.1").length, 2);
    t.equal(side.refusals.length, 0);
  },
);

void t.test(
  "while an answer is pending no time-out of this codec runs",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(GET);
    const stream = await side.request(0);
    side.clock.advance(3_600_000);
    answer(stream, 204);
    await side.peer.until("204");
  },
);

void t.test("destroy tells the exchange under way", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const request = receive(await side.request(0));
  side.connection.destroy();
  t.equal(request.error?.code, "DRAINING");
  await side.peer.gone();
  t.equal(side.clock.pending, 0, "no timer is left behind");
});

void t.test(
  "our last words are read before the connection goes: what still comes is dropped, up to a bound",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(`GET / HTTP/9.9\r\n\r\n${"x".repeat(200_000)}`);
    t.match(await side.peer.all(), /^HTTP\/1\.1 505 /);
    side.peer.send("x".repeat(10_000));
    await turn();
    side.clock.advance(2000);
    await side.closed;
    const flood = await serverSide(t, { limits: { drainBytes: 1000 } });
    flood.peer.send("GET / HTTP/9.9\r\n\r\n");
    await flood.peer.all();
    flood.peer.send("x".repeat(5000));
    await flood.closed;
  },
);

void t.test(
  "a caller that reads slowly gets the whole of a last answer; one that does not read is let go",
  async (t) => {
    const size = 8_000_000;
    for (const reads of [true, false]) {
      const side = await serverSide(t);
      side.peer.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      const stream = await side.request(0);
      side.peer.socket.pause();
      stream.respond(responseHead(200, size), false);
      stream.write(Buffer.alloc(size, "x"));
      stream.end();
      t.ok(side.socket.writableLength > 0);
      if (!reads) {
        side.clock.advance(20_000);
        await side.closed;
        continue;
      }
      // Something is read between any two looks of the codec.
      side.peer.socket.resume();
      const before = side.socket.writableLength;
      while (side.socket.writableLength === before) await turn();
      side.peer.socket.pause();
      side.clock.advance(2000);
      side.peer.socket.resume();
      t.ok((await side.peer.all()).length > size);
      side.clock.advance(12_000);
      await side.closed;
    }
  },
);
