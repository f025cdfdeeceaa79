/** The levels of overload at the listener: keep-alive ends, no connection is taken, requests are answered 503; and connections of one identity have their bound. */
import { connect, createServer, Socket } from "node:net";
import { connect as connectHttp2 } from "node:http2";
import t, { type Test } from "tap";
import { DEFAULT_LIMITS } from "../../../src/proxy/downstream/limits.ts";
import { FAILED_HANDSHAKES } from "../../../src/proxy/downstream/sources.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import {
  makeServing,
  MOST_SHED,
  type Serving,
} from "../../../src/proxy/downstream/serving.ts";
import { LOOK } from "../../../src/proxy/downstream/memory-pressure.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import type {
  Protocol,
  ServerConnectionInfo,
  ServerHandler,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { listening, send, until, withPair } from "../../support/meshes/pair.ts";
import { keptLog, link } from "../../support/laws/harness.ts";

interface Served {
  readonly serving: Serving;
  readonly port: number;
  /** Requests that wait for their answers. */
  readonly waiting: ServerStream[];
  /** Connections, in the order in which they came. */
  readonly accepted: readonly Socket[];
  readonly clock: FakeClock;
  readonly metrics: () => string;
}

/** A server of one protocol, that answers when the test says so. */
async function serve(
  t: Test,
  protocol: Protocol,
  { listener = "published" }: { readonly listener?: string } = {},
): Promise<Served> {
  const clock = fakeClock();
  const registry = makeMetrics({ maxSeries: 100 });
  const serving = makeServing({
    clock,
    meters: makeMeters(registry),
    logger: keptLog().logger,
    limits: DEFAULT_LIMITS,
  });
  const waiting: ServerStream[] = [];
  const accepted: Socket[] = [];
  const handler: ServerHandler = {
    request(stream) {
      waiting.push(stream);
    },
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (!serving.admit(socket, listener)) return;
    accepted.push(socket);
    const info = infoOf(protocol, socket);
    serving.http(socket, protocol, info, handler, listener);
  });
  const port = await listening(server);
  t.teardown(() => {
    serving.destroy();
    server.close();
  });
  return {
    serving,
    port,
    waiting,
    accepted,
    clock,
    metrics: () => registry.render(),
  };
}

function infoOf(protocol: Protocol, socket: Socket): ServerConnectionInfo {
  return {
    protocol,
    peer: undefined,
    remoteAddress: "127.0.0.1",
    remotePort: socket.remotePort ?? 0,
    localAddress: "127.0.0.1",
    originalDestination: undefined,
  };
}

interface Caller {
  readonly socket: Socket;
  heard: string;
  closed: boolean;
}

function caller(t: Test, port: number): Caller {
  const socket = connect(port, "127.0.0.1");
  const made: Caller = { socket, heard: "", closed: false };
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => (made.heard += chunk.toString()));
  socket.on("close", () => (made.closed = true));
  t.teardown(() => socket.destroy());
  return made;
}

const REQUEST = "GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n";

async function ask(served: Served, { socket }: Caller): Promise<void> {
  socket.write(REQUEST);
  await until(() => served.waiting.length > 0);
  served.waiting
    .pop()
    ?.respond({ status: 200, fields: [], contentLength: 0 }, true);
}

void t.test(
  "what is shed is looked for among so many connections at a time, and all have their turn",
  async (t) => {
    const { serving, port, accepted, clock } = await serve(t, "http/1.1");
    const more = 10;
    for (let count = 0; count < MOST_SHED + more; count += 1)
      caller(t, port).socket.write("GET / HT");
    await until(
      () =>
        accepted.length === MOST_SHED + more &&
        accepted.every(({ bytesRead }) => bytesRead > 0),
    );
    clock.advance(1000);
    t.equal(serving.shed(1000, 1000), MOST_SHED);
    t.equal(serving.shed(1000, 1000), more);
  },
);

void t.test(
  "a connection whose source is turned away before it is looked at is closed",
  async (t) => {
    const { serving, port, accepted, metrics } = await serve(t, "http/1.1");
    const socket = caller(t, port);
    await until(() => accepted.length === 1);
    const [first] = accepted;
    if (first === undefined) throw new TypeError("it was accepted");
    t.ok(serving.stillAdmits(first, "published"));
    for (let count = 0; count <= FAILED_HANDSHAKES.burst; count += 1)
      serving.refused("link", "no client certificate", "", "127.0.0.1", 1);
    t.ok(serving.stillAdmits(first, "outbound"), "this machine has no source");
    t.notOk(serving.stillAdmits(first, "published"));
    await until(() => socket.closed);
    t.match(metrics(), /listener="published",reason="source turned away"\} 1/);
  },
);

for (const [listener, limit] of [
  ["published", 60_000],
  ["outbound", 3_600_000],
] as const)
  void t.test(`an idle connection of HTTP/1.1: ${listener}`, async (t) => {
    const served = await serve(t, "http/1.1", { listener });
    const idle = caller(t, served.port);
    await ask(served, idle);
    await until(() => idle.heard.includes("200 OK"));
    served.clock.advance(limit - 1);
    await ask(served, idle);
    await until(() => idle.heard.split("200 OK").length === 3);
    served.clock.advance(limit);
    await until(() => idle.closed);
  });

