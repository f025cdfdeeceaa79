/** Laws 1, 2, 3 and 7 seen from outside: what a request keeps, when it is committed, what is never sent again, what is never read on. */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { connect, type Socket } from "node:net";
import t from "tap";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  resource,
  until,
  withPair,
  type PairOptions,
} from "../support/meshes/pair.ts";
import { ask, link } from "../support/laws/harness.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Answers each head that it has read, and counts heads and connections. */
function scripted(act: (socket: Socket, count: number) => void): {
  readonly seen: { heads: number; connections: number };
  readonly rawApp: () => (socket: Socket) => void;
} {
  const seen = { heads: 0, connections: 0 };
  return {
    seen,
    rawApp: () => (socket) => {
      seen.connections += 1;
      socket.on("error", () => undefined);
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        for (
          let end = text.indexOf("\r\n\r\n");
          end >= 0;
          end = text.indexOf("\r\n\r\n")
        ) {
          text = text.slice(end + 4);
          seen.heads += 1;
          act(socket, seen.heads);
        }
      });
    },
  };
}

function route(spec: Record<string, unknown>): ReturnType<typeof resource> {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ backendRefs: [{ name: "orders", port: 80 }], ...spec }],
  });
}

function addsToResponse(name: string): Record<string, unknown> {
  return {
    type: "ResponseHeaderModifier",
    responseHeaderModifier: { set: [{ name, value: "yes" }] },
  };
}

/** Without the probe's connections among those that are counted. */
const countable: PairOptions = { callee: { appPorts: [] } };

void t.test(
  "law 1: time-outs, retries and filters of a request are those of the snapshot that it started with",
  async (t) => {
    const { seen, rawApp } = scripted((socket, count) => {
      if (count > 1) socket.write(OK);
      else answerFirst = () => void socket.write(BUSY);
    });
    const BUSY = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let answerFirst: (() => void) | undefined;
    await withPair(
      {
        ...countable,
        rawApp,
        resources: [
          route({
            retry: { codes: [503], attempts: 1, backoff: "1ms" },
            filters: [addsToResponse("x-before")],
          }),
        ],
      },
      async (pair) => {
        const call = pair.call();
        await until(() => seen.heads === 1);
        // Under the new snapshot nothing is repeated, and there is nowhere to go.
        pair.apply([
          route({
            backendRefs: [{ name: "nowhere", port: 80 }],
            filters: [addsToResponse("x-after")],
          }),
        ]);
        answerFirst?.();
        const answer = await call;
        t.match(answer, { status: 200, headers: { "x-before": "yes" } });
        t.notOk(answer.headers["x-after"]);
        t.equal(seen.heads, 2, "it was repeated, as its snapshot says");
        t.match(await pair.call(), { status: 500, reason: /^BACKEND_INVALID/ });
      },
    );
  },
);

void t.test(
  "law 1: a request that ends by itself outlives the DENY that comes meanwhile",
  async (t) => {
    let answerFirst: (() => void) | undefined;
    const { seen, rawApp } = scripted((socket) => {
      answerFirst = () => void socket.write(OK);
    });
    await withPair({ ...countable, rawApp }, async (pair) => {
      const call = pair.call();
      await until(() => seen.heads === 1);
      pair.apply([
        resource("AuthorizationPolicy", "closed", {
          action: "DENY",
          rules: [{}],
        }),
      ]);
      t.match(await pair.call(), { status: 403 }, "the next one is refused");
      answerFirst?.();
      t.match(await call, { status: 200 });
    });
  },
);

void t.test(
  "law 2: once a byte of the answer was passed on, nothing is sent again",
  async (t) => {
    for (const [what, answer] of [
      ["a head", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"],
      [
        "a part of the body",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
      ],
      ["a 103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"],
    ] as const) {
      const { seen, rawApp } = scripted((socket) =>
        socket.write(answer, () =>
          // The answer is on its way before the reset takes it back.
          setTimeout(() => socket.resetAndDestroy(), 50),
        ),
      );
      await withPair(
        {
          ...countable,
          instances: 2,
          rawApp,
          resources: [route({ retry: { codes: [503], attempts: 3 } })],
        },
        async (pair) => {
          const outcome = await pair.call().then(
            ({ status }) => String(status),
            () => "cut off",
          );
          t.equal(outcome, what === "a 103" ? "503" : "cut off", what);
          t.equal(seen.heads, 1, `${what}: seen once`);
        },
      );
    }
  },
);

void t.test(
  "law 3: a POST takes a connection that was idle for less than 1 s, or dials; a GET takes what there is",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const { seen, rawApp } = scripted((socket) => socket.write(OK));
    await withPair({ ...countable, clock, rawApp }, async (pair) => {
      const connectionsAfter = async (
        idle: number,
        method: string,
      ): Promise<number> => {
        clock.advance(idle);
        t.equal((await pair.call({ method })).status, 200);
        return seen.connections;
      };
      t.equal(await connectionsAfter(0, "GET"), 1);
      t.equal(await connectionsAfter(999, "POST"), 1, "999 ms: used again");
      t.equal(await connectionsAfter(1000, "GET"), 1, "GET may be repeated");
      t.equal(await connectionsAfter(1000, "POST"), 2, "1,000 ms: dialled");
      t.equal(await connectionsAfter(1000, "PATCH"), 3, "so for PATCH");
      t.equal(await connectionsAfter(2999, "PUT"), 3, "PUT is idempotent");
      t.equal(await connectionsAfter(3000, "GET"), 4, "3 s: too old for any");
    });
  },
);

