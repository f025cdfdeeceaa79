/** maxRequestBodyBytes at a real sidecar: a body of the limit passes, one byte more does not, whether its length is declared or not. */
import { once } from "node:events";
import {
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
} from "node:http";
import type { Socket } from "node:net";
import t from "tap";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

const LIMIT = 100_000;

function limited(
  bytes: number,
  name = "orders",
  sectionName?: string,
): ReturnType<typeof resource> {
  return resource("TrafficPolicy", name, {
    targetRefs: [
      {
        kind: "Service",
        name: "orders",
        ...(sectionName === undefined ? {} : { sectionName }),
      },
    ],
    maxRequestBodyBytes: bytes,
  });
}

interface Seen {
  /** Bytes of each request that came to its end. */
  readonly whole: number[];
  /** Requests that broke off. */
  aborted: number;
  requests: number;
}

function counting(seen: Seen): () => RequestListener {
  return () => (request, response) => {
    seen.requests += 1;
    let bytes = 0;
    request.on("data", (chunk: Buffer) => (bytes += chunk.length));
    request.on("error", () => (seen.aborted += 1));
    request.on("end", () => {
      seen.whole.push(bytes);
      response.end("ok");
    });
  };
}

/** Sends pieces whose sum nobody was told. */
async function streamed(
  pair: Pair,
  pieces: readonly number[],
): Promise<{ status: number; reason: unknown }> {
  const sent = httpRequest({
    port: pair.caller.ports.outbound,
    host: "127.0.0.1",
    method: "POST",
    path: "/",
    headers: { host: "orders.shop", "transfer-encoding": "chunked" },
  });
  sent.on("error", () => undefined);
  for (const length of pieces) sent.write(Buffer.alloc(length));
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  response.resume();
  return {
    status: response.statusCode ?? 0,
    reason: response.headers["x-wherry-reason"],
  };
}

void t.test("a body of the limit passes, one byte more is 413", async (t) => {
  const seen: Seen = { whole: [], aborted: 0, requests: 0 };
  await withPair(
    { app: counting(seen), resources: [limited(LIMIT)] },
    async (pair) => {
      const exact = await pair.call({
        method: "POST",
        body: Buffer.alloc(LIMIT),
      });
      t.equal(exact.status, 200);
      t.same(await streamed(pair, [LIMIT / 2, LIMIT / 2]), {
        status: 200,
        reason: undefined,
      });
      t.equal((await pair.call()).status, 200, "no body at all");
      t.same(seen.whole, [LIMIT, LIMIT, 0]);

      const declared = await pair.call({
        method: "POST",
        body: Buffer.alloc(LIMIT + 1),
      });
      t.equal(declared.status, 413);
      t.equal(declared.reason, "BODY_TOO_LARGE; policy=shop/orders");
      t.match(declared.text, /accepts request bodies of at most 100000 bytes/);
      t.equal(seen.requests, 3, "the application never heard of it");

      t.same(await streamed(pair, [LIMIT, 1]), {
        status: 413,
        reason: "BODY_TOO_LARGE; policy=shop/orders",
      });
      t.equal(seen.whole.length, 3, "the application got no whole request");
      t.equal(
        await pair.metric(
          pair.callee,
          "wherry_requests_total",
          'direction="inbound"',
          'reason="BODY_TOO_LARGE"',
        ),
        2,
      );
    },
  );
});

void t.test(
  "what is refused neither opens a breaker nor ejects, and is not repeated",
  async (t) => {
    await withPair(
      {
        app: () => (request, response) => {
          request.resume();
          response.end("ok");
        },
        resources: [limited(10)],
      },
      async (pair) => {
        for (let count = 0; count < 150; count += 1)
          t.equal(
            (await pair.call({ method: "PUT", body: "x".repeat(11) })).status,
            413,
          );
        t.equal((await pair.call()).status, 200);
        t.equal(
          await pair.metric(pair.caller, "wherry_retries_total"),
          0,
          "none was sent again",
        );
        t.equal(await pair.metric(pair.caller, "wherry_ejections_total"), 0);
      },
    );
  },
);

void t.test(
  "a response that began before the body was too long is broken off",
  async (t) => {
    let broken = false;
    await withPair(
      {
        rawApp: () => (socket: Socket) => {
          socket.on("error", () => undefined);
          socket.on("end", () => (broken = true));
          socket.once("data", () =>
            socket.write(
              "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            ),
          );
        },
        resources: [limited(10)],
      },
      async (pair) => {
        const sent = httpRequest({
          port: pair.caller.ports.outbound,
          host: "127.0.0.1",
          method: "POST",
          headers: { host: "orders.shop", "transfer-encoding": "chunked" },
        });
        sent.on("error", () => undefined);
        sent.write("12345");
        const [response] = (await once(sent, "response")) as [IncomingMessage];
        t.equal(response.statusCode, 200);
        response.on("error", () => undefined);
        const ended = new Promise((resolve) => response.once("close", resolve));
        response.resume();
        sent.write("1234567890");
        await ended;
        t.equal(response.complete, false);
        await until(() => broken);
        sent.destroy();
      },
    );
  },
);

void t.test(
  "the policy of the port replaces that of the Service",
  async (t) => {
    const seen: Seen = { whole: [], aborted: 0, requests: 0 };
    await withPair(
      {
        app: counting(seen),
        resources: [limited(5), limited(20, "orders-http", "http")],
      },
      async (pair) => {
        const statusOf = async (length: number): Promise<number> =>
          (await pair.call({ method: "POST", body: "x".repeat(length) }))
            .status;
        t.equal(await statusOf(20), 200);
        t.equal(await statusOf(21), 413);
        pair.apply([]);
        t.equal(await statusOf(21), 200, "deleting it ends it");
      },
    );
  },
);
