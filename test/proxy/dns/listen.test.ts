/** Where the resolver listens: what arrives by datagram and by connection, and how long a connection is kept. */
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import {
  listenForQuestions,
  type ListenOptions,
  type OpenResolver,
} from "../../../src/proxy/dns/listen.ts";
import { duplicateDescriptor } from "../../../src/runtime/unix/pass-descriptors.ts";
import { makeReply, readMessage } from "../../../src/wire/dns/messages.ts";
import { framed, MessageReader } from "../../../src/wire/dns/stream.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { until } from "../../support/meshes/pair.ts";
import { question, summary } from "../../support/dns/questions.ts";

/** Replies that there is no such name. */
async function listening(t: Test) {
  const clock = fakeClock();
  const { port, close } = await listenForQuestions({
    clock,
    logger: silentLogger,
    host: "127.0.0.1",
    port: 0,
    resolver: {
      hear(bytes, _stream, send) {
        const message = readMessage(bytes);
        if (message.kind !== "question") return false;
        send(makeReply(message.question, 3));
        return true;
      },
    },
  });
  t.teardown(close);
  return { clock, port };
}

async function opened(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

async function ask(socket: Socket): Promise<string> {
  const reply = new Promise<Buffer>((resolve) => {
    const reader = new MessageReader(512, resolve);
    socket.on("data", (bytes: Buffer) => {
      reader.read(bytes);
    });
  });
  socket.write(framed(question("a.example", "A")));
  return summary(await reply);
}

void t.test("a connection is kept while it asks", async (t) => {
  const { clock, port } = await listening(t);
  const asking = await opened(port);
  const silent = await opened(port);
  t.equal(await ask(asking), "NXDOMAIN");
  t.equal(await ask(silent), "NXDOMAIN");
  clock.advance(9_999);
  t.equal(await ask(asking), "NXDOMAIN", "its time begins anew");
  clock.advance(1);
  await once(silent, "close");
  t.notOk(asking.destroyed);
  clock.advance(10_000);
  await once(asking, "close");
  t.equal(clock.pending, 0, "no timer is left");
});

void t.test("a connection that says nothing a question is ends", async (t) => {
  const { port } = await listening(t);
  const socket = await opened(port);
  socket.write(Buffer.from([0xff, 0xff, 0]));
  await once(socket, "close");
  t.pass("it is longer than any question");
});

void t.test(
  "a datagram without a port to reply to is passed over",
  async (t) => {
    const made: Datagrams[] = [];
    const note = (message: unknown): void =>
      void made.push((message as { readonly socket: Datagrams }).socket);
    subscribe("udp.socket", note);
    const { port } = await listening(t);
    unsubscribe("udp.socket", note);
    const [socket] = made;
    const asked = question("a.example", "A");
    // As the kernel hands it over: only a raw socket can send it.
    const from = { address: "127.0.0.1", family: "IPv4", size: asked.length };
    socket?.emit("message", asked, { ...from, port: 0 });
    await (
      await asker(t, port)
    )(["b.example"]);
    t.equal(made.length, 2, "one of each family");
  },
);

/** Replies at once, or where it is told to hold them once `release` is called. */
async function heldBy(
  t: Test,
  given: Pick<ListenOptions, "port" | "takeHanded">,
): Promise<{
  readonly open: OpenResolver;
  readonly heard: string[];
  hold: boolean;
  release(): void;
}> {
  const held: (() => void)[] = [];
  const heard: string[] = [];
  const open = await listenForQuestions({
    ...{ clock: fakeClock(), logger: silentLogger, host: "127.0.0.1" },
    ...given,
    resolver: {
      hear(bytes, _stream, send) {
        const message = readMessage(bytes);
        if (message.kind !== "question") return false;
        heard.push(message.question.host ?? "");
        const reply = (): void => send(makeReply(message.question, 3));
        if (process.hold) held.push(reply);
        else reply();
        return true;
      },
    },
  });
  t.teardown(open.close);
  const process = {
    ...{ open, heard, hold: false },
    release: () => held.splice(0).forEach((reply) => reply()),
  };
  return process;
}

/** Asks for all names at once and once: the reply to a question that is lost never comes. */
async function asker(
  t: Test,
  port: number,
): Promise<(names: readonly string[]) => Promise<void>> {
  const socket = createSocket("udp4");
  t.teardown(() => socket.close());
  socket.connect(port, "127.0.0.1");
  await once(socket, "connect");
  return async (names) => {
    for (const name of names) socket.send(question(name, "A"));
    for (const _each of names) await once(socket, "message");
  };
}

function handedOf({
  sockets,
}: OpenResolver): NonNullable<ListenOptions["takeHanded"]> {
  return (key, host) => {
    const found = sockets.find(
      (each) => each.key === key && each.host === host,
    );
    return found && { descriptor: duplicateDescriptor(found.descriptor) };
  };
}

const NAMES = Array.from({ length: 50 }, (_, each) => `name-${each}.example`);

void t.test("a question that waits in the socket is not lost", async (t) => {
  const older = await heldBy(t, { port: 0 });
  const { port } = older.open;
  const newer = await heldBy(t, { port, takeHanded: handedOf(older.open) });
  t.equal(newer.open.port, port);
  // Of several sockets, the kernel would give each its share of the askers.
  const askers = await Promise.all(NAMES.map(() => asker(t, port)));
  const asking = askers.map((ask, each) => ask(NAMES.slice(each, each + 1)));
  older.open.retire();
  await Promise.all(asking);
  t.same([older.heard.length, newer.heard.length], [0, NAMES.length]);
});

void t.test("nor is one that is resolved", async (t) => {
  const older = await heldBy(t, { port: 0 });
  const { port } = older.open;
  older.hold = true;
  const waits = (await asker(t, port))(["waits.example"]);
  const kept = await opened(port);
  const reply = ask(kept);
  await until(() => older.heard.length === 2);
  t.equal(older.open.waiting, 2);

  const newer = await heldBy(t, { port, takeHanded: handedOf(older.open) });
  older.open.retire();
  t.equal(await ask(await opened(port)), "NXDOMAIN");
  t.same(newer.heard, ["a.example"], "connections are the newer one's");

  older.release();
  await waits;
  t.equal(await reply, "NXDOMAIN");
  await once(kept, "end");
  t.equal(older.open.waiting, 0);
  await (
    await asker(t, port)
  )(NAMES);
  t.equal(newer.heard.length, 1 + NAMES.length, "the older one reads no more");
});