void t.test(
  "level 1: HTTP/1.1 is answered, and its connection closed after it",
  async (t) => {
    const served = await serve(t, "http/1.1");
    const before = caller(t, served.port);
    await ask(served, before);
    await until(() => before.heard.includes("200 OK"));
    t.notMatch(before.heard, /connection: close/i);

    served.serving.overloaded(1);
    await ask(served, before);
    await until(() => before.closed);
    t.match(before.heard, /connection: close/i, "one that was open");
    const after = caller(t, served.port);
    await ask(served, after);
    await until(() => after.closed);
    t.match(
      after.heard,
      /200 OK.*connection: close/is,
      "a new one is served once",
    );

    served.serving.overloaded(0);
    const later = caller(t, served.port);
    await ask(served, later);
    await until(() => later.heard.includes("200 OK"));
    t.notMatch(later.heard, /connection: close/i, "when it is over");
  },
);

void t.test(
  "level 1: HTTP/2 that is open gets GOAWAY; what is under way is finished; a new connection stays",
  async (t) => {
    const served = await serve(t, "h2");
    const session = connectHttp2(`http://127.0.0.1:${served.port}`);
    t.teardown(() => session.destroy());
    const goaway = new Promise<number>((resolve) =>
      session.on("goaway", resolve),
    );
    const status = new Promise((resolve) =>
      session
        .request({ ":path": "/" })
        .on("response", (head) => resolve(head[":status"])),
    );
    await until(() => served.waiting.length > 0);
    served.serving.overloaded(1);
    t.equal(await goaway, 0);
    served.waiting
      .pop()
      ?.respond({ status: 200, fields: [], contentLength: 0 }, true);
    t.equal(await status, 200);

    const next = connectHttp2(`http://127.0.0.1:${served.port}`);
    t.teardown(() => next.destroy());
    let told = false;
    next.on("goaway", () => (told = true));
    const answered = new Promise((resolve) =>
      next.request({ ":path": "/" }).on("response", resolve),
    );
    await until(() => served.waiting.length > 0);
    served.serving.overloaded(2);
    served.waiting
      .pop()
      ?.respond({ status: 200, fields: [], contentLength: 0 }, true);
    await answered;
    t.notOk(
      told,
      "to come and go with every request would cost more than it saves",
    );
  },
);

void t.test(
  "level 2: a new connection is closed and counted; those that are open are served",
  async (t) => {
    const served = await serve(t, "http/1.1");
    const before = caller(t, served.port);
    await ask(served, before);
    served.serving.overloaded(2);
    const after = caller(t, served.port);
    await until(() => after.closed);
    t.equal(after.heard, "");
    t.match(
      served.metrics(),
      /wherry_refusals_total\{listener="published",reason="overloaded"\} 1/,
    );
    await ask(served, before);
    await until(() => before.closed);
    t.equal(before.heard.match(/200 OK/g)?.length, 2);
  },
);

void t.test(
  "level 3: every request is 503 OVERLOADED, and pages are served as ever",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const limits = { memoryBytes: 1 };
    await withPair({ clock, caller: { limits } }, async (pair) => {
      const early = caller(t, pair.caller.ports.outbound ?? 0);
      early.socket.write(REQUEST.slice(0, 5));
      while (
        (await pair.metric(
          pair.caller,
          "wherry_connections",
          'kind="outbound"',
        )) === 0
      );
      // Only then memory is looked at: later the connection would be refused.
      clock.advance(LOOK);
      t.equal(await pair.metric(pair.caller, "wherry_overload_level"), 3);
      early.socket.write(REQUEST.slice(5));
      await until(() => early.closed);
      t.match(early.heard, /^HTTP\/1\.1 503 .*x-wherry-reason: OVERLOADED/is);
      t.match(early.heard, /short of memory/);
      t.match(early.heard, /connection: close/i);
      await t.rejects(pair.call(), { code: "ECONNRESET" });
      t.equal(
        await pair.metric(
          pair.caller,
          "wherry_refusals_total",
          'reason="overloaded"',
        ),
        1,
      );
      t.match(
        await send(pair.caller.ports.metrics ?? 0, { path: "/readyz" }),
        { status: 200 },
        "it is not restarted for it",
      );
    });
  },
);

void t.test(
  "one address may have so many connections of the link, and the next is closed before its handshake",
  async (t) => {
    await withPair(
      { callee: { limits: { connectionsPerAddress: 1 } } },
      async (pair) => {
        const first = await link(pair, "web");
        await t.rejects(link(pair, "web"));
        const count = (): Promise<number> =>
          pair.metric(pair.callee, "wherry_connections", 'kind="link"');
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_refusals_total",
            'reason="too many connections from one address"',
          ),
          1,
        );
        first.destroy();
        while ((await count()) > 0) await until(() => true);
        (await link(pair, "web")).destroy();
      },
    );
  },
);

void t.test(
  "one identity may have so many connections; the next is closed, counted and told of",
  (t) => {
    const registry = makeMetrics({ maxSeries: 100 });
    const { logger, lines } = keptLog();
    const serving = makeServing({
      clock: fakeClock(),
      meters: makeMeters(registry),
      logger,
      limits: { ...DEFAULT_LIMITS, connectionsPerIdentity: 1 },
    });
    const first = new Socket();
    t.ok(serving.identify(first, "link", "spiffe://a"));
    const second = new Socket();
    t.notOk(serving.identify(second, "link", "spiffe://a"));
    t.ok(second.destroyed);
    t.match(lines, [
      {
        reason: "too many connections of one identity",
        detail: /spiffe:\/\/a/,
      },
    ]);
    t.match(
      registry.render(),
      /reason="too many connections of one identity"\} 1/,
    );
    t.ok(serving.identify(new Socket(), "link", "spiffe://b"));
    first.emit("close");
    t.ok(serving.identify(new Socket(), "link", "spiffe://a"));
    t.end();
  },
);
