/** Where the resolver listens: what arrives by datagram and by connection, and how long a connection is kept. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import { listenForQuestions } from "../../../src/proxy/dns/listen.ts";
import { makeReply, readMessage } from "../../../src/wire/dns/messages.ts";
import { framed, MessageReader } from "../../../src/wire/dns/stream.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
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
