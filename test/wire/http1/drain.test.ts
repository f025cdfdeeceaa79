/** The orderly end of a server's connection: idle, for a while yet, or once a response is over (RFC 9112 9.6). */
import t from "tap";
import {
  answer,
  responseHead,
  serverSide,
} from "../../support/http1/harness.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

void t.test("an idle connection closes at once", async (t) => {
  const side = await serverSide(t);
  side.connection.drain();
  t.equal(await side.peer.all(), "");
});

void t.test(
  "an idle connection that may bring a request for a while",
  async (t) => {
    const side = await serverSide(t);
    side.connection.drain(2000);
    side.clock.advance(1999);
    side.peer.send(GET);
    answer(await side.request(0), 200, "last");
    t.match(await side.peer.all(), /connection: close\r\n\r\nlast$/);
    const idle = await serverSide(t);
    idle.connection.drain(2000);
    idle.clock.advance(2000);
    t.equal(await idle.peer.all(), "");
  },
);

void t.test("a request that came and is not read yet", async (t) => {
  const side = await serverSide(t);
  side.connection.drain(2000);
  // Sockets are read after timers.
  setImmediate(() => {
    side.peer.send(GET);
    side.clock.advance(2000);
  });
  answer(await side.request(0), 200, "last");
  t.match(await side.peer.all(), /connection: close\r\n\r\nlast$/);
});

void t.test(
  "a request under way is answered, and told of the close",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(GET + GET);
    const stream = await side.request(0);
    side.connection.drain();
    answer(stream, 200, "last");
    t.match(await side.peer.all(), /connection: close\r\n\r\nlast$/);
    t.equal(side.streams.length, 1);
  },
);

void t.test("an answer that has begun is finished", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const stream = await side.request(0);
  stream.respond(responseHead(200), false);
  await side.peer.until("\r\n\r\n");
  side.connection.drain();
  stream.end();
  t.match(await side.peer.all(), /0\r\n\r\n$/);
});

void t.test(
  "a response that had not said that it is the last is followed by one that does",
  async (t) => {
    for (const post of [false, true]) {
      const side = await serverSide(t);
      const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
      side.peer.send(post ? head : GET);
      const stream = await side.request(0);
      stream.respond(responseHead(200), false);
      await side.peer.until("\r\n\r\n");
      side.connection.drain(2000);
      stream.end();
      await side.peer.until("0\r\n\r\n");
      side.clock.advance(1999);
      side.peer.send(`${post ? "body" : ""}${GET}`);
      answer(await side.request(1), 200, "last");
      t.match(await side.peer.all(), /connection: close\r\n\r\nlast$/);
    }
  },
);

void t.test("nothing follows such a response", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const stream = await side.request(0);
  stream.respond(responseHead(200), false);
  await side.peer.until("\r\n\r\n");
  side.connection.drain(2000);
  stream.end();
  await side.peer.until("0\r\n\r\n");
  side.clock.advance(2000);
  t.match(await side.peer.all(), /0\r\n\r\n$/);
});

void t.test("the shortest wait of several counts", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const stream = await side.request(0);
  stream.respond(responseHead(200), false);
  await side.peer.until("\r\n\r\n");
  for (const ms of [2000, 0, 2000]) side.connection.drain(ms);
  stream.end();
  t.match(await side.peer.all(), /0\r\n\r\n$/);
});
