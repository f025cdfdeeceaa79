/** What the client codec does when the endpoint breaks the grammar, the connection, or the contract's other side (law 3, law 7). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { RequestHead } from "../../../src/wire/exchange.ts";
import { makeField } from "../../../src/wire/fields.ts";
import {
  CHUNK_FAULTS,
  FIELD_FAULTS,
} from "../../support/http1/faults-fields.ts";
import { RESPONSE_FAULTS } from "../../support/http1/faults-responses.ts";
import { clientSide } from "../../support/http1/harness.ts";

const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(resolve));

const OK = "HTTP/1.1 200 OK\r\n";

const VIOLATIONS: readonly (readonly [what: string, bytes: string])[] = [
  ...Object.entries(RESPONSE_FAULTS),
  ...Object.entries(FIELD_FAULTS).map(
    ([what, lines]) => [what, `${OK}${lines}\r\n\r\n`] as const,
  ),
  ...Object.entries(CHUNK_FAULTS).map(
    ([what, body]) =>
      [what, `${OK}Transfer-Encoding: chunked\r\n\r\n${body}`] as const,
  ),
];

for (const [what, bytes] of VIOLATIONS)
  void t.test(`a protocol error of the endpoint: ${what}`, async (t) => {
    const side = await clientSide(t);
    const { response } = side.send({});
    await side.peer.until("\r\n\r\n");
    side.peer.send(bytes);
    const error = await response.aborted();
    t.equal(error.code, "UPSTREAM_PROTOCOL");
    t.equal(error.source, "upstream");
    t.equal(error.unprocessed, false);
    await side.peer.gone();
    await side.signal.until(() => side.observed.length === 2);
    t.strictSame(side.observed, ["draining", "closed UPSTREAM_PROTOCOL"]);
    t.equal(side.connection.capacity, 0);
  });

void t.test("a connection that ends before or within the answer", async (t) => {
  const rows: readonly (readonly [what: string, bytes: string])[] = [
    ["before the first octet", ""],
    ["within the head", "HTTP/1.1 200 OK\r\nA: b\r\n"],
    ["after an interim response", "HTTP/1.1 103 Early Hints\r\n\r\n"],
    [
      "within a body by length",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    ],
    [
      "within a chunked body",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
  ];
  for (const [what, bytes] of rows)
    for (const how of ["end", "resetAndDestroy"] as const)
      await t.test(`${what}, ${how}`, async (t) => {
        const side = await clientSide(t);
        const { response } = side.send({});
        await side.peer.until("\r\n\r\n");
        if (bytes !== "") {
          const read = new Promise((resolve) =>
            side.socket.once("data", resolve),
          );
          side.peer.send(bytes);
          await read;
        }
        side.peer.socket[how]();
        const error = await response.aborted();
        t.equal(error.code, "UPSTREAM_RESET");
        t.equal(error.unprocessed, false, "the endpoint had the request");
        await side.signal.until(() => side.observed.length === 2);
        t.strictSame(side.observed, ["draining", "closed UPSTREAM_RESET"]);
      });
});

void t.test(
  "a request of which nothing was written is provably unprocessed",
  async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send({ method: "POST" }, false);
    side.socket.destroy();
    stream.write(Buffer.from("abc"));
    const error = await response.aborted();
    t.equal(error.code, "UPSTREAM_RESET");
    t.equal(error.unprocessed, true);
    const written = await clientSide(t);
    const second = written.send({});
    written.socket.destroy();
    t.equal((await second.response.aborted()).unprocessed, false);
  },
);

void t.test("an idle connection that the endpoint closes", async (t) => {
  const side = await clientSide(t);
  side.peer.socket.end();
  await side.signal.until(() => side.observed.length === 2);
  t.strictSame(side.observed, ["draining", "closed in order"]);
  const broken = await clientSide(t);
  broken.peer.socket.resetAndDestroy();
  await broken.signal.until(() => broken.observed.length === 2);
  t.strictSame(broken.observed, ["draining", "closed UPSTREAM_RESET"]);
});

void t.test(
  "abort closes the connection and says nothing to its own receiver",
  async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send({ method: "POST" }, false);
    stream.write(Buffer.from("abc"));
    await side.peer.until("abc\r\n");
    const error = new MeshError("CLIENT_CLOSED", "", { source: "downstream" });
    stream.abort(error);
    stream.abort(error);
    await side.peer.gone();
    t.notMatch(side.peer.received, /0\r\n\r\n$/);
    await side.signal.until(() => side.observed.length === 1);
    t.strictSame(side.observed, ["closed in order"]);
    t.strictSame(response.events, []);
    t.equal(side.connection.active, 0);
  },
);

void t.test("a receiver may break off from within its own calls", async (t) => {
  const error = new MeshError("CLIENT_CLOSED", "", { source: "downstream" });
  for (const method of ["head", "data"] as const) {
    const side = await clientSide(t);
    const { stream, response } = side.send({});
    response[method] = () => stream.abort(error);
    side.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await side.signal.until(() => side.observed.length === 1);
    t.equal(response.ended, false);
  }
});

void t.test("a request that breaks its own framing", async (t) => {
  const cases: readonly (readonly [string, number, string])[] = [
    ["too long", 2, "abc"],
    ["too short", 4, "abc"],
  ];
  for (const [what, contentLength, body] of cases) {
    const side = await clientSide(t);
    const { stream, response } = side.send(
      { method: "POST", contentLength },
      false,
    );
    stream.write(Buffer.from(body));
    stream.end();
    const error = await response.aborted();
    t.match(error, { code: "INTERNAL", source: "proxy" }, what);
    await side.peer.gone();
  }
});

void t.test(
  "a request that HTTP/1.1 cannot carry leaves the connection as it was",
  async (t) => {
    const rows: readonly (readonly [string, Partial<RequestHead>, string])[] = [
      [
        "a line break in a value",
        { fields: [makeField("a", "b\r\nc: d")] },
        "INTERNAL",
      ],
      [
        "a line break in a cookie",
        {
          fields: [makeField("cookie", "a"), makeField("cookie", "b\r\nc: d")],
        },
        "INTERNAL",
      ],
      ["a space in the path", { path: "/a b" }, "INTERNAL"],
      ["a line break in the path", { path: "/a\r\nb: c" }, "INTERNAL"],
      ["no path", { path: "" }, "INTERNAL"],
      ["a line break in the authority", { authority: "a\r\nb: c" }, "INTERNAL"],
      ["a method that is no token", { method: "A B" }, "INTERNAL"],
      ["a body announced and not there", { contentLength: 4 }, "INTERNAL"],
      [
        "extended CONNECT",
        { method: "CONNECT", protocol: "connect-udp" },
        "UNSUPPORTED",
      ],
    ];
    const side = await clientSide(t);
    for (const [what, request, code] of rows) {
      const { response } = side.send(request);
      t.equal(response.error, undefined, "never from within request()");
      const error = await response.aborted();
      t.equal(error.code, code, what);
      t.equal(error.unprocessed, true);
      t.equal(side.connection.capacity, 1);
    }
    const { response } = side.send({ path: "/good" });
    await side.peer.until("/good");
    side.peer.send("HTTP/1.1 204 \r\n\r\n");
    await response.done();
    t.ok(side.peer.received.startsWith("GET /good "), "nothing of the others");
  },
);

void t.test(
  "drain: a request under way is finished, then the connection closes",
  async (t) => {
    const side = await clientSide(t);
    const { response } = side.send({});
    side.connection.drain();
    t.equal(side.connection.capacity, 0);
    side.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await response.done();
    t.equal(response.body, "ok");
    await side.signal.until(() => side.observed.includes("closed in order"));
    const idle = await clientSide(t);
    idle.connection.drain();
    await idle.signal.until(() => idle.observed.includes("closed in order"));
  },
);

void t.test("destroy tells the stream under way", async (t) => {
  const side = await clientSide(t);
  const { response } = side.send({});
  const error = new MeshError("IDLE_TIMEOUT", "", { source: "proxy" });
  side.connection.destroy(error);
  t.equal(response.error, error);
  const other = await clientSide(t);
  const second = other.send({});
  other.connection.destroy();
  t.match(second.response.error, { code: "DRAINING", unprocessed: false });
});

void t.test("HTTP/1.1 has no ping", async (t) => {
  const side = await clientSide(t);
  await t.rejects(side.connection.ping(), { code: "UNSUPPORTED" });
});

void t.test("back-pressure", async (t) => {
  await t.test("a paused response is not read", async (t) => {
    const side = await clientSide(t);
    const { stream, response } = side.send({});
    side.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n");
    await response.signal.until(() => response.response !== undefined);
    stream.pause();
    stream.pause();
    t.equal(side.peer.socket.write(Buffer.alloc(9_000_000, "x")), false);
    side.peer.socket.end();
    await turn();
    await turn();
    t.equal(response.body.length, 0);
    stream.resume();
    t.equal((await response.done()).body.length, 9_000_000);
  });
  await t.test(
    "a response that ended before its receiver took it is whole",
    async (t) => {
      const side = await clientSide(t);
      const { stream, response } = side.send({});
      response.head = () => stream.pause();
      side.peer.send("HTTP/1.1 200 OK\r\n\r\nall of it");
      side.peer.socket.end();
      while (!side.socket.isPaused()) await turn();
      await turn();
      t.equal(response.body, "");
      stream.resume();
      t.equal((await response.done()).body, "all of it");
    },
  );
  await t.test(
    "write says when enough is queued, and drained when there is room",
    async (t) => {
      const side = await clientSide(t);
      side.peer.socket.pause();
      const { stream, response } = side.send({ method: "POST" }, false);
      while (stream.write(Buffer.alloc(60_000)));
      t.equal(response.drains, 0);
      side.peer.socket.resume();
      await response.signal.until(() => response.drains === 1);
      t.equal(stream.write(Buffer.alloc(10)), true);
      stream.end();
      await side.peer.until("0\r\n\r\n");
    },
  );
});
