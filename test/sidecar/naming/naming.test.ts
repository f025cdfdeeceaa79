/** The resolver of a sidecar: on both transports, ready and shown, with its questions counted. */
import t from "tap";
import type { Sidecar } from "../../../src/sidecar/sidecar.ts";
import { withPair } from "../../support/meshes/pair.ts";
import { askByConnection, askByDatagram } from "../../support/dns/ask.ts";
import { nameServer } from "../../support/dns/name-server.ts";
import { question, replyTo, summary } from "../../support/dns/questions.ts";

interface Shown {
  readonly dns?: {
    readonly port: number;
    readonly names: number;
    readonly nameServers: readonly object[];
  };
}

async function shown({ ports }: Sidecar): Promise<Shown> {
  const page = await fetch(`http://127.0.0.1:${ports.admin}/config`);
  return (await page.json()) as Shown;
}

async function readyText({ ports }: Sidecar): Promise<string> {
  const page = await fetch(`http://127.0.0.1:${ports.metrics}/readyz`);
  return page.text();
}

void t.test("a sidecar resolves names", async (t) => {
  const others = await nameServer(t, (bytes) =>
    replyTo(bytes, { addresses: ["192.0.2.1"] }),
  );
  const { host, port } = others;
  const dns = { host: "127.0.0.1", port: 0, servers: [{ host, port }] };
  await withPair({ caller: { dns } }, async (pair) => {
    const { caller } = pair;
    const at = (await shown(caller)).dns?.port ?? 0;
    t.match(await readyText(caller), new RegExp(`resolver +ok +port ${at}`));
    const own = await askByDatagram(at, question("orders", "A"));
    t.match(summary(own), /^NOERROR A 240\.240\./);
    const replies = await askByConnection(at, [
      question("orders.shop", "A"),
      question("orders.shop", "AAAA"),
      question("nothing.shop.svc.cluster.local", "A"),
    ]);
    t.same(replies.map(summary), [summary(own), "NOERROR", "NXDOMAIN"]);
    const other = await askByDatagram(at, question("example.org", "A"));
    t.equal(summary(other), "NOERROR A 192.0.2.1");
    t.match(await shown(caller), {
      dns: { names: 1, nameServers: [{ host, port }] },
    });
    const count = (outcome: string): Promise<number> =>
      pair.metric(caller, "wherry_dns_questions_total", `outcome="${outcome}"`);
    t.equal(await count("mesh"), 2);
    t.equal(await count("no data"), 1);
    t.equal(await count("no such name"), 1);
    t.equal(await count("passed on"), 1);
  });
});

void t.test(
  "what is sent to its port ends no more than its connection",
  async (t) => {
    const dns = { host: "127.0.0.1", port: 0, servers: [] };
    await withPair({ caller: { dns } }, async ({ caller }) => {
      const at = (await shown(caller)).dns?.port ?? 0;
      const reply = Buffer.from(question("orders", "A"));
      reply[2] = 0x80;
      t.same(await askByConnection(at, [reply]), [], "no question");
      t.same(await askByConnection(at, [Buffer.alloc(5000)]), [], "too long");
      const [refused, served] = await askByConnection(at, [
        Buffer.alloc(12),
        question("orders", "A"),
      ]);
      t.equal(refused && summary(refused), "FORMERR");
      t.match(served && summary(served), /^NOERROR A/);
    });
  },
);

void t.test("a sidecar without --dns has nothing of it", async (t) => {
  await withPair({}, async ({ caller }) => {
    t.equal((await shown(caller)).dns, undefined);
    t.notMatch(await readyText(caller), /resolver/);
  });
});
