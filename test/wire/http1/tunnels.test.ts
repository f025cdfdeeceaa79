/** CONNECT over both codecs (RFC 9110 9.3.6): octets both ways after a 2xx, an ordinary response otherwise. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  answer,
  clientSide,
  receive,
  responseHead,
  serverSide,
} from "../../support/http1/harness.ts";

const CONNECT = "CONNECT db.shop:5432 HTTP/1.1\r\nHost: db.shop:5432\r\n\r\n";
const TUNNEL = {
  method: "CONNECT",
  authority: "db.shop:5432",
  path: "",
} as const;
const ABORT = new MeshError("UPSTREAM_RESET", "", { source: "upstream" });
const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(resolve));

void t.test(
  "server: after a 2xx octets pass both ways, and each half closes by itself",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(`${CONNECT}early`);
    const stream = await side.request(0);
    t.match(stream.head, {
      method: "CONNECT",
      authority: "db.shop:5432",
      path: "",
    });
    t.equal(stream.ended, false);
    const request = receive(stream);
    await turn();
    t.equal(request.body, "", "what came early waits for the answer");
    stream.respond(responseHead(200), false);
    await request.signal.until(() => request.body === "early");
    stream.write(Buffer.from("down"));
    await side.peer.until("down");
    t.equal(side.peer.received, "HTTP/1.1 200 OK\r\n\r\ndown");
    side.peer.send("GET / HTTP/1.1\r\n\r\n");
    await request.signal.until(() => request.body.endsWith("1.1\r\n\r\n"));
    side.peer.socket.end();
    await request.done();
    t.strictSame(request.events.slice(-1), ["end"]);
    t.equal(side.peer.ended, false, "the other half is open");
    stream.write(Buffer.from("last"));
    stream.end();
    t.match(await side.peer.all(), /last$/);
    await side.closed;
    t.equal(request.error, undefined, "an end of both halves is no failure");
    t.equal(side.connection.active, 0);
  },
);

void t.test("server: the answering half may close first", async (t) => {
  const side = await serverSide(t);
  side.peer.send(CONNECT);
  const stream = await side.request(0);
  const request = receive(stream);
  stream.respond(responseHead(200), false);
  stream.end();
  await side.peer.all();
  side.peer.send("still");
  await request.signal.until(() => request.body === "still");
  side.peer.socket.end();
  await request.done();
  await side.closed;
  t.equal(request.error, undefined);
});

void t.test(
  "server: a tunnel that is refused is an ordinary response and the end of the connection",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(`${CONNECT}GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n`);
    const stream = await side.request(0);
    const request = receive(stream);
    answer(stream, 403, "no");
    t.match(
      await side.peer.all(),
      /content-length: 2\r\nconnection: close\r\n\r\nno$/,
    );
    t.equal(
      side.streams.length,
      1,
      "what was meant for the tunnel is no request",
    );
    t.equal(request.body, "");
  },
);

void t.test("server: a tunnel that breaks", async (t) => {
  const side = await serverSide(t);
  side.peer.send(CONNECT);
  const stream = await side.request(0);
  const request = receive(stream);
  stream.respond(responseHead(200), false);
  await side.peer.until("\r\n\r\n");
  side.peer.socket.resetAndDestroy();
  t.equal((await request.aborted()).code, "CLIENT_CLOSED");
  const other = await serverSide(t);
  other.peer.send(CONNECT);
  const second = await other.request(0);
  receive(second);
  second.respond(responseHead(200), false);
  await other.peer.until("\r\n\r\n");
  second.abort(ABORT);
  await other.peer.gone();
  t.equal(other.peer.error, "ECONNRESET", "an abort is not taken for an end");
});

void t.test("server: back-pressure within a tunnel", async (t) => {
  const side = await serverSide(t);
  side.peer.send(CONNECT);
  const stream = await side.request(0);
  const request = receive(stream);
  stream.respond(responseHead(200), false);
  stream.pause();
  await side.peer.until("\r\n\r\n");
  t.equal(side.peer.socket.write(Buffer.alloc(9_000_000, "x")), false);
  side.peer.socket.end();
  await turn();
  t.equal(request.body, "");
  stream.resume();
  await request.done();
  t.equal(request.body.length, 9_000_000);
});

void t.test(
  "client: after a 2xx octets pass both ways, and each half closes by itself",
  async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send(TUNNEL, false);
    t.equal(stream.write(Buffer.from("early")), false);
    await side.peer.until("\r\n\r\n");
    await turn();
    t.equal(
      side.peer.received,
      "CONNECT db.shop:5432 HTTP/1.1\r\nhost: db.shop:5432\r\n\r\n",
      "nothing is sent before the tunnel is open",
    );
    side.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup");
    await side.peer.until("early");
    await response.signal.until(() => response.body === "up");
    t.strictSame(response.events.slice(0, 2), ["head 200", "drained"]);
    t.equal(response.response?.contentLength, undefined);
    t.equal(stream.write(Buffer.from("more")), true);
    await side.peer.until("earlymore");
    stream.end();
    await side.peer.all();
    side.peer.send("!");
    side.peer.socket.end();
    await response.done();
    t.equal(response.body, "up!");
    await side.signal.until(() => side.observed.includes("closed in order"));
    t.equal(response.error, undefined);
  },
);

void t.test(
  "client: an end before the tunnel is open waits for it",
  async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send(TUNNEL, false);
    stream.write(Buffer.from("all"));
    stream.end();
    await side.peer.until("\r\n\r\n");
    t.equal(side.peer.ended, false);
    side.peer.send("HTTP/1.1 200 OK\r\n\r\n");
    t.match(await side.peer.all(), /\r\n\r\nall$/);
    side.peer.socket.end("bye");
    t.equal((await response.done()).body, "bye");
  },
);

void t.test("client: a tunnel that is refused", async (t) => {
  const side = await clientSide(t);
  const { stream, response } = side.send(TUNNEL, false);
  stream.write(Buffer.from("secret"));
  await side.peer.until("\r\n\r\n");
  side.peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
  await response.done();
  t.equal(response.response?.status, 403);
  t.equal(response.body, "no");
  await turn();
  t.notMatch(side.peer.received, /secret/);
  t.equal(side.connection.capacity, 1);
});

void t.test("client: a tunnel that breaks", async (t) => {
  const side = await clientSide(t);
  const { response } = side.send(TUNNEL, false);
  await side.peer.until("\r\n\r\n");
  side.peer.send("HTTP/1.1 200 OK\r\n\r\n");
  await response.signal.until(() => response.response !== undefined);
  side.peer.socket.resetAndDestroy();
  t.equal((await response.aborted()).code, "UPSTREAM_RESET");
});

void t.test(
  "client: a tunnel that breaks after the far end has said all",
  async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send(TUNNEL, false);
    await side.peer.until("\r\n\r\n");
    side.peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
    side.peer.socket.end();
    await response.done();
    stream.write(Buffer.from("up"));
    await side.peer.until("up");
    side.peer.socket.resetAndDestroy();
    await side.peer.gone();
    // A socket that has read the end hears of a reset when it writes.
    stream.write(Buffer.from("more"));
    await side.signal.until(() => side.observed.length === 2);
    t.strictSame(side.observed, ["draining", "closed UPSTREAM_RESET"]);
    t.equal(response.error?.code, "UPSTREAM_RESET", "the upload is cut off");
  },
);
