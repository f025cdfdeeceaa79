/** The server codec: requests handed over one at a time, responses framed for the caller that asked (RFC 9112 6, 7, 9). */
import t from "tap";
import { makeField } from "../../../src/wire/fields.ts";
import type { ServerStream } from "../../../src/wire/exchange.ts";
import {
  answer,
  fieldsOf,
  receive,
  responseHead,
  serverSide,
} from "../../support/http1/harness.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = (length: number): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
const CHUNKED =
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

void t.test("a request without a body is complete with its head", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const stream = await side.request(0);
  t.equal(stream.ended, true);
  t.equal(side.connection.active, 1);
  const request = receive(stream);
  stream.respond(responseHead(200, 2, { "x-a": "b" }), false);
  t.equal(stream.write(Buffer.from("hi")), true);
  stream.end();
  await side.peer.until("hi");
  t.equal(
    side.peer.received,
    "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 2\r\n\r\nhi",
  );
  t.strictSame(request.events, [], "neither data nor end");
  t.equal(side.connection.active, 0);
});

void t.test(
  "the framing of a response follows from the request and the head",
  async (t) => {
    type Row = readonly [
      what: string,
      request: string,
      write: (stream: ServerStream) => void,
      expected: string,
    ];
    const head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const HEAD = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    const old = "GET / HTTP/1.0\r\n\r\n";
    const oldKeepAlive = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const body = (stream: ServerStream): void => {
      stream.write(Buffer.from("abc"));
      stream.write(Buffer.alloc(0));
      stream.write(Buffer.from("d".repeat(10)));
      stream.end();
    };
    const rows: readonly Row[] = [
      [
        "no body",
        head,
        (s) => s.respond(responseHead(200), true),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
      ],
      [
        "length",
        head,
        (s) => {
          s.respond(responseHead(200, 13), false);
          body(s);
        },
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nabcdddddddddd",
      ],
      [
        "chunked",
        head,
        (s) => {
          s.respond(responseHead(200), false);
          body(s);
        },
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\na\r\ndddddddddd\r\n0\r\n\r\n",
      ],
      [
        "chunked with trailers",
        head,
        (s) => {
          s.respond(responseHead(200), false);
          s.end(fieldsOf({ "x-sum": "1" }));
        },
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n",
      ],
      [
        "HEAD with a length",
        HEAD,
        (s) => s.respond(responseHead(200, 13), true),
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n",
      ],
      [
        "HEAD without a length",
        HEAD,
        (s) => s.respond(responseHead(200), true),
        "HTTP/1.1 200 OK\r\n\r\n",
      ],
      [
        "HEAD to which a body is written",
        HEAD,
        (s) => {
          s.respond(responseHead(200, 13), false);
          body(s);
        },
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n",
      ],
      [
        "204",
        head,
        (s) => s.respond(responseHead(204, 0), true),
        "HTTP/1.1 204 No Content\r\n\r\n",
      ],
      [
        "304 with a length",
        head,
        (s) => s.respond(responseHead(304, 13), true),
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 13\r\n\r\n",
      ],
      [
        "a status without a phrase",
        head,
        (s) => s.respond(responseHead(299), true),
        "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n",
      ],
      [
        "HTTP/1.0",
        old,
        (s) => {
          s.respond(responseHead(200, 13), false);
          body(s);
        },
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\nabcdddddddddd",
      ],
      [
        "HTTP/1.0, length unknown",
        old,
        (s) => {
          s.respond(responseHead(200), false);
          body(s);
        },
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcdddddddddd",
      ],
      [
        "HTTP/1.0, length unknown, keep-alive",
        oldKeepAlive,
        (s) => {
          s.respond(responseHead(200), false);
          body(s);
        },
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcdddddddddd",
      ],
      [
        "HTTP/1.0, keep-alive",
        oldKeepAlive,
        (s) => s.respond(responseHead(200), true),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n",
      ],
      [
        "1xx before the answer",
        head,
        (s) => {
          s.informational(responseHead(103, undefined, { link: "</a>" }));
          s.respond(responseHead(200), true);
        },
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
      ],
      [
        "1xx for HTTP/1.0",
        old,
        (s) => {
          s.informational(responseHead(103));
          s.respond(responseHead(200), true);
        },
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
      ],
      [
        "101 never",
        head,
        (s) => {
          s.informational(responseHead(101));
          s.respond(responseHead(200), true);
        },
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
      ],
      [
        "framing fields among the fields",
        head,
        (s) =>
          s.respond(
            responseHead(200, undefined, {
              connection: "x",
              "content-length": "9",
              "transfer-encoding": "chunked",
            }),
            true,
          ),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
      ],
    ];
    for (const [what, request, write, expected] of rows)
      await t.test(what, async (t) => {
        const side = await serverSide(t);
        side.peer.send(request);
        write(await side.request(0));
        side.peer.socket.end();
        t.equal(await side.peer.all(), expected);
        t.equal(side.refusals.length, 0);
      });
  },
);

