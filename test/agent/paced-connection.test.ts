/** The bytes of a connection come in steps of a few frames, when they are read and when their turn has come; all else passes. */
import { duplexPair, type Duplex } from "node:stream";
import t from "tap";
import { pacedConnection } from "../../src/agent/paced-connection.ts";
import { PacedWork } from "../../src/core/paced-work.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { frame } from "../support/hostile/attacks.ts";

const PING = 6;
const DATA = 0;

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn += 1)
    await new Promise((resolve) => void setImmediate(resolve));
}

/** The sidecar's end of a connection, and the other one. */
function connection() {
  const clock = fakeClock();
  const work = new PacedWork({ clock, cpu: () => 0 });
  const [tls, peer] = duplexPair();
  const counts = { tls: 0, raw: 0 };
  Object.defineProperty(tls, "bytesRead", { get: () => counts.tls });
  const raw = {
    get bytesRead() {
      return counts.raw;
    },
  };
  const paced: Duplex = pacedConnection(
    tls as Duplex & { readonly bytesRead: number },
    raw,
    work,
  );
  const steps: Buffer[] = [];
  return { clock, work, tls, peer, counts, paced, steps };
}

function reads({ paced, steps }: ReturnType<typeof connection>): void {
  paced.on("data", (step: Buffer) => steps.push(step));
}

function pings(count: number): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, () => frame(PING, 0, 0, Buffer.alloc(8))),
  );
}

void t.test("a step is sixteen frames", async (t) => {
  const one = connection();
  reads(one);
  const bytes = Buffer.concat([
    pings(40),
    frame(DATA, 0, 1, Buffer.alloc(16_384)),
    ...Array.from({ length: 15 }, () => frame(DATA, 0, 1)),
    pings(1),
  ]);
  one.peer.write(bytes);
  await turns();
  t.same(
    one.steps.map(({ length }) => length),
    [16 * 17, 16 * 17, 8 * 17 + 9 + 16_384 + 7 * 9, 8 * 9 + 17],
  );
  t.ok(Buffer.concat(one.steps).equals(bytes));
});

void t.test("frames may come in any pieces", async (t) => {
  const one = connection();
  reads(one);
  const bytes = Buffer.concat([
    frame(DATA, 0, 1, Buffer.alloc(300, 1)),
    pings(20),
  ]);
  for (const byte of bytes.subarray(0, 400)) one.peer.write(Buffer.of(byte));
  await turns();
  one.peer.write(bytes.subarray(400));
  await turns();
  t.ok(Buffer.concat(one.steps).equals(bytes));
});

void t.test("what nobody reads stays where it is", async (t) => {
  const one = connection();
  reads(one);
  one.paced.pause();
  one.peer.write(pings(100));
  await turns();
  t.same(one.steps, []);
  t.equal(one.tls.readableLength, 1700);
  one.paced.resume();
  await turns();
  t.ok(Buffer.concat(one.steps).equals(pings(100)));
});

void t.test(
  "after a burst a step waits for its turn, and for a quarter of a second at most",
  async (t) => {
    const one = connection();
    reads(one);
    one.work.begin();
    one.work.spend(100_000);
    one.peer.write(pings(48));
    for (const count of [0, 1, 2, 3, 3]) {
      await turns();
      t.equal(one.steps.length, count);
      one.clock.advance(250);
    }
  },
);

void t.test("a record of TLS has its price, however short", async (t) => {
  const waits = async (records: number): Promise<boolean> => {
    const one = connection();
    reads(one);
    one.work.begin();
    one.counts.raw = 1000 + records * 23;
    one.counts.tls = records;
    one.peer.write(pings(1));
    await turns();
    return one.steps.length === 0;
  };
  t.notOk(await waits(100));
  t.ok(await waits(100_000));
});

void t.test("writes, ends and failures pass", async (t) => {
  const one = connection();
  reads(one);
  const heard: Buffer[] = [];
  one.peer.on("data", (chunk: Buffer) => heard.push(chunk));
  let ended = false;
  one.paced.on("end", () => (ended = true));
  one.paced.cork();
  for (const text of ["a", "b"]) one.paced.write(text);
  one.paced.uncork();
  one.peer.end(pings(17));
  await turns();
  t.equal(Buffer.concat(heard).toString(), "ab");
  t.equal(one.steps.length, 2);
  t.ok(ended, "once all has been read");

  const failing = connection();
  const failures: Error[] = [];
  failing.paced.on("error", (error) => failures.push(error));
  failing.tls.destroy(new Error("reset"));
  failing.paced.write("x");
  await turns();
  t.ok(failing.paced.destroyed);
  t.same(failures, [], "node:http2 would hand it to nobody");

  const leaving = connection();
  leaving.paced.destroy();
  await turns();
  t.ok(leaving.tls.destroyed);

  const left = connection();
  left.tls.destroy();
  await turns();
  t.ok(left.paced.destroyed);
});
