/** How other name servers are asked: in turn, by datagram and connection, within bounds. */
import { createSocket } from "node:dgram";
import t, { type Test } from "tap";
import {
  ATTEMPT,
  MOST_ASKED,
  NameServers,
  type NameServer,
} from "../../../src/proxy/dns/name-servers.ts";
import { readMessage, type Question } from "../../../src/wire/dns/messages.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { nameServer } from "../../support/dns/name-server.ts";
import {
  question,
  read,
  replyTo,
  summary,
} from "../../support/dns/questions.ts";

function asked(name: string): Question {
  const message = readMessage(question(name, "A"));
  if (message.kind !== "question") throw new Error(message.kind);
  return message.question;
}

function asking(t: Test, ...servers: NameServer[]) {
  const clock = fakeClock();
  const all = new NameServers({ clock, servers: () => servers });
  t.teardown(() => all.close());
  const ask = (name: string, stream = false): Promise<string> =>
    new Promise((resolve) =>
      all.ask(asked(name), stream, (reply) =>
        resolve(reply === undefined ? "none" : summary(reply)),
      ),
    );
  return { clock, all, ask };
}

const one = (bytes: Buffer): Buffer =>
  replyTo(bytes, { addresses: ["192.0.2.1"] });

void t.test("the first server that can is the one", async (t) => {
  const unable = await nameServer(t, (bytes) => replyTo(bytes, { rcode: 2 }));
  const able = await nameServer(t, one);
  const { ask, all } = asking(t, unable, able);
  t.equal(await ask("example.org"), "NOERROR A 192.0.2.1");
  t.equal(unable.heard.length, 1);
  t.equal(all.asking, 0);
  const alone = asking(t, unable);
  t.equal(await alone.ask("example.org"), "SERVFAIL", "what it said");
  t.equal(unable.heard.length, 1 + 3, "no more than three times");
  const unknown = await nameServer(t, (bytes) => replyTo(bytes, { rcode: 3 }));
  const { ask: askOther } = asking(t, unknown, able);
  t.equal(await askOther("nothing.example"), "NXDOMAIN", "that is a reply");
});

void t.test("a silent server costs its time", async (t) => {
  const silent = await nameServer(t, () => undefined);
  const able = await nameServer(t, one);
  const { ask, clock } = asking(t, silent, able);
  const reply = ask("example.org");
  await silent.hears(1);
  clock.advance(ATTEMPT);
  t.equal(await reply, "NOERROR A 192.0.2.1");
  const { ask: askAlone, clock: other, all } = asking(t, silent);
  const none = askAlone("example.org");
  for (const heard of [2, 3, 4]) {
    await silent.hears(heard);
    other.advance(ATTEMPT);
  }
  t.equal(await none, "none");
  t.equal(all.asking, 0);
  const numbers = silent.heard.map(([, bytes]) => read(bytes).id);
  t.equal(new Set(numbers).size > 1, true, `numbers ${numbers.join()}`);
});

void t.test("nobody else's reply is taken", async (t) => {
  const strangers = createSocket("udp4");
  t.teardown(() => strangers.close());
  const server = await nameServer(t, (bytes) => {
    const wrongName = one(question("example.com", "A", { id: read(bytes).id }));
    const wrongNumber = one(bytes);
    wrongNumber.writeUInt16BE((read(bytes).id + 1) % 0x1_0000, 0);
    return rounds++ === 0 ? wrongName : rounds === 2 ? wrongNumber : one(bytes);
  });
  let rounds = 0;
  const { ask, clock } = asking(t, server);
  const reply = ask("example.org");
  await server.hears(1);
  clock.advance(ATTEMPT);
  await server.hears(2);
  clock.advance(ATTEMPT);
  t.equal(await reply, "NOERROR A 192.0.2.1");
});

void t.test("what does not fit in a datagram", async (t) => {
  const server = await nameServer(t, (bytes, by) => {
    const reply = one(bytes);
    if (by === "udp") reply.writeUInt8(reply.readUInt8(2) | 2, 2);
    return reply;
  });
  const { ask } = asking(t, server);
  t.equal(
    await ask("example.org"),
    "NOERROR TC A 192.0.2.1",
    "the asker's own affair",
  );
  t.equal(await ask("example.org", true), "NOERROR A 192.0.2.1");
  t.same(
    server.heard.map(([by]) => by),
    ["udp", "udp", "tcp"],
  );
});

void t.test("bounds", async (t) => {
  const silent = await nameServer(t, () => undefined);
  const { ask, all } = asking(t, silent);
  for (let index = 0; index < MOST_ASKED; index += 1)
    void ask(`name${index}.example`);
  t.equal(all.asking, MOST_ASKED);
  t.equal(await ask("one.more.example"), "none");
  const nowhere = asking(t);
  t.equal(await nowhere.ask("example.org"), "none", "without a server");
});

void t.test("a server that refuses connections", async (t) => {
  // A port of somebody who listens no more: the kernel says so.
  const gone = createSocket("udp4");
  await new Promise<void>((resolve) => gone.bind(0, "127.0.0.1", resolve));
  const { port } = gone.address();
  await new Promise<void>((resolve) => gone.close(resolve));
  const able = await nameServer(t, one);
  const { ask } = asking(t, { host: "127.0.0.1", port }, able);
  t.equal(await ask("example.org"), "NOERROR A 192.0.2.1", "at once");
});