void t.test(
  "law 3: HTTP/2 that heard nothing for 1 s answers a PING before it gets a POST",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const events: string[] = [];
    const server = createHttp2Server();
    server.on("session", (session) => {
      events.push("connection");
      session.on("ping", () => events.push("ping"));
    });
    server.on("request", (request, response) => {
      events.push(request.method);
      response.end("ok");
    });
    await withPair(
      {
        clock,
        plaintext: true,
        appProtocol: "http2",
        rawApp: () => (socket) => server.emit("connection", socket),
      },
      async (pair) => {
        const after = async (idle: number, method: string): Promise<void> => {
          clock.advance(idle);
          t.equal((await pair.call({ method })).status, 200, method);
        };
        await after(0, "GET");
        events.length = 0;
        await after(500, "POST");
        t.same(events.splice(0), ["POST"], "heard of half a second ago");
        await after(1000, "GET");
        t.same(events.splice(0), ["GET"], "may be repeated");
        await after(1000, "POST");
        t.same(events.splice(0), ["ping", "POST"], "first a sign of life");
      },
    );
  },
);

void t.test(
  "law 3: a POST is not sent again once a byte of it was written, whatever the route asks",
  async (t) => {
    // Ends the connection upon the first byte, having read no request.
    let connections = 0;
    await withPair(
      {
        ...countable,
        instances: 2,
        rawApp: () => (socket) => {
          connections += 1;
          socket.on("error", () => undefined);
          socket.once("data", () => socket.destroy());
        },
        resources: [
          route({ retry: { codes: [500, 502, 503, 504], attempts: 3 } }),
        ],
      },
      async (pair) => {
        const answer = await pair.call({ method: "POST", body: "pay" });
        t.match(answer, { status: 503, reason: /^UPSTREAM_RESET/ });
        t.equal(connections, 1);
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_retries_refused_total",
            "not-idempotent",
          ),
          1,
          "the refusal to repeat has its reason",
        );
      },
    );
  },
);

void t.test(
  "law 6: the path that policy saw is the path that goes on, from either side",
  async (t) => {
    const targets: (string | undefined)[] = [];
    const app = (): RequestListener => (request, response) => {
      targets.push(request.url);
      response.end();
    };
    const raw = "/a/../b//%63?q=/../";
    await withPair({ app, plaintext: true }, async (pair) => {
      await pair.call({ path: raw });
    });
    // The inbound side believes no caller: here is one that normalises nothing.
    await withPair({ app }, async (pair) => {
      const connection = await link(pair, "web");
      t.equal(await ask(connection, { path: raw }), 200);
      connection.destroy();
    });
    t.same(targets, ["/b/c?q=/../", "/b/c?q=/../"]);
  },
);

void t.test(
  "law 7: a pooled connection that spoke out of turn is not used again, and nobody reads what it said",
  async (t) => {
    const POISON = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (const [what, more] of [
      ["with the answer", (socket: Socket) => void socket.write(OK + POISON)],
      [
        "while idle",
        (socket: Socket) => {
          socket.write(OK);
          setTimeout(() => socket.write(POISON), 20);
        },
      ],
    ] as const) {
      const { seen, rawApp } = scripted((socket, count) => {
        if (count === 1) more(socket);
        else socket.write(OK);
      });
      await withPair({ ...countable, rawApp }, async (pair) => {
        t.equal((await pair.call()).text, "ok");
        await new Promise((resolve) => setTimeout(resolve, 60));
        t.equal((await pair.call()).text, "ok", what);
        t.equal(seen.connections, 2, `${what}: on a connection of its own`);
      });
    }
  },
);

void t.test(
  "law 7: what breaks the grammar is a 400 and a closed connection, from upstream a 502 and a closed connection; each is counted",
  async (t) => {
    const closed: Promise<unknown>[] = [];
    await withPair(
      {
        ...countable,
        rawApp: () => (socket) => {
          socket.on("error", () => undefined);
          socket.on("end", () => socket.end());
          closed.push(once(socket, "close"));
          socket.once("data", () =>
            socket.write(
              "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            ),
          );
        },
      },
      async (pair) => {
        t.match(await pair.call(), {
          status: 502,
          reason: "UPSTREAM_PROTOCOL",
        });
        await closed[0];
        const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
        let got = "";
        socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
        socket.write(
          "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: orders.shop\r\n\r\n",
        );
        await once(socket, "close");
        t.match(got, /^HTTP\/1\.1 400 [^]*x-wherry-reason: BAD_REQUEST/);
        t.equal(got.split("HTTP/1.1 ").length - 1, 1, "one answer alone");
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_refusals_total",
            "outbound",
            "BAD_REQUEST",
          ),
          1,
        );
      },
    );
  },
);
