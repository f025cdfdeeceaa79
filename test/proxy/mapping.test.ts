/** What of a message crosses the pair unchanged, what is mapped, and what is removed. */
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import {
  connect as connectHttp2,
  constants,
  type ClientHttp2Stream,
} from "node:http2";
import { connect } from "node:net";
import t from "tap";
import { send, withPair, type Answer } from "../support/meshes/pair.ts";

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly trailers: Record<string, string>;
  readonly body: string;
}

function echoed(answer: Answer): Echo {
  return JSON.parse(answer.text) as Echo;
}

/** Sends raw octets and resolves with all that comes until the connection ends. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1" });
  let got = "";
  socket.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  socket.write(text, "latin1");
  await once(socket, "close");
  return got;
}

void t.test("trailers cross in both directions", async (t) => {
  await withPair(
    {
      app: () => (request, response) => {
        request.resume();
        request.on("end", () => {
          response.writeHead(200, { trailer: "x-sum" });
          response.write("part");
          response.addTrailers({
            "x-sum": request.trailers["x-in"] ?? "none",
          });
          response.end();
        });
      },
    },
    async (pair) => {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const request = httpRequest(
          {
            port: pair.caller.ports.outbound,
            method: "POST",
            agent: false,
            headers: {
              host: "orders.shop",
              te: "trailers",
              trailer: "x-in",
              "transfer-encoding": "chunked",
            },
          },
          (response) => {
            response.resume();
            response.on("end", () => resolve(response));
          },
        );
        request.on("error", reject);
        request.write("body");
        request.addTrailers({ "x-in": "42" });
        request.end();
      });
      t.equal(answer.trailers["x-sum"], "42");
    },
  );
});

void t.test("HEAD, 204 and 304 have no body and do not hang", async (t) => {
  await withPair(
    {
      app: () => (request, response) => {
        const status = Number(request.url?.slice(1));
        response.writeHead(status, { etag: '"1"' });
        response.end();
      },
    },
    async (pair) => {
      for (const [method, status] of [
        ["HEAD", 200],
        ["GET", 204],
        ["GET", 304],
      ] as const) {
        const answer = await pair.call({ method, path: `/${status}` });
        t.match(answer, { status, text: "" }, `${method} ${status}`);
      }
    },
  );
});

void t.test("100 Continue and 103 Early Hints pass through", async (t) => {
  await withPair(
    {
      app: () => (request, response) => {
        response.writeEarlyHints({ link: "</a.css>; rel=preload" });
        request.resume();
        request.on("end", () => response.end("done"));
      },
    },
    async (pair) => {
      const got = await raw(
        pair.caller.ports.outbound ?? 0,
        "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nok",
      );
      t.match(got, /HTTP\/1\.1 103 /);
      t.match(got, /link: <\/a\.css>; rel=preload/i);
      t.match(got, /HTTP\/1\.1 200 OK/);
    },
  );
});

void t.test(
  "identity and steering fields of the caller's application are removed, those of the trace are replaced",
  async (t) => {
    await withPair({}, async (pair) => {
      const answer = await pair.call({
        headers: {
          "x-wherry-destination": "payments.shop:80",
          "x-wherry-reason": "DENIED",
          "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/x/sa/admin",
          traceparent:
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
      });
      const { headers } = echoed(answer);
      t.equal(answer.status, 200, "it went to orders all the same");
      for (const name of Object.keys(headers))
        t.notMatch(name, /^x-wherry-|^x-forwarded-client-cert$/);
      const traceparent = headers["traceparent"] ?? "";
      t.match(traceparent, /^00-0af7651916cd43dd8448eb211c80319c-/);
      t.notMatch(traceparent, /b7ad6b7169203331/);
      // The parents form one chain: caller's server and client span, callee's server and client span.
      const chain = ["b7ad6b7169203331"];
      for (let step = 0; step < 4; step += 1) {
        const child = pair.spans.find(
          ({ parentSpanId }) => parentSpanId === chain.at(-1),
        );
        chain.push(child?.spanId ?? "none");
      }
      t.equal(chain.at(-1), traceparent.split("-")[2]);
      t.same(pair.spans.map(({ kind }) => kind).sort(), [
        "client",
        "client",
        "server",
        "server",
      ]);
    });
  },
);

void t.test(
  "an application cannot forge a reason: x-wherry-* of its answers are removed",
  async (t) => {
    await withPair(
      {
        app: () => (_request, response) => {
          response.setHeader("x-wherry-reason", "DENIED; policy=shop/none");
          response.statusCode = 500;
          response.end();
        },
      },
      async (pair) => {
        const answer = await pair.call();
        t.equal(answer.status, 500);
        t.equal(answer.reason, undefined);
      },
    );
  },
);

void t.test("the normalised path is what the application gets", async (t) => {
  await withPair({}, async (pair) => {
    for (const [sent, got] of [
      ["/a/../b", "/b"],
      ["/a//b/./c?d=/../e", "/a/b/c?d=/../e"],
      ["/%61dmin", "/admin"],
    ] as const)
      t.equal(echoed(await pair.call({ path: sent })).url, got, sent);
    t.equal((await pair.call({ path: "/a%00b" })).status, 400, "NUL is a 400");
  });
});

void t.test("cookies, repeated fields and OPTIONS * survive", async (t) => {
  await withPair(
    {
      app: () => (request, response) => {
        response.setHeader("set-cookie", ["a=1", "b=2"]);
        response.end(JSON.stringify([request.url, request.headers]));
      },
    },
    async (pair) => {
      const answer = await pair.call({
        method: "OPTIONS",
        path: "*",
        headers: { cookie: "x=1; y=2", "x-many": ["1", "2"] },
      });
      const [url, headers] = JSON.parse(answer.text) as [
        string,
        Record<string, string>,
      ];
      t.equal(url, "*");
      t.equal(headers["cookie"], "x=1; y=2");
      t.equal(headers["x-many"], "1, 2");
      t.same(answer.headers["set-cookie"], ["a=1", "b=2"]);
    },
  );
});

void t.test("absolute form works: the sidecar as an HTTP proxy", async (t) => {
  await withPair({}, async (pair) => {
    const answer = await send(pair.caller.ports.outbound ?? 0, {
      path: "http://orders.shop/x",
    });
    t.equal(echoed(answer).url, "/x");
  });
});

void t.test("the link in HTTP/1.1 carries the same", async (t) => {
  await withPair({ linkProtocol: "http/1.1" }, async (pair) => {
    const answer = await pair.call({ method: "PUT", body: "abc", path: "/h1" });
    t.match(echoed(answer), { method: "PUT", url: "/h1", body: "abc" });
  });
});

void t.test(
  "an application in HTTP/2 without TLS is spoken to so",
  async (t) => {
    const { createServer } = await import("node:http2");
    const server = createServer((request, response) => {
      response.end(`h2 ${request.httpVersion} ${request.url}`);
    });
    await withPair(
      {
        appProtocol: "http2",
        rawApp: () => (socket) => server.emit("connection", socket),
      },
      async (pair) => {
        const answer = await pair.call({ path: "/two" });
        t.equal(answer.text, "h2 2.0 /two");
      },
    );
  },
);

void t.test(
  "a caller in HTTP/2 without TLS is served, and its reset ends the work upstream",
  async (t) => {
    let cancelled: (() => void) | undefined;
    const ended = new Promise<void>((resolve) => (cancelled = resolve));
    let reached: (() => void) | undefined;
    const arrived = new Promise<void>((resolve) => (reached = resolve));
    await withPair(
      {
        app: () => (request, response) => {
          if (request.url === "/slow") {
            response.on("close", () => cancelled?.());
            reached?.();
          } else response.end(`${request.headers.host} ${request.url}`);
        },
      },
      async (pair) => {
        const session = connectHttp2(
          `http://127.0.0.1:${pair.caller.ports.outbound}`,
        );
        const get = (path: string): ClientHttp2Stream =>
          session.request({ ":path": path, ":authority": "orders.shop" });
        const stream = get("/two?x");
        let text = "";
        for await (const chunk of stream) text += String(chunk);
        t.equal(text, "orders.shop /two?x");
        const slow = get("/slow");
        slow.on("error", () => undefined);
        await arrived;
        slow.close(constants.NGHTTP2_CANCEL);
        await ended;
        session.close();
      },
    );
  },
);
