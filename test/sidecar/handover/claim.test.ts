/** Two processes of one sidecar, here in one: what goes from the older to the newer, who gets it, and what is left where it fails. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
} from "node:fs";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { ListeningSocket } from "../../../src/proxy/downstream/handed-listeners.ts";
import { descriptorOf } from "../../../src/runtime/socket-option.ts";
import {
  claim,
  type Predecessor,
} from "../../../src/sidecar/handover/claim.ts";
import { offerHandOver } from "../../../src/sidecar/handover/offer.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { eventually } from "../../support/peers/call.ts";

const WITHIN = 60_000;

/** Short enough for the path of a socket. */
function directoryOf(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), "wherry-claim-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

interface Older {
  readonly directory: string;
  readonly path: string;
  readonly server: Server;
  /** How often it was to hand over. */
  handedOver: number;
  sockets: readonly ListeningSocket[];
}

async function startOlder(
  t: Test,
  directory: string = directoryOf(t),
  clock: Clock = systemClock,
): Promise<Older> {
  const server = createServer((socket) => socket.end("older"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const descriptor = descriptorOf(server) ?? -1;
  const older: Older = {
    directory,
    path: join(directory, "take-over.sock"),
    server,
    handedOver: 0,
    sockets: [{ key: "link", host: "127.0.0.1", port, descriptor }],
  };
  const withdraw = await offerHandOver({
    directory,
    sidecar: {
      sockets: () => Promise.resolve(older.sockets),
      handOver() {
        older.handedOver += 1;
        server.close();
        return Promise.resolve();
      },
    },
    clock,
    logger: silentLogger,
  });
  t.teardown(() => {
    withdraw();
    server.close();
  });
  return older;
}

async function claimed(older: Older): Promise<Predecessor> {
  const before = await claim(older.directory, systemClock, silentLogger);
  if (before === undefined) throw new Error("nobody was found");
  return before;
}

/** What a connection to the port gets. */
async function read(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, "end");
  return text;
}

/** Listens on what was handed over. */
async function listenOn(
  t: Test,
  { sockets }: Predecessor,
): Promise<readonly Server[]> {
  const servers = sockets.map(({ descriptor }) => {
    const server = createServer((socket) => socket.end("newer"));
    server.listen({ fd: descriptor });
    return server;
  });
  for (const server of servers) await once(server, "listening");
  t.teardown(() => {
    for (const server of servers) server.close();
  });
  return servers;
}

void t.test(
  "the newer gets the sockets, and in the end the turn",
  async (t) => {
    const older = await startOlder(t);
    t.equal(statSync(older.path).mode & 0o777, 0o600);
    const before = await claimed(older);
    t.equal(before.pid, process.pid);
    const [socket] = before.sockets;
    const port = socket?.port ?? 0;
    t.match(socket, { key: "link", host: "127.0.0.1" });
    t.equal(await read(port), "older", "nothing has changed");
    t.equal(older.handedOver, 0);
    await listenOn(t, before);
    t.equal(before.turn.value, false);
    await before.drain();
    t.equal(before.turn.value, true);
    t.equal(older.handedOver, 1);
    t.notOk(existsSync(older.path), "its place is free");
    t.equal(await read(port), "newer");
  },
);

void t.test("more sockets than one message takes", async (t) => {
  const older = await startOlder(t);
  const [first] = older.sockets;
  if (first === undefined) throw new Error("there is one");
  older.sockets = Array.from({ length: 150 }, (_, index) => ({
    ...first,
    key: `upstream ${index}`,
  }));
  const { sockets } = await claimed(older);
  t.same(
    sockets.map(({ key }) => key),
    older.sockets.map(({ key }) => key),
  );
  const own = new Set(sockets.map(({ descriptor }) => descriptor));
  t.equal(own.size, 150, "a descriptor each");
});

void t.test("a newer process that ends changes nothing", async (t) => {
  const older = await startOlder(t);
  const path = older.path;
  const socket = connect(path);
  await once(socket, "connect");
  socket.write('{"ask":"sockets","from":0,"format":1}\n');
  await once(socket, "data");
  await t.rejects(claimed(older), /process \d+ is taking over already/);
  socket.destroy();
  const before = await eventually(
    "the next one gets them",
    WITHIN,
    () => claimed(older).catch(() => undefined),
    (is) => is !== undefined,
  );
  t.equal(before?.sockets.length, 1);
  t.equal(older.handedOver, 0);
  t.equal(await read(before?.sockets[0]?.port ?? 0), "older");
});

void t.test("a newer process that gives up never has its turn", async (t) => {
  const older = await startOlder(t);
  const before = await claimed(older);
  before.abandon();
  await eventually(
    "the older one has heard of it",
    WITHIN,
    () => claimed(older).catch(() => undefined),
    (is) => is !== undefined,
  );
  t.equal(before.turn.value, false, "or it would follow the control plane");
});

void t.test("wishes that make no sense are refused", async (t) => {
  const older = await startOlder(t);
  for (const wish of [
    '{"ask":"sockets","from":0,"format":2}',
    '{"ask":"drain"}',
    '{"ask":"everything"}',
    "null",
    "{",
    "x".repeat(70_000),
  ]) {
    const socket = connect(older.path);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.on("error", () => undefined);
    socket.write(`${wish}\n`);
    await once(socket, "close");
    t.match(text, /^\{"refused":"/, wish.slice(0, 40));
  }
  t.equal(older.handedOver, 0);
  await eventually(
    "another one may come",
    WITHIN,
    () => claimed(older).catch(() => undefined),
    (is) => is !== undefined,
  );
});

void t.test(
  "a newer process that was refused neither takes over nor stays in the way",
  async (t) => {
    const clock = fakeClock();
    const older = await startOlder(t, directoryOf(t), clock);
    const socket = connect({ path: older.path, allowHalfOpen: true });
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.write('{"ask":"sockets","from":0,"format":1}\n');
    const [sockets] = (await once(socket, "data")) as [Buffer];
    t.match(String(sockets), /^\{"sockets":/);
    // The last moment.
    clock.advance(120_000);
    const [refused] = (await once(socket, "data")) as [Buffer];
    t.match(String(refused), /it took too long/);
    socket.write('{"ask":"drain"}\n');
    await eventually(
      "another one may come, though this one ends nothing",
      WITHIN,
      () => claimed(older).catch(() => undefined),
      (is) => is !== undefined,
    );
    t.equal(older.handedOver, 0);
  },
);

void t.test(
  "another user's process gets nothing, even where it may connect",
  { skip: process.geteuid?.() !== 0 && "needs root" },
  async (t) => {
    const older = await startOlder(t);
    for (let path = older.directory; path !== "/"; path = join(path, ".."))
      if ((statSync(path).mode & 0o001) === 0) chmodSync(path, 0o755);
    chmodSync(older.path, 0o666);
    const script = `
      const socket = require("node:net").connect(process.argv[1]);
      let bytes = 0;
      socket.on("connect", () => socket.write('{"ask":"sockets","from":0,"format":1}\\n'));
      socket.on("data", ({ length }) => (bytes += length));
      socket.on("error", ({ code }) => console.log(code));
      socket.on("close", () => console.log("bytes " + bytes));
    `;
    const stranger = spawn(
      process.execPath,
      ["--eval", script, older.path],
      // Who may read the program, and nothing else.
      { uid: 65_534, gid: 65_534, stdio: ["ignore", "pipe", "inherit"] },
    );
    let out = "";
    stranger.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await once(stranger, "close");
    t.match(out, /bytes 0\n/);
    t.notMatch(out, /EACCES/);
    t.equal(older.handedOver, 0);
    t.equal((await claimed(older)).sockets.length, 1);
  },
);

void t.test("nobody is there", async (t) => {
  const nowhere = join(t.testdir(), "none");
  t.equal(await claim(nowhere, systemClock, silentLogger), undefined);
  const older = await startOlder(t);
  const before = await claimed(older);
  await before.drain();
  t.equal(
    await claim(older.directory, systemClock, silentLogger),
    undefined,
    "it has handed over",
  );
});

void t.test("a directory with a long path", async (t) => {
  const directory = join(t.testdir(), "d".repeat(60), "d".repeat(60));
  mkdirSync(directory, { recursive: true });
  const before = await claimed(await startOlder(t, directory));
  await before.drain();
  t.equal(before.turn.value, true);
});

/** A process in the place of an older one that does what it likes. */
async function startOdd(
  t: Test,
  onConnection: (write: (text: string) => void, end: () => void) => void,
): Promise<string> {
  const directory = directoryOf(t);
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.resume();
    onConnection(
      (text) => socket.write(text),
      () => socket.destroy(),
    );
  });
  server.listen(join(directory, "take-over.sock"));
  await once(server, "listening");
  t.teardown(() => server.close());
  return directory;
}

void t.test("an older process that hangs", async (t) => {
  const clock = fakeClock();
  const connected = Promise.withResolvers<undefined>();
  const directory = await startOdd(t, () => connected.resolve(undefined));
  const claiming = claim(directory, clock, silentLogger);
  claiming.catch(() => undefined);
  await connected.promise;
  await eventually(
    "it waits",
    WITHIN,
    () => Promise.resolve(clock.pending),
    (pending) => pending > 0,
  );
  clock.advance(10_000);
  await t.rejects(claiming, {
    message: new RegExp(
      `does not respond: end it with "kill -9 ${process.pid}"`,
    ),
  });
});

void t.test("an older process that says something else", async (t) => {
  const named = '{"sockets":[{"key":"link","host":"::","port":1}],"all":1}\n';
  for (const [text, reason] of [
    ["garbage\n", /does not hand over: .*JSON/],
    ['{"draining":true}\n', /something else/],
    ['{"sockets":[],"all":1}\n', /nothing to hand over/],
    [named, /1 sockets, 0 came/],
    ['{"refused":"not now"}\n', /not now/],
    ["x".repeat(70_000), /too long/],
  ] as const) {
    const directory = await startOdd(t, (write) => write(text));
    await t.rejects(claim(directory, systemClock, silentLogger), {
      message: reason,
    });
  }
  const ends = await startOdd(t, (_write, end) => end());
  await t.rejects(claim(ends, systemClock, silentLogger), /does not hand over/);
});
