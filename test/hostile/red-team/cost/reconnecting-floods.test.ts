/** A flood that comes back with a new connection each time it is cut off: what it may do is counted for its source, and then it is turned away. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { call, closeCalls, eventually } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";
import { frame } from "../../../support/hostile/attacks.ts";

const [DATA, HEADERS, PRIORITY, SETTINGS, PING, WINDOW_UPDATE] = [
  0, 1, 2, 4, 6, 8,
];
const [END_STREAM, END_HEADERS] = [1, 4];
/** GET http://orders.shop/ from the static table (RFC 7541 appendix A), and POST. */
const REQUEST = Buffer.from("\x82\x86\x84\x01\x0borders.shop", "latin1");
const POST = Buffer.from("\x83\x86\x84\x01\x0borders.shop", "latin1");

const sidecar = await startLoneSidecar((request, response) => {
  request.resume();
  // Answered late: a reset finds it under way.
  setTimeout(() => response.end("ok"), 100);
});
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

/** What came of one connection: octets that it was sent, and the attacker's address. */
function attack(localAddress: string, said: Buffer): Promise<number> {
  return new Promise((resolve) => {
    let heard = 0;
    const socket = connect({
      port: sidecar.published,
      host: "127.0.0.1",
      localAddress,
    });
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => (heard += chunk.length));
    socket.on("close", () => resolve(heard));
    socket.write(said);
  });
}

function connection(count: number, each: (id: number) => Buffer[]): Buffer {
  const frames = Array.from({ length: count }, (_, at) => each(2 * at + 1));
  return Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), ...frames.flat()]);
}

const opened = (id: number): Buffer =>
  frame(HEADERS, END_STREAM | END_HEADERS, id, REQUEST);
const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** CVE-2025-8671: what makes a server reset a request that it has begun with. */
const PROVOCATIONS: Readonly<Record<string, (id: number) => Buffer[]>> = {
  "a window of 0": (id) => [opened(id), frame(WINDOW_UPDATE, 0, id, uint32(0))],
  "a window that overflows": (id) => [
    opened(id),
    frame(WINDOW_UPDATE, 0, id, uint32(2 ** 31 - 1)),
  ],
  "DATA behind the end": (id) => [
    opened(id),
    frame(DATA, 0, id, Buffer.from("x")),
  ],
  "HEADERS behind the end": (id) => [opened(id), opened(id)],
  "a PRIORITY of wrong size": (id) => [opened(id), frame(PRIORITY, 0, id)],
};
const RESETS = 600;

/** Resets that were provoked. */
const refused = (): Promise<number> =>
  sidecar.metric("wherry_refusals_total", 'reason="BAD_REQUEST"');

const turnedAway = (): Promise<number> =>
  sidecar.metric("wherry_refusals_total", 'reason="source turned away"');

let host = 2;
for (const [what, each] of Object.entries(PROVOCATIONS))
  void t.test(`MadeYouReset by ${what} ends at the first`, async (t) => {
    const localAddress = `127.0.0.${host++}`;
    const before = await refused();
    for (let round = 0; round < 5; round += 1)
      await attack(localAddress, connection(RESETS, each));
    const provoked = (await refused()) - before;
    t.equal(provoked, 5, "one on each of five connections");
  });

void t.test(
  "MadeYouReset by a length that is wrong, 40 connections: 500 a second in all",
  async (t) => {
    const localAddress = `127.0.0.${host++}`;
    // "content-length: 1" as a literal, and two octets.
    const block = Buffer.concat([POST, Buffer.from("\x0f\x0d\x011", "latin1")]);
    const said = connection(RESETS, (id) => [
      frame(HEADERS, END_HEADERS, id, block),
      frame(DATA, 0, id, Buffer.from("xy")),
    ]);
    const before = await refused();
    const began = performance.now();
    for (let round = 0; round < 40; round += 1)
      await attack(localAddress, said);
    const seconds = Math.ceil((performance.now() - began) / 1000) + 1;
    const provoked = (await refused()) - before;
    t.ok(provoked > 0, "it is what was meant");
    t.ok(
      provoked <= 600 * seconds,
      `${provoked} resets were provoked in ${seconds} s`,
    );
  },
);

