/** The mapping between HTTP/1.1 and HTTP/2, row by row over a whole pair: callers and applications in HTTP/1.1 or HTTP/2, the link in HTTP/2. */
import { once } from "node:events";
import { createServer as createHttp2Server } from "node:http2";
import {
  connect as connectHttp2,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import { connect, type Socket } from "node:net";
import t, { type Test } from "tap";
import { until, withPair, type Pair } from "../support/meshes/pair.ts";

/** In an answer: the application resets the connection here. */
const BREAK = "\0BREAK";

interface Seen {
  /** The request as the application read it. */
  readonly text: string;
}

/** An application that answers `answer` to each whole head, and keeps what it read. */
function recording(answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"): {
  readonly seen: Seen[];
  readonly rawApp: () => (socket: Socket) => void;
} {
  const seen: { text: string }[] = [];
  return {
    seen,
    rawApp: () => (socket) => {
      socket.on("error", () => undefined);
      socket.on("end", () => socket.end());
      let mine = { text: "" };
      socket.on("data", (chunk: Buffer) => {
        // The next request on a connection that is kept.
        if (/^[A-Z]+ \S+ HTTP\/1/.test(chunk.toString("latin1"))) {
          mine = { text: "" };
          seen.push(mine);
        }
        const before = mine.text.includes("\r\n\r\n");
        mine.text += chunk.toString("latin1");
        if (before || !mine.text.includes("\r\n\r\n")) return;
        const [said = "", breaks] = answer.split(BREAK);
        socket.write(said, () => {
          // What was said is on its way before the reset takes it back.
          if (breaks !== undefined)
            setTimeout(() => socket.resetAndDestroy(), 30);
        });
      });
    },
  };
}

/** Octets to the caller's sidecar, and everything that comes back until the connection ends. */
async function say(pair: Pair, text: string): Promise<string> {
  const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
  let got = "";
  socket.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  socket.write(text, "latin1");
  await once(socket, "close");
  return got;
}

/** One request by HTTP/2 without TLS. */
async function sayHttp2(
  pair: Pair,
  headers: OutgoingHttpHeaders,
): Promise<{ headers: IncomingHttpHeaders; text: string; code: number }> {
  const session = connectHttp2(
    `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
  );
  const stream = session.request({ ":authority": "orders.shop", ...headers });
  let answered: IncomingHttpHeaders = {};
  let text = "";
  stream.on("response", (fields) => (answered = fields));
  stream.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  stream.on("error", () => undefined);
  await new Promise((resolve) => stream.on("close", resolve));
  session.close();
  return { headers: answered, text, code: stream.rstCode };
}

const GET = "GET /x HTTP/1.1\r\nHost: orders.shop\r\nConnection: close\r\n";

async function row(
  t: Test,
  what: string,
  use: (t: Test, pair: Pair, seen: Seen[]) => Promise<void>,
  answer?: string,
): Promise<void> {
  const { seen, rawApp } = recording(answer);
  await t.test(what, async (t) => {
    await withPair({ rawApp, callee: { appPorts: [] } }, (pair) =>
      use(t, pair, seen),
    );
  });
}

void t.test("fields", async (t) => {
  await row(
    t,
    "Host becomes :authority and Host again",
    async (t, pair, seen) => {
      await say(
        pair,
        "GET /x HTTP/1.1\r\nHost: Orders.Shop:80\r\nConnection: close\r\n\r\n",
      );
      t.match(seen[0]?.text, /^host: Orders\.Shop:80\r$/im, "from HTTP/1.1");
      await sayHttp2(pair, { ":authority": "orders.shop:80" });
      t.match(seen.at(-1)?.text, /host: orders\.shop:80\r\n/i, "from HTTP/2");
      t.equal(seen.at(-1)?.text.match(/^host:/gim)?.length, 1);
    },
  );
  await row(
    t,
    "two Hosts, or Host beside another :authority, are refused",
    async (t, pair, seen) => {
      const got = await say(pair, `${GET}Host: payments.shop\r\n\r\n`);
      t.match(got, /^HTTP\/1\.1 400 /);
      const { code } = await sayHttp2(pair, { host: "payments.shop" });
      t.equal(code, constants.NGHTTP2_PROTOCOL_ERROR);
      t.same(seen, []);
    },
  );
  await row(
    t,
    "cookies that HTTP/2 split are one field for HTTP/1.1 (RFC 9113 8.2.3)",
    async (t, pair, seen) => {
      await sayHttp2(pair, { cookie: ["a=1", "b=2", "c=3"] });
      t.match(seen[0]?.text, /^cookie: a=1; b=2; c=3\r$/im);
      t.equal(seen[0]?.text.match(/^cookie:/gim)?.length, 1);
    },
  );
  await row(
    t,
    "what belongs to the connection does not cross, in either direction (RFC 9110 7.6.1)",
    async (t, pair, seen) => {
      const got = await say(
        pair,
        "GET /x HTTP/1.1\r\nHost: orders.shop\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nX-End: 2\r\n\r\n",
      );
      const text = seen[0]?.text ?? "";
      t.notMatch(text, /x-hop|keep-alive|proxy-connection/i);
      t.match(text, /^x-end: 2\r$/im);
      t.notMatch(got, /x-back|timeout=7/i);
      t.match(got, /^x-through: 3\r$/im);
    },
    "HTTP/1.1 200 OK\r\nConnection: X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=7\r\nX-Through: 3\r\nContent-Length: 2\r\n\r\nok",
  );
  await row(
    t,
    "names have no case: what was written mixed arrives, once, with its value as it was",
    async (t, pair, seen) => {
      const got = await say(pair, `${GET}X-MiXeD: VaLuE\r\n\r\n`);
      t.match(seen[0]?.text, /^x-mixed: VaLuE\r$/im);
      t.match(got, /^x-answer: CaSe\r$/im);
    },
    "HTTP/1.1 200 OK\r\nX-AnSwEr: CaSe\r\nContent-Length: 2\r\n\r\nok",
  );
  await row(
    t,
    "a token of Upgrade that is not WebSocket's is not asked for (RFC 9110 7.8)",
    async (t, pair, seen) => {
      const got = await say(
        pair,
        "GET /x HTTP/1.1\r\nHost: orders.shop\r\nConnection: Upgrade, close\r\nUpgrade: foo/2\r\n\r\n",
      );
      t.match(got, /^HTTP\/1\.1 200 /, "the request is answered without it");
      t.notMatch(seen[0]?.text, /upgrade|foo\/2/i);
    },
  );
});

void t.test("versions and expectations", async (t) => {
  await row(
    t,
    "an HTTP/1.0 caller gets no chunks, no 1xx, and the end of the connection as the end",
    async (t, pair) => {
      const got = await say(
        pair,
        "GET /x HTTP/1.0\r\nHost: orders.shop\r\n\r\n",
      );
      t.match(got, /^HTTP\/1\.1 200 /);
      t.notMatch(got, /103|transfer-encoding/i);
      t.match(got, /\r\n\r\nhello$/);
    },
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  );
  await t.test(
    "Expect: the body is not sent before the application's 100, and then whole",
    async (t) => {
      await withPair(
        {
          app: () => (request, response) => {
            let body = "";
            request.on("data", (chunk) => (body += String(chunk)));
            request.on("end", () => response.end(`got ${body}`));
          },
        },
        async (pair) => {
          const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
          let got = "";
          socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
          socket.write(
            "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
          );
          await until(() => got.startsWith("HTTP/1.1 100 "));
          socket.write("body");
          await once(socket, "close");
          t.match(got, /HTTP\/1\.1 200 [^]*got body/);
        },
      );
    },
  );
  await row(t, "another expectation is a 417", async (t, pair, seen) => {
    const got = await say(pair, `${GET}Expect: miracles\r\n\r\n`);
    t.match(got, /^HTTP\/1\.1 417 /);
    t.same(seen, []);
  });
});

void t.test("framing", async (t) => {
  await row(
    t,
    "a length stays a length, and chunks stay a body without one",
    async (t, pair, seen) => {
      await say(
        pair,
        "PUT /a HTTP/1.1\r\nHost: orders.shop\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
      );
      t.match(seen[0]?.text, /^content-length: 3\r$/im);
      t.notMatch(seen[0]?.text, /transfer-encoding/i);
      await say(
        pair,
        "PUT /b HTTP/1.1\r\nHost: orders.shop\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      );
      await until(() => seen.at(-1)?.text.endsWith("0\r\n\r\n") === true);
      t.match(seen.at(-1)?.text, /^transfer-encoding: chunked\r$/im);
      t.notMatch(seen.at(-1)?.text.slice(1), /PUT \/b[^]*content-length/i);
    },
  );
  await row(
    t,
    "a length that HTTP/2's content belies is a reset, and no whole request for the application (RFC 9113 8.1.1)",
    async (t, pair, seen) => {
      const session = connectHttp2(
        `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
      );
      session.on("error", () => undefined);
      const stream = session.request({
        ":authority": "orders.shop",
        ":method": "PUT",
        "content-length": "10",
      });
      stream.on("error", () => undefined);
      stream.end("short");
      await new Promise((resolve) => stream.on("close", resolve));
      session.destroy();
      t.not(stream.rstCode, 0);
      for (const { text } of seen)
        t.ok((text.split("\r\n\r\n")[1] ?? "").length < 10);
    },
  );
});

void t.test("aborts and resets", async (t) => {
  const CUT = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart";
  await row(
    t,
    "an application that breaks off resets the caller's stream, or cuts its connection",
    async (t, pair) => {
      const { code, text } = await sayHttp2(pair, {});
      t.equal(text, "part");
      t.not(code, 0, "HTTP/2: reset");
      const got = await say(pair, `${GET}\r\n`);
      t.match(got, /part$/, "HTTP/1.1: cut short of its length");
    },
    CUT + BREAK,
  );
});

void t.test(
  "an HTTP/1.1 caller that goes away resets the stream of an application in HTTP/2",
  async (t) => {
    const server = createHttp2Server();
    let code = -1;
    let reached = false;
    server.on("stream", (stream) => {
      reached = true;
      stream.on("error", () => undefined);
      stream.on("close", () => (code = stream.rstCode));
    });
    await withPair(
      {
        appProtocol: "http2",
        rawApp: () => (socket) => server.emit("connection", socket),
      },
      async (pair) => {
        const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write(`${GET}\r\n`);
        await until(() => reached);
        socket.destroy();
        await until(() => code >= 0);
        t.equal(code, constants.NGHTTP2_CANCEL);
      },
    );
  },
);
