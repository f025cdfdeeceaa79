/** When a client connection is used again, and when never (RFC 9112 9, law 7). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import { clientSide } from "../../support/http1/harness.ts";
import { until, withPair } from "../../support/meshes/pair.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** The peer speaks out of turn; resolves when that has been read and a turn has gone by: a client that ignores it shows no event to wait for. */
async function speakOutOfTurn({
  peer,
  socket,
}: Awaited<ReturnType<typeof clientSide>>): Promise<void> {
  const whole = socket.bytesRead + OK.length;
  peer.send(OK);
  await until(() => socket.bytesRead >= whole);
  await new Promise((resolve) => setImmediate(resolve));
}

void t.test("one connection carries many exchanges", async (t) => {
  const side = await clientSide(t);
  for (let count = 1; count <= 3; count += 1) {
    t.equal(side.connection.capacity, 1);
    const { response } = side.send({ path: `/${count}` });
    t.equal(side.connection.capacity, 0);
    t.equal(side.connection.active, 1);
    await side.peer.until(`/${count}`);
    side.clock.advance(10);
    side.peer.send(OK);
    t.equal((await response.done()).body, "ok");
    t.equal(side.connection.heardAt, count * 10);
  }
  t.strictSame(side.observed, ["available", "available", "available"]);
});

void t.test(
  "the receiver may ask again from within the end of its response",
  async (t) => {
    const side = await clientSide(t);
    const { response } = side.send({ path: "/1" });
    const second = new Promise<string>((resolve) => {
      response.end = () => {
        const again = side.send({ path: "/2" });
        void again.response.done().then(() => resolve(again.response.body));
      };
    });
    side.peer.send(OK);
    await side.peer.until("/2");
    t.strictSame(side.observed, [], "it was not offered meanwhile");
    side.peer.send(OK);
    t.equal(await second, "ok");
    t.strictSame(side.observed, ["available"]);
  },
);

void t.test("Keep-Alive: timeout is told", async (t) => {
  const side = await clientSide(t);
  t.equal(side.connection.keepAlive, undefined);
  const { response } = side.send({});
  side.peer.send(
    "HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5, max=100\r\n\r\n",
  );
  await response.done();
  t.equal(side.connection.keepAlive, 5000);
  t.strictSame(response.response?.fields, []);
});

void t.test("an answer before the end of the request", async (t) => {
  await t.test(
    "the connection is used again if the request completes",
    async (t) => {
      const side = await clientSide(t);
      const { stream, response } = side.send(
        { method: "POST", contentLength: 6 },
        false,
      );
      stream.write(Buffer.from("abc"));
      side.peer.send(OK);
      await response.done();
      t.equal(side.connection.capacity, 0);
      t.strictSame(side.observed, []);
      stream.write(Buffer.from("def"));
      stream.end();
      await side.peer.until("abcdef");
      t.equal(side.connection.capacity, 1);
      t.strictSame(side.observed, ["available"]);
    },
  );
  await t.test("and ends if it does not", async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send({ method: "POST" }, false);
    side.peer.send(OK);
    await response.done();
    stream.abort(new MeshError("CLIENT_CLOSED", "", { source: "downstream" }));
    await side.peer.gone();
    t.notMatch(side.peer.received, /0\r\n\r\n$/);
    await side.signal.until(() => side.observed.includes("closed in order"));
  });
  await t.test(
    "who waits for room is let go where the connection ends",
    async (t) => {
      const side = await clientSide(t);
      side.peer.socket.pause();
      const { stream, response } = side.send({ method: "POST" }, false);
      while (stream.write(Buffer.alloc(60_000)));
      side.peer.send(
        "HTTP/1.1 413 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
      );
      await response.signal.until(() => response.drains === 1);
      t.equal(stream.write(Buffer.alloc(10)), true, "and goes nowhere");
      stream.end();
    },
  );
  await t.test("octets behind it end the connection", async (t) => {
    const side = await clientSide(t);
    const { response } = side.send({ method: "POST" }, false);
    side.peer.send(OK);
    await response.done();
    await speakOutOfTurn(side);
    t.ok(side.observed.includes("closed UPSTREAM_PROTOCOL"));
    t.equal(response.error, undefined, "the answer stands");
  });
  await t.test("so does the peer's close", async (t) => {
    const side = await clientSide(t);
    const { response } = side.send({ method: "POST" }, false);
    side.peer.send(OK);
    await response.done();
    side.peer.socket.end();
    await side.signal.until(() => side.observed.includes("closed in order"));
    t.equal(response.error, undefined);
  });
});

void t.test(
  "octets without a request end the connection, and no exchange ever sees them",
  async (t) => {
    for (const first of [true, false]) {
      const side = await clientSide(t);
      if (!first) {
        const { response } = side.send({});
        side.peer.send(OK);
        await response.done();
      }
      await speakOutOfTurn(side);
      const closed = side.observed.includes("closed UPSTREAM_PROTOCOL");
      if (!t.ok(closed, "it is closed")) return;
      t.equal(side.connection.capacity, 0);
      const { response } = side.send({});
      const error = await response.aborted();
      t.equal(error.code, "STREAM_REFUSED");
      t.equal(error.unprocessed, true);
      t.strictSame(response.events, ["abort STREAM_REFUSED"]);
    }
  },
);

/** As Node's server says it of a connection on which no request came in time. */
const LATE = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";

for (const { what, reused, whole, expected } of [
  { what: "a whole request", reused: true, whole: true, expected: "aborted" },
  { what: "half a request", reused: true, whole: false, expected: 408 },
  { what: "the first request", reused: false, whole: true, expected: 408 },
])
  void t.test(`a 408 that crosses ${what}`, async (t) => {
    const side = await clientSide(t);
    if (reused) {
      const { response } = side.send({ path: "/first" });
      side.peer.send(OK);
      await response.done();
    }
    const { response } = whole
      ? side.send({ path: "/second" })
      : side.send({ path: "/second", method: "POST", contentLength: 6 }, false);
    await side.peer.until("/second");
    side.peer.send(LATE);
    await until(
      () => response.response !== undefined || response.error !== undefined,
    );
    t.equal(response.response?.status ?? "aborted", expected);
    if (expected === "aborted")
      t.match(response.error, {
        code: "UPSTREAM_RESET",
        message: /ended an idle connection with a 408/,
      });
    t.equal(side.connection.capacity, 0);
  });

void t.test(
  "a 408 for an idle connection is no answer to the next call",
  async (t) => {
    let late = 0;
    await withPair(
      {
        rawApp: () => (socket) => {
          let requests = 0;
          socket.on("error", () => undefined);
          socket.on("data", () => {
            requests += 1;
            if (requests === 1) socket.write(OK);
            else {
              late += 1;
              socket.end(LATE);
            }
          });
        },
      },
      async (pair) => {
        t.equal((await pair.call()).status, 200);
        const { status, text } = await pair.call();
        t.equal(status, 200, text);
        t.equal(late, 1, "a new connection carries it");
      },
    );
  },
);
