import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import t, { type Test } from "tap";
import { makeNap, type Nap } from "../../src/core/nap.ts";

/** Milliseconds; so short that a nap is over soon where nothing ends it, and no test depends on how long it is. */
const SHORT = 1;
/** Of a nap that something ends: were it not, the test would take this long and fail. */
const LONG = 900;

const OPTIONS = process.platform === "linux" ? {} : { skip: "Linux alone" };

interface Ends {
  /** Nobody has read from it. */
  readonly ours: Socket;
  readonly peer: Socket;
}

async function connection(t: Test): Promise<Ends> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, "connection");
  const ours = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  ours.pause();
  const [peer] = (await accepted) as [Socket];
  await (ours.connecting ? once(ours, "connect") : undefined);
  t.teardown(() => {
    ours.destroy();
    peer.destroy();
    server.close();
  });
  return { ours, peer };
}

/** A nap that `ours` ends. */
async function scene(t: Test): Promise<Ends & { readonly nap: Nap }> {
  const nap = makeNap();
  if (nap === undefined) throw new Error("this Linux has no epoll_pwait2(2)");
  t.teardown(() => nap.close());
  const ends = await connection(t);
  nap.endsWith(ends.ours);
  return { nap, ...ends };
}

void t.test("what comes on a chosen socket ends it", OPTIONS, async (t) => {
  const { nap, peer } = await scene(t);
  t.equal(nap.take(SHORT), false, "nothing has come");
  // A write of this size is in the other's buffer when it returns.
  peer.write("answer");
  t.equal(nap.take(LONG), true);
});

void t.test(
  "what is not read ends one nap, not one after the other",
  OPTIONS,
  async (t) => {
    const { nap, peer } = await scene(t);
    peer.write("answer");
    t.equal(nap.take(LONG), true);
    t.equal(nap.take(SHORT), false);
    peer.write("more");
    t.equal(nap.take(LONG), true, "more of it does");
  },
);

void t.test("what comes elsewhere does not end it", OPTIONS, async (t) => {
  const { nap } = await scene(t);
  const other = await connection(t);
  other.peer.write("request");
  t.equal(nap.take(SHORT), false);
});

void t.test("what was read before does not end it", OPTIONS, async (t) => {
  const { nap, ours, peer } = await scene(t);
  peer.write("answer");
  ours.resume();
  await once(ours, "data");
  t.equal(nap.take(SHORT), false);
});

void t.test(
  "the end of a connection ends it; a closed socket does not, nor is one an error that is closed already",
  OPTIONS,
  async (t) => {
    const { nap, ours, peer } = await scene(t);
    peer.destroy();
    t.equal(nap.take(LONG), true);
    ours.destroy();
    await once(ours, "close");
    t.equal(nap.take(SHORT), false);
    nap.endsWith(ours);
    t.equal(nap.take(SHORT), false);
  },
);
