/** The client codec: requests as they stand on the wire, and responses by every framing (RFC 9112 6, 9). */
import t from "tap";
import type { RequestHead } from "../../../src/wire/exchange.ts";
import { makeField } from "../../../src/wire/fields.ts";
import { clientSide, fieldsOf } from "../../support/http1/harness.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(resolve));

void t.test("requests on the wire", async (t) => {
  type Row = readonly [
    what: string,
    head: Partial<RequestHead>,
    body: string | undefined,
    expected: string,
  ];
  const host = "HTTP/1.1\r\nhost: orders.shop\r\n";
  const rows: readonly Row[] = [
    ["GET", {}, undefined, `GET / ${host}\r\n`],
    [
      "fields in order",
      { fields: fieldsOf({ b: "1", a: "2" }) },
      undefined,
      `GET / ${host}b: 1\r\na: 2\r\n\r\n`,
    ],
    [
      "HEAD",
      { method: "HEAD", path: "/a?b" },
      undefined,
      `HEAD /a?b ${host}\r\n`,
    ],
    ["DELETE", { method: "DELETE" }, undefined, `DELETE / ${host}\r\n`],
    [
      "POST without a body",
      { method: "POST" },
      undefined,
      `POST / ${host}content-length: 0\r\n\r\n`,
    ],
    [
      "a length of 0 that was said",
      { method: "DELETE", contentLength: 0 },
      undefined,
      `DELETE / ${host}content-length: 0\r\n\r\n`,
    ],
    [
      "a body of known length",
      { method: "POST", contentLength: 3 },
      "abc",
      `POST / ${host}content-length: 3\r\n\r\nabc`,
    ],
    [
      "a body of unknown length",
      { method: "POST" },
      "abc",
      `POST / ${host}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    ],
    [
      "OPTIONS *",
      { method: "OPTIONS", path: "*" },
      undefined,
      `OPTIONS * ${host}\r\n`,
    ],
    [
      "absolute form",
      { absoluteForm: true, path: "/x" },
      undefined,
      `GET http://orders.shop/x ${host}\r\n`,
    ],
    [
      "OPTIONS in absolute form",
      { method: "OPTIONS", absoluteForm: true, path: "*" },
      undefined,
      `OPTIONS http://orders.shop ${host}\r\n`,
    ],
    [
      "no authority",
      { authority: "" },
      undefined,
      "GET / HTTP/1.1\r\nhost: \r\n\r\n",
    ],
    [
      "TE: trailers, with Connection",
      { acceptsTrailers: true },
      undefined,
      `GET / ${host}te: trailers\r\nconnection: te\r\n\r\n`,
    ],
    [
      "cookies in one line (RFC 9113 8.2.3)",
      {
        fields: [
          makeField("cookie", "a=1"),
          makeField("x", "y"),
          makeField("cookie", "b=2"),
          makeField("cookie", "c=3"),
        ],
      },
      undefined,
      `GET / ${host}x: y\r\ncookie: a=1; b=2; c=3\r\n\r\n`,
    ],
    [
      "one cookie",
      { fields: fieldsOf({ cookie: "a=1; b=2" }) },
      undefined,
      `GET / ${host}cookie: a=1; b=2\r\n\r\n`,
    ],
    [
      "connection-specific and framing fields never",
      {
        fields: fieldsOf({
          host: "x",
          connection: "y",
          "content-length": "9",
          "transfer-encoding": "chunked",
          te: "gzip",
          a: "b",
        }),
      },
      undefined,
      `GET / ${host}a: b\r\n\r\n`,
    ],
  ];
  for (const [what, head, body, expected] of rows)
    await t.test(what, async (t) => {
      const side = await clientSide(t);
      const { stream, response } = side.send(head, body === undefined);
      if (body !== undefined) {
        stream.write(Buffer.from(body));
        stream.end();
      }
      await side.peer.until(expected.slice(-6));
      t.equal(side.peer.received, expected);
      side.peer.send("HTTP/1.1 204 No Content\r\n\r\n");
      await response.done();
      t.strictSame(side.observed, ["available"]);
    });
});

void t.test("trailers of a request follow its last chunk", async (t) => {
  const side = await clientSide(t);
  const { stream } = side.send({ method: "POST" }, false);
  stream.end(fieldsOf({ "x-sum": "1" }));
  await side.peer.until("0\r\nx-sum: 1\r\n\r\n");
});

