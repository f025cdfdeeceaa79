/** What TLS gets comes in pieces and whole; a connection that costs bytes of which nothing is handed on ends. */
import { once } from "node:events";
import { connect as dial } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import t, { type Test } from "tap";
import { Ciphertext, MOST_UNSEEN } from "../../../src/wire/tls/ciphertext.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  dataRecord,
  keyUpdates,
  sessionTickets,
  type Hidden,
  type Sender,
} from "../../support/hidden-records/records.ts";
import {
  hiddenServer,
  type HiddenPeer,
} from "../../support/hidden-records/server.ts";

const server = await hiddenServer(fakeAuthority().issue());
t.teardown(() => server.close());

interface Connected {
  readonly peer: HiddenPeer;
  readonly tls: TLSSocket;
  readonly ciphertext: Ciphertext;
  /** What was handed on. */
  readonly got: Buffer[];
  readonly floods: number;
  received(bytes: number): Promise<void>;
}

async function connected(t: Test, bounded = true): Promise<Connected> {
  const ciphertext = new Ciphertext(dial(server.port, "127.0.0.1"));
  const [peer, tls] = await Promise.all([
    server.accept(),
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect(
        { socket: ciphertext, rejectUnauthorized: false },
        () => resolve(socket),
      );
      socket.once("error", reject);
    }),
  ]);
  tls.on("error", () => undefined);
  const got: Buffer[] = [];
  let floods = 0;
  if (bounded) ciphertext.bound(() => (floods += 1));
  tls.on("data", (bytes: Buffer) => {
    ciphertext.handedOn(bytes.length);
    got.push(bytes);
  });
  t.teardown(() => {
    tls.destroy();
    peer.raw.destroy();
  });
  return {
    ...{ peer, tls, ciphertext, got },
    get floods() {
      return floods;
    },
    async received(bytes) {
      while (Buffer.concat(got).length < bytes) await once(tls, "data");
    },
  };
}

/** With an error or without. */
function closing(tls: TLSSocket): Promise<void> {
  return new Promise((resolve) => void tls.once("close", () => resolve()));
}

const KINDS: Readonly<
  Record<string, (sender: Sender, count: number) => Hidden>
> = { "new keys": keyUpdates, tickets: sessionTickets };
const FEW = 100;
const MANY = 4000;
const WORD = Buffer.from("heard");

for (const [kind, make] of Object.entries(KINDS)) {
  void t.test(`a connection of ${kind} alone ends`, async (t) => {
    const one = await connected(t);
    const { bytes } = make(one.peer.sender, MANY);
    t.ok(bytes.length > MOST_UNSEEN);
    const closed = closing(one.tls);
    one.peer.raw.write(bytes);
    await closed;
    t.equal(one.floods, 1);
    t.same(one.got, []);
    t.ok(one.ciphertext.destroyed);
  });

  void t.test(`a few ${kind} are as good as none`, async (t) => {
    const one = await connected(t);
    const { bytes, sender } = make(one.peer.sender, FEW);
    one.peer.raw.write(Buffer.concat([bytes, dataRecord(sender, WORD)]));
    await one.received(WORD.length);
    t.same(one.got, [WORD]);
    t.equal(one.floods, 0);
  });

  void t.test(`before it is bounded many ${kind} pass`, async (t) => {
    const one = await connected(t, false);
    const { bytes, sender } = make(one.peer.sender, MANY);
    one.peer.raw.write(Buffer.concat([bytes, dataRecord(sender, WORD)]));
    await one.received(WORD.length);
    t.same(one.got, [WORD]);
  });
}

void t.test("all that is sent comes, either way, and its end", async (t) => {
  const one = await connected(t);
  const much = Buffer.alloc(3_000_000, "0123456789");
  const sent: Buffer[] = [];
  one.peer.tls.on("data", (bytes: Buffer) => sent.push(bytes));
  const [ended, heard] = [once(one.tls, "end"), once(one.peer.tls, "end")];
  one.peer.tls.end(much);
  one.tls.end(much);
  await Promise.all([ended, heard]);
  t.ok(Buffer.concat(one.got).equals(much));
  t.ok(Buffer.concat(sent).equals(much));
  t.equal(one.floods, 0, "the records are not counted against it");
});

void t.test("a connection that breaks off closes", async (t) => {
  const one = await connected(t);
  const closed = closing(one.tls);
  one.peer.raw.resetAndDestroy();
  await closed;
  t.ok(one.ciphertext.destroyed);
});