void t.test(
  "30 connections of 10,000 PING: 10,000 a second in all",
  async (t) => {
    const localAddress = `127.0.0.${host++}`;
    const said = connection(10_000, () => [frame(PING, 0, 0, Buffer.alloc(8))]);
    const began = performance.now();
    let answered = 0;
    for (let round = 0; round < 30; round += 1) {
      const socket = connect({
        port: sidecar.published,
        host: "127.0.0.1",
        localAddress,
      });
      socket.on("error", () => undefined);
      let heard = 0;
      socket.on("data", (chunk: Buffer) => (heard += chunk.length));
      socket.write(said);
      await new Promise<void>((resolve) => {
        socket.on("close", () => resolve());
        const look = setInterval(() => {
          if (heard < 17 * 10_000 && !socket.destroyed) return;
          clearInterval(look);
          socket.destroy();
        }, 5);
      });
      answered += Math.floor(heard / 17);
    }
    const seconds = Math.ceil((performance.now() - began) / 1000) + 1;
    t.ok(
      answered <= 11_000 * seconds,
      `${answered} PINGs were answered in ${seconds} s`,
    );
  },
);

void t.test(
  "who has 50 connections ended for it is turned away; everybody else, and who had a connection, is served",
  async (t) => {
    const localAddress = `127.0.0.${host++}`;
    const neighbour = connect({
      port: sidecar.published,
      host: "127.0.0.1",
      localAddress,
    });
    let heard = "";
    neighbour.on("data", (chunk: Buffer) => (heard += chunk.toString()));
    const ask = async (): Promise<void> => {
      heard = "";
      neighbour.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
      await eventually(
        "an answer",
        5000,
        () => Promise.resolve(heard),
        (text) => text.includes("200 OK"),
      );
    };
    await ask();
    const said = connection(1, (id) => [
      opened(id),
      frame(WINDOW_UPDATE, 0, id, uint32(0)),
    ]);
    let silent = 0;
    let rounds = 0;
    const countedBefore = await turnedAway();
    while (silent < 20 && rounds < 300) {
      rounds += 1;
      if ((await attack(localAddress, said)) === 0) silent += 1;
    }
    t.equal(silent, 20, `of ${rounds} connections were told nothing`);
    t.ok(rounds <= 50 + silent + 5, "50 were ended for what came on them");
    const counted = await turnedAway();
    t.ok(counted - countedBefore >= silent, "and are counted");
    await ask();
    const other = await call(`http://127.0.0.1:${sidecar.published}/`, {
      headers: { host: "orders.shop" },
    });
    t.equal(other.status, 200, "another address");
    neighbour.destroy();
  },
);

/** A connection that says nothing yet, and what comes of it. */
function silent(localAddress: string): {
  readonly socket: Socket;
  heard: string;
  closed: boolean;
} {
  const socket = connect({
    port: sidecar.published,
    host: "127.0.0.1",
    localAddress,
  });
  const end = { socket, heard: "", closed: false };
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => (end.heard += chunk.toString()));
  socket.on("close", () => (end.closed = true));
  return end;
}

const GET = "GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n";

void t.test(
  "connections that came along with a flood end with it, those that were served live on",
  async (t) => {
    const localAddress = `127.0.0.${host++}`;
    const served = silent(localAddress);
    const came = silent(localAddress);
    const other = silent(`127.0.0.${host++}`);
    served.socket.write(GET);
    await eventually(
      "it is served",
      10_000,
      () => Promise.resolve(served.heard),
      (heard) => heard.endsWith("ok"),
    );
    const before = await turnedAway();
    const said = connection(1, (id) => [
      frame(WINDOW_UPDATE, 0, id - 1, uint32(0)),
    ]);
    while ((await turnedAway()) === before) await attack(localAddress, said);
    served.heard = "";
    for (const { socket } of [came, other, served]) socket.write(GET);
    await eventually(
      "it is closed",
      10_000,
      () => Promise.resolve(came.closed),
      (closed) => closed,
    );
    t.equal(came.heard, "", "without an answer");
    for (const end of [other, served])
      await eventually(
        "others are served",
        10_000,
        () => Promise.resolve(end.heard),
        (heard) => heard.endsWith("ok"),
      );
    t.match(served.heard, / 200 /);
    t.notOk(served.closed);
    for (const { socket } of [other, served]) socket.destroy();
  },
);