void t.test("responses by every framing (RFC 9112 6.3)", async (t) => {
  type Row = readonly [
    what: string,
    method: string,
    bytes: string,
    expected: { body: string; contentLength?: number; reused: boolean },
  ];
  const rows: readonly Row[] = [
    ["length", "GET", OK, { body: "ok", contentLength: 2, reused: true }],
    [
      "length 0",
      "GET",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      { body: "", contentLength: 0, reused: true },
    ],
    [
      "chunked",
      "GET",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
      { body: "ok", reused: true },
    ],
    [
      "HEAD with a length",
      "HEAD",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
      { body: "", contentLength: 2, reused: true },
    ],
    [
      "HEAD with chunked",
      "HEAD",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      { body: "", reused: true },
    ],
    [
      "HEAD without framing",
      "HEAD",
      "HTTP/1.1 200 OK\r\n\r\n",
      { body: "", reused: false },
    ],
    [
      "204",
      "GET",
      "HTTP/1.1 204 No Content\r\n\r\n",
      { body: "", reused: true },
    ],
    [
      "204 with a length of 0",
      "GET",
      "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
      { body: "", reused: true },
    ],
    [
      "304 with a length",
      "GET",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
      { body: "", contentLength: 2, reused: true },
    ],
    [
      "no reason phrase",
      "GET",
      "HTTP/1.1 204 \r\n\r\n",
      { body: "", reused: true },
    ],
    [
      "no space for the phrase",
      "GET",
      "HTTP/1.1 204\r\n\r\n",
      { body: "", reused: true },
    ],
    [
      "Connection: close",
      "GET",
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
      { body: "ok", contentLength: 2, reused: false },
    ],
    [
      "HTTP/1.0",
      "GET",
      "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      { body: "ok", contentLength: 2, reused: false },
    ],
    [
      "HTTP/1.0 with keep-alive",
      "GET",
      "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
      { body: "ok", contentLength: 2, reused: true },
    ],
    [
      "octets behind the response",
      "GET",
      `${OK}HTTP/1.1 200 OK\r\n\r\n`,
      { body: "ok", contentLength: 2, reused: false },
    ],
    [
      "a body behind a HEAD",
      "HEAD",
      OK,
      { body: "", contentLength: 2, reused: false },
    ],
    [
      "a body behind a 304",
      "GET",
      "HTTP/1.1 304 Not Modified\r\n\r\nok",
      { body: "", reused: false },
    ],
    [
      "an empty line behind the response",
      "GET",
      `${OK}\r\n`,
      { body: "ok", contentLength: 2, reused: false },
    ],
  ];
  for (const [what, method, bytes, expected] of rows)
    await t.test(what, async (t) => {
      const side = await clientSide(t);
      const { response } = side.send({ method });
      side.peer.send(bytes);
      await response.done();
      t.equal(response.error, undefined);
      t.equal(response.body, expected.body);
      t.equal(response.response?.contentLength, expected.contentLength);
      t.equal(side.connection.active, 0);
      t.equal(side.connection.capacity, expected.reused ? 1 : 0);
      if (expected.reused) t.strictSame(side.observed, ["available"]);
      else {
        await side.peer.gone();
        t.notOk(side.observed.includes("available"));
        await side.signal.until(() =>
          side.observed.includes("closed in order"),
        );
      }
    });
});

void t.test("a close-delimited body ends with the connection", async (t) => {
  const side = await clientSide(t);
  const { response } = side.send({});
  side.peer.send("HTTP/1.1 200 OK\r\n\r\nall of ");
  await response.signal.until(() => response.body === "all of ");
  t.strictSame(side.observed, ["draining"]);
  side.peer.send("it");
  side.peer.socket.end();
  await response.done();
  t.equal(response.body, "all of it");
  t.strictSame(response.events.slice(-1), ["end"]);
  await side.signal.until(() => side.observed.includes("closed in order"));
});

void t.test(
  "a close-delimited body that a reset ends is cut off",
  async (t) => {
    const side = await clientSide(t);
    const { response } = side.send({});
    side.peer.send("HTTP/1.1 200 OK\r\n\r\nall of ");
    await response.signal.until(() => response.body === "all of ");
    side.peer.socket.resetAndDestroy();
    t.equal((await response.aborted()).code, "UPSTREAM_RESET");
  },
);

void t.test("trailers reach the receiver", async (t) => {
  const side = await clientSide(t);
  const { response } = side.send({});
  side.peer.send(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 0\r\n\r\n",
  );
  await response.done();
  t.match(response.trailers, [{ name: "grpc-status", value: "0" }]);
});

void t.test("interim responses are passed on, up to a bound", async (t) => {
  const side = await clientSide(t, { limits: { informationalResponses: 2 } });
  const { response } = side.send({});
  side.peer.send(
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
  );
  await response.signal.until(() => response.heads.length === 2);
  t.match(response.heads[1], { status: 103, fields: [{ name: "link" }] });
  side.peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
  t.equal((await response.aborted()).code, "UPSTREAM_PROTOCOL");
});

void t.test("head and small body leave in one write", async (t) => {
  const side = await clientSide(t);
  const reads: number[] = [];
  side.peer.socket.on("data", (chunk: Buffer) => reads.push(chunk.length));
  const { stream } = side.send({ method: "POST", contentLength: 3 }, false);
  stream.write(Buffer.from("abc"));
  stream.end();
  await side.peer.until("abc");
  await turn();
  t.equal(reads.length, 1);
});
