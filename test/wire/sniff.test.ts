/** What a connection speaks is told from its first bytes, which are then there for whoever reads next. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import t, { type Test } from "tap";
import { systemClock } from "../../src/core/clock.ts";
import {
  classify,
  sniff,
  type Sniffed,
  type SniffedKind,
} from "../../src/wire/sniff.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { listen, testLink } from "../support/peers/link.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

void t.test("bytes are classified as soon as they are unmistakable", (t) => {
  const rows: [string, SniffedKind | undefined][] = [
    ["", undefined],
    ["\x16", undefined],
    ["\x16\x03\x01\x02\x00\x01", "tls"],
    ["\x16\x02", "other"],
    ["G", undefined],
    ["GET /", undefined],
    ["GET / HTTP/1.1\r\n", "http/1.1"],
    ["GET / HTTP/1.0\n", "http/1.1"],
    ["M-SEARCH * HTTP/1.1\r\n", "http/1.1"],
    ["CONNECT orders:80 HTTP/1.1\r\n", "http/1.1"],
    ["GET / HTTP/9.9\r\n", "http/1.1"],
    ["GET /\r\n", "other"],
    ["get key\r\n", "other"],
    ["PING\r\n", "other"],
    ["PRI", undefined],
    ["PRI * HTTP/2.0\r\n\r\n", undefined],
    [PREFACE, "h2"],
    [`${PREFACE}\0\0\0`, "h2"],
    ["PROPFIND / HTTP/1.1\r\n", "http/1.1"],
    ["*1\r\n$4\r\nPING\r\n", "other"],
    ["SSH-2.0-OpenSSH_9.6\r\n", "other"],
    ["\0\0\0\x54\0\x03", "other"],
    ["\r\n", "other"],
    [" GET / HTTP/1.1\r\n", "other"],
    ["A".repeat(33), "other"],
    [`GET /${"a".repeat(5000)}`, "http/1.1"],
  ];
  for (const [text, kind] of rows)
    t.equal(
      classify(Buffer.from(text, "latin1")),
      kind,
      JSON.stringify(text.slice(0, 40)),
    );
  t.end();
});

void t.test(
  "a request that comes octet by octet is told, and can be read whole",
  async (t) => {
    const { client, server } = await pair(t);
    const found = new Promise<SniffedKind>((resolve) =>
      sniff(server, systemClock, ({ kind }) => resolve(kind)),
    );
    const text = "GET / HTTP/1.1\r\nhost: orders\r\n\r\n";
    for (const octet of text) {
      client.write(octet);
      await nextTurn();
    }
    t.equal(await found, "http/1.1");
    t.equal(await read(server, text.length), text);
  },
);

void t.test(
  "a TLS connection is handed to the link after the look",
  async (t) => {
    const mesh = fakeAuthority();
    const link = await testLink(mesh.credentials("orders"));
    t.teardown(() => link.close());
    const { client, server } = await pair(t);
    sniff(server, systemClock, ({ kind, firstBytes }) => {
      t.equal(kind, "tls");
      t.equal(firstBytes[0], 0x16);
      link.listener.accept(server);
    });
    const web = mesh.credentials("web");
    const tls = connectTls({
      socket: client,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      cert: web.certificateChain,
      key: web.privateKey,
    });
    tls.on("error", () => undefined);
    await link.settled(1);
    t.equal(link.accepted[0]?.link.uri, web.id);
    tls.destroy();
  },
);

void t.test("the time-out decides by what there is", async (t) => {
  const rows: [string, SniffedKind, boolean?][] = [
    // The server speaks first, as MySQL's and SMTP's do.
    ["", "other"],
    // Stalling is no way around the policy for HTTP.
    ["GE", "http/1.1"],
    ["P", "http/1.1"],
    ["PRI * HTTP/2.0\r\n", "h2"],
    ["\x16", "tls"],
    // Clear in kind, and not enough for whoever waits for more.
    ["\x16\x03\x01", "tls", false],
  ];
  for (const [text, expected, late = true] of rows) {
    const clock = fakeClock();
    const { client, server } = await pair(t);
    const found: SniffedKind[] = [];
    const onResult = (sniffed: Sniffed): void => {
      found.push(sniffed.kind);
      t.equal(sniffed.late, late);
    };
    sniff(server, clock, onResult, 1000, () => false);
    if (text !== "") {
      client.write(text, "latin1");
      while (server.bytesRead < text.length) await nextTurn();
    }
    clock.advance(999);
    t.same(found, []);
    clock.advance(1);
    t.same(found, [expected], JSON.stringify(text));
    t.equal(clock.pending, 0);
    client.write("more", "latin1");
    t.equal(await read(server, text.length + 4), `${text}more`);
    t.same(found, [expected], "once");
  }
});

void t.test(
  "what a peer sent before it closed its side can still be read",
  async (t) => {
    const { client, server } = await pair(t);
    const found = new Promise<SniffedKind>((resolve) =>
      sniff(server, fakeClock(), ({ kind }) => resolve(kind)),
    );
    client.end("GE");
    t.equal(await found, "http/1.1");
    const ended = once(server, "end");
    t.equal(await read(server, 2), "GE");
    await ended;
  },
);

void t.test(
  "a connection that ends without a byte has no result",
  async (t) => {
    const clock = fakeClock();
    const { client, server } = await pair(t);
    sniff(server, clock, () => t.fail("there is nothing to tell"));
    const closed = new Promise((resolve) => server.once("close", resolve));
    client.resetAndDestroy();
    await closed;
    clock.advance(60_000);
    t.equal(clock.pending, 0);
  },
);

void t.test("a look can be called off", async (t) => {
  const clock = fakeClock();
  const { client, server } = await pair(t);
  const stop = sniff(server, clock, () => t.fail("it was called off"));
  stop();
  client.write("GET / HTTP/1.1\r\n");
  t.equal(await read(server, 16), "GET / HTTP/1.1\r\n");
  t.equal(clock.pending, 0);
});

async function pair(t: Test): Promise<{ client: Socket; server: Socket }> {
  const listener = createServer();
  const accepted = once(listener, "connection") as Promise<[Socket]>;
  const client = connect(await listen(listener), "127.0.0.1");
  const [server] = await accepted;
  client.on("error", () => undefined);
  server.on("error", () => undefined);
  t.teardown(() => {
    client.destroy();
    server.destroy();
    listener.close();
  });
  return { client, server };
}

/** Reads as a codec does, with a "data" listener. */
function read(socket: Socket, length: number): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.length >= length) resolve(text);
    });
  });
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
