/** What crosses the pair, and what happens when either end breaks off or is slow. */
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import t from "tap";
import { withPair, type Answer } from "../../support/meshes/pair.ts";

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

void t.test(
  "a GET reaches the application over the link and its answer comes back",
  async (t) => {
    await withPair({}, async (pair) => {
      const answer = await pair.call({ path: "/hello?x=1" });
      t.equal(answer.status, 200, answer.text);
      const { method, url, headers } = echoed(answer);
      t.match({ method, url }, { method: "GET", url: "/hello?x=1" });
      t.equal(headers["host"], "orders.shop");
      t.notOk(
        headers["x-wherry-destination"],
        "the steering field is stripped",
      );
      t.equal(
        await pair.metric(
          pair.callee,
          "wherry_requests_total",
          'direction="inbound"',
          'status="200"',
          pair.authority.id("web"),
        ),
        1,
        "the callee counts the caller by its certificate's identity",
      );
    });
  },
);

void t.test("a body crosses whatever its framing", async (t) => {
  const bodies = [
    { name: "small with a length", body: "abc", headers: {} },
    {
      name: "chunked",
      body: "x".repeat(5000),
      headers: { "transfer-encoding": "chunked" },
    },
    { name: "above the replay buffer", body: "y".repeat(300_000), headers: {} },
    {
      name: "above every window",
      body: "z".repeat(5_000_000),
      headers: { "transfer-encoding": "chunked" },
    },
  ];
  await withPair({}, async (pair) => {
    for (const { name, body, headers } of bodies) {
      const answer = await pair.call({ method: "POST", body, headers });
      t.equal(answer.status, 200, name);
      t.ok(echoed(answer).body === body, `${name}: octets are the same`);
    }
    t.equal(
      await pair.metric(pair.caller, "wherry_active_requests", "outbound"),
      0,
      "nothing is left under way",
    );
  });
});

void t.test(
  "the caller's going away ends the work upstream, whether it resets or closes (law 4)",
  async (t) => {
    for (const leave of ["resetAndDestroy", "end"] as const) {
      const seen: string[] = [];
      let gone: (() => void) | undefined;
      const ended = new Promise<void>((resolve) => (gone = resolve));
      let arrived: (() => void) | undefined;
      const reached = new Promise<void>((resolve) => (arrived = resolve));
      await withPair(
        {
          app: () => (request, response) => {
            seen.push(request.url ?? "");
            response.on("close", () => gone?.());
            arrived?.();
          },
        },
        async (pair) => {
          const socket = connect({
            port: pair.caller.ports.outbound ?? 0,
            host: "127.0.0.1",
          });
          socket.write("GET /slow HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
          await reached;
          socket[leave]();
          await ended;
          t.same(seen, ["/slow"], leave);
          t.equal(
            await pair.metric(
              pair.caller,
              "wherry_active_requests",
              "outbound",
            ),
            0,
          );
          t.match(
            pair.log.find(({ direction }) => direction === "outbound"),
            { status: 0, reason: "CLIENT_CLOSED" },
          );
        },
      );
    }
  },
);

void t.test(
  "an answer that is cut off is cut off for the caller too, not made to look complete",
  async (t) => {
    await withPair(
      {
        rawApp: () => (socket) => {
          socket.once("data", () => {
            socket.write(
              "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
              () => socket.resetAndDestroy(),
            );
          });
          socket.on("error", () => undefined);
        },
      },
      async (pair) => {
        await t.rejects(pair.call());
        t.match(
          pair.log.find(({ direction }) => direction === "outbound"),
          { reason: "UPSTREAM_RESET" },
        );
      },
    );
  },
);

void t.test(
  "an answer before the end of the request is passed on, and nothing is left hanging",
  async (t) => {
    await withPair(
      {
        app: () => (_request, response) => {
          response.statusCode = 413;
          response.end("too much");
        },
      },
      async (pair) => {
        const socket = connect({
          port: pair.caller.ports.outbound ?? 0,
          host: "127.0.0.1",
        });
        socket.on("error", () => undefined);
        socket.write(
          "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 1000000\r\n\r\nbegin",
        );
        let got = "";
        for await (const chunk of socket) {
          got += String(chunk);
          if (got.includes("too much")) break;
        }
        t.match(got, /^HTTP\/1\.1 413 /);
        socket.destroy();
      },
    );
  },
);

void t.test("a slow reader slows the application down", async (t) => {
  const total = 64 * 1024 * 1024;
  let written = 0;
  let stalled: (() => void) | undefined;
  const stall = new Promise<void>((resolve) => (stalled = resolve));
  await withPair(
    {
      app: () => (_request, response) => {
        response.writeHead(200, { "content-length": total });
        const piece = Buffer.alloc(64 * 1024, 97);
        const write = (): void => {
          while (written < total) {
            written += piece.length;
            if (!response.write(piece)) {
              const timer = setTimeout(() => stalled?.(), 500);
              response.once("drain", () => {
                clearTimeout(timer);
                write();
              });
              return;
            }
          }
          response.end();
        };
        write();
      },
    },
    async (pair) => {
      const socket: Socket = connect({
        port: pair.caller.ports.outbound ?? 0,
        host: "127.0.0.1",
      });
      socket.on("error", () => undefined);
      socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
      await stall;
      t.ok(
        written < total / 2,
        `the application has written ${written} octets while nobody reads`,
      );
      let received = 0;
      socket.on("data", (chunk: Buffer) => {
        received += chunk.length;
        if (received >= total) socket.destroy();
      });
      await once(socket, "close");
      t.ok(received >= total, "the rest comes when it is read");
    },
  );
});

void t.test("both directions stream at the same time", async (t) => {
  await withPair(
    {
      app: () => (request, response) => {
        response.writeHead(200);
        request.pipe(response);
      },
    },
    async (pair) => {
      const request = httpRequest({
        port: pair.caller.ports.outbound,
        method: "POST",
        agent: false,
        headers: { host: "orders.shop", "transfer-encoding": "chunked" },
      });
      request.write("one");
      const [response] = (await once(request, "response")) as [IncomingMessage];
      const [first] = (await once(response, "data")) as [Buffer];
      t.equal(first.toString(), "one");
      request.write("two");
      const [second] = (await once(response, "data")) as [Buffer];
      t.equal(second.toString(), "two");
      request.end();
      response.resume();
      await once(response, "end");
    },
  );
});