void t.test("bodies arrive whole, however they are cut", async (t) => {
  const requests = [
    [POST(11) + "hello world", undefined],
    [CHUNKED + "5;a=b\r\nhello\r\n06\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n", "1"],
  ] as const;
  for (const [bytes, trailer] of requests)
    for (let step = 1; step <= bytes.length; step += step < 8 ? 1 : 17) {
      const side = await serverSide(t);
      for (let at = 0; at < bytes.length; at += step) {
        side.peer.send(bytes.slice(at, at + step));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const stream = await side.request(0);
      t.equal(stream.ended, false);
      const request = await receive(stream).done();
      t.equal(request.body, "hello world");
      t.equal(request.trailers?.[0]?.value, trailer);
      answer(stream, 200);
      await side.peer.until("200 OK");
    }
});

void t.test(
  "Connection: close ends the connection after the answer",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(
      `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n${GET}`,
    );
    answer(await side.request(0), 200, "last");
    t.match(await side.peer.all(), /connection: close\r\n\r\nlast$/);
    t.equal(side.streams.length, 1, "what follows is not served");
  },
);

void t.test(
  "Expect: 100-continue: the 100 of the application reaches the caller, then the body flows",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    const stream = await side.request(0);
    const request = receive(stream);
    stream.informational(responseHead(100));
    await side.peer.until("HTTP/1.1 100 Continue\r\n\r\n");
    side.peer.send("body");
    await request.done();
    answer(stream, 201, "made");
    await side.peer.until("made");
    t.notMatch(side.peer.received, /connection: close/);
  },
);

void t.test(
  "a final answer instead of the 100 ends the connection: the body may come or not",
  async (t) => {
    const side = await serverSide(t);
    side.peer.send(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n",
    );
    const stream = await side.request(0);
    const request = receive(stream);
    answer(stream, 403, "no");
    side.peer.send(GET);
    t.match(await side.peer.all(), /connection: close\r\n\r\nno$/);
    t.equal(side.streams.length, 1, "the body is not taken for a request");
    t.equal((await request.aborted()).code, "CLIENT_CLOSED");
  },
);

void t.test(
  "a response that breaks its own framing never reaches the caller as a whole one",
  async (t) => {
    const rows: readonly (readonly [string, (s: ServerStream) => void])[] = [
      [
        "too long",
        (s) => {
          s.respond(responseHead(200, 3), false);
          s.write(Buffer.from("abcd"));
          s.end();
        },
      ],
      [
        "too short",
        (s) => {
          s.respond(responseHead(200, 3), false);
          s.write(Buffer.from("ab"));
          s.end();
        },
      ],
      ["announced and absent", (s) => s.respond(responseHead(200, 3), true)],
      [
        "a value with a line break",
        (s) =>
          s.respond(
            {
              status: 200,
              contentLength: undefined,
              fields: [makeField("a", "b\r\nc: d")],
            },
            true,
          ),
      ],
      [
        "a name that is no token",
        (s) =>
          s.respond(
            {
              status: 200,
              contentLength: undefined,
              fields: [makeField("a b", "c")],
            },
            true,
          ),
      ],
      [
        "an interim head with a line break",
        (s) =>
          s.informational({
            status: 103,
            contentLength: undefined,
            fields: [makeField("a", "b\nc")],
          }),
      ],
      [
        "a status that HTTP does not have",
        (s) => s.respond(responseHead(600), true),
      ],
    ];
    for (const [what, write] of rows)
      await t.test(what, async (t) => {
        const side = await serverSide(t);
        side.peer.send(GET);
        const stream = await side.request(0);
        const request = receive(stream);
        write(stream);
        await side.peer.gone();
        t.notMatch(side.peer.received, /abc|\nc/);
        t.equal((await request.aborted()).code, "INTERNAL");
        t.equal(stream.write(Buffer.from("x")), true, "later calls do nothing");
        stream.end();
        stream.abort(await request.aborted());
      });
  },
);

void t.test("head and small body leave in one write", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const stream = await side.request(0);
  const reads: number[] = [];
  side.peer.socket.on("data", (chunk: Buffer) => reads.push(chunk.length));
  stream.respond(responseHead(200), false);
  stream.write(Buffer.from("one"));
  stream.write(Buffer.from("two"));
  stream.end();
  await side.peer.until("0\r\n\r\n");
  t.equal(reads.length, 1);
});

void t.test("a head does not wait for a body that comes later", async (t) => {
  const side = await serverSide(t);
  side.peer.send(GET);
  const stream = await side.request(0);
  stream.respond(responseHead(200), false);
  await side.peer.until("chunked\r\n\r\n");
  stream.write(Buffer.alloc(9000, "x"));
  await side.peer.until("x\r\n");
  t.pass("and neither does a chunk for the next one");
});
