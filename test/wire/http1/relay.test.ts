/** The two codecs back to back between Node's own HTTP client and server: another implementation must find nothing wrong with them. */
import { createHash } from "node:crypto";
import {
  Agent,
  createServer,
  request,
  type IncomingHttpHeaders,
  type RequestListener,
  type RequestOptions,
} from "node:http";
import type { Socket } from "node:net";
import * as tls from "node:tls";
import t from "tap";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import type { Teardown } from "../../support/http1/harness.ts";
import { portOf, startRelay } from "../../support/http1/relay.ts";

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
}

function exchange(options: RequestOptions, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          headers: response.headers,
          trailers: response.trailers,
          body: Buffer.concat(chunks),
        }),
      );
    });
    call.on("error", reject);
    call.end(body);
  });
}

async function origin(t: Teardown, listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return portOf(server);
}

/** Answers with what it got: the body, and the head as fields. */
const echo: RequestListener = (incoming, outgoing) => {
  const chunks: Buffer[] = [];
  incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
  incoming.on("end", () => {
    outgoing.setHeader("x-line", `${incoming.method} ${incoming.url}`);
    outgoing.setHeader("x-got", JSON.stringify(incoming.headers));
    if (incoming.url === "/length")
      outgoing.setHeader("content-length", Buffer.concat(chunks).length);
    if (incoming.url === "/none") outgoing.statusCode = 204;
    if (incoming.url === "/trailers") {
      outgoing.setHeader("trailer", "x-sum");
      outgoing.write("chunk");
      outgoing.addTrailers({ "x-sum": "42" });
    }
    outgoing.end(Buffer.concat(chunks));
  });
};

void t.test(
  "exchanges of every shape cross unchanged, over kept connections",
  async (t) => {
    const relay = await startRelay(t, await origin(t, echo));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.teardown(() => agent.destroy());
    const call = (
      path: string,
      method: string,
      body?: Buffer,
    ): Promise<Answer> =>
      exchange(
        {
          port: relay.port,
          agent,
          path,
          method,
          headers: {
            host: "orders.shop",
            "X-Mixed": "Case",
            ...(body === undefined || path === "/chunked"
              ? {}
              : { "content-length": body.length }),
          },
        },
        body,
      );
    const get = await call("/a?b=c", "GET");
    t.equal(get.headers["x-line"], "GET /a?b=c");
    t.match(JSON.parse(String(get.headers["x-got"])), {
      host: "orders.shop",
      "x-mixed": "Case",
    });
    t.equal((await call("/none", "GET")).status, 204);
    t.equal((await call("/length", "HEAD")).body.length, 0);
    t.equal((await call("/trailers", "GET")).trailers["x-sum"], "42");
    for (const size of [1, 1000, 5000, 70_000, 3_000_000])
      for (const path of ["/length", "/chunked"]) {
        const body = Buffer.alloc(size, "0123456789abcdef-");
        const answer = await call(path, "POST", body);
        t.equal(answer.status, 200);
        t.equal(hash(answer.body), hash(body), `${size} ${path}`);
      }
    t.equal(relay.dialled(), 1, "one connection upstream carried them all");
  },
);

void t.test("a slow reader slows its origin down", async (t) => {
  let written = 0;
  const size = 50_000_000;
  const port = await origin(t, (_incoming, outgoing) => {
    const chunk = Buffer.alloc(50_000);
    const more = (): void => {
      while (written < size) {
        written += chunk.length;
        if (!outgoing.write(chunk)) return;
      }
      outgoing.end();
    };
    outgoing.on("drain", more);
    more();
  });
  const relay = await startRelay(t, port);
  const total = await new Promise<number>((resolve, reject) => {
    const call = request(
      { host: "127.0.0.1", port: relay.port },
      (response) => {
        response.pause();
        let seen = 0;
        let quiet = 0;
        let before = -1;
        // Looked at until the origin has stood still for a while of turns.
        const look = (): void => {
          quiet = written === before ? quiet + 1 : 0;
          before = written;
          if (quiet < 200) setImmediate(look);
          else {
            t.ok(written < size, `${written} written before anything was read`);
            response.resume();
          }
        };
        look();
        response.on("data", (chunk: Buffer) => (seen += chunk.length));
        response.on("end", () => resolve(seen));
        response.on("error", reject);
      },
    );
    call.end();
  });
  t.equal(total, size);
});

void t.test(
  "an origin that breaks off within its body is seen to do so",
  async (t) => {
    const port = await origin(t, (_incoming, outgoing) => {
      outgoing.write("part");
      outgoing.socket?.destroySoon();
    });
    const relay = await startRelay(t, port);
    await t.rejects(exchange({ port: relay.port }), { code: "ECONNRESET" });
  },
);

void t.test("the same over TLS on both sides", async (t) => {
  const authority = fakeAuthority();
  const { certificateChain, privateKey } = authority.issue();
  const options = {
    cert: certificateChain,
    key: privateKey,
    ca: authority.bundle,
    minVersion: "TLSv1.3",
    checkServerIdentity: () => undefined,
    host: "127.0.0.1",
  } as const;
  const upstream = await startRelay(t, await origin(t, echo));
  const listen = async (serve: (socket: Socket) => void): Promise<number> => {
    const server = tls.createServer({ ...options, allowHalfOpen: true }, serve);
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    t.teardown(() => server.close());
    return portOf(server);
  };
  const linkPort = await listen((socket) => upstream.serve(socket));
  const relay = await startRelay(
    t,
    linkPort,
    () =>
      new Promise((resolve, reject) => {
        const socket = tls.connect({ ...options, port: linkPort }, () =>
          resolve(socket),
        );
        socket.on("error", reject);
      }),
  );
  for (const size of [0, 10, 100_000, 2_000_000]) {
    const body = Buffer.alloc(size, "0123456789abcdef-");
    const answer = await exchange(
      { port: relay.port, method: "POST", path: "/chunked" },
      body,
    );
    t.equal(hash(answer.body), hash(body));
  }
});

function hash(body: Buffer): string {
  return createHash("sha256").update(body).digest("hex");
}
