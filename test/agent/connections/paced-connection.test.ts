/** The bytes of a connection come in steps of a few frames, when they are read and when their turn has come; frames without content end it; all else passes. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { duplexPair, type Duplex } from "node:stream";
import t from "tap";
import {
  BARE_FRAMES,
  pacedConnection,
} from "../../../src/agent/connections/paced-connection.ts";
import { PacedWork } from "../../../src/core/paced-work.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { frame } from "../../support/hostile/attacks.ts";

const [DATA, HEADERS, SETTINGS, PING] = [0, 1, 4, 6];

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn += 1)
    await new Promise((resolve) => void setImmediate(resolve));
}

/** The sidecar's end of a connection, and the other one. */
function connection() {
  const clock = fakeClock();
  const work = new PacedWork({ clock, cpu: () => 0 });
  const [tls, peer] = duplexPair();
  const floods: string[] = [];
  const paced: Duplex = pacedConnection(tls, {
    ...{ work, clock },
    onFlood: (reason) => floods.push(reason),
  });
  const steps: Buffer[] = [];
  return { clock, work, tls, peer, paced, steps, floods };
}

function reads({ paced, steps }: ReturnType<typeof connection>): void {
  paced.on("data", (step: Buffer) => steps.push(step));
}

function pings(count: number): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, () => frame(PING, 0, 0, Buffer.alloc(8))),
  );
}

function cut(bytes: Buffer, length: number): Buffer[] {
  return Array.from({ length: bytes.length / length }, (_, index) =>
    bytes.subarray(index * length, (index + 1) * length),
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
    [16 * 17, 16 * 17, 8192, 8192, 8 * 17 + 16 * 9, 17],
  );
  t.ok(Buffer.concat(one.steps).equals(bytes));
});

void t.test("frames may come in any pieces", async (t) => {
  const one = connection();
  reads(one);
  const bytes = Buffer.concat([
    frame(DATA, 0, 1, Buffer.alloc(150, 1)),
    pings(20),
  ]);
  for (const byte of bytes.subarray(0, 240)) one.peer.write(Buffer.of(byte));
  await turns();
  one.peer.write(bytes.subarray(240));
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
    for (let left = 0; left < 999; left += 1) one.work.spend(1);
    for (const bytes of cut(pings(10), 170 / records)) one.peer.write(bytes);
    await turns();
    return Buffer.concat(one.steps).length < 170;
  };
  t.notOk(await waits(1));
  t.ok(await waits(170));
});

void t.test(
  "frames and records that carry nothing end the connection before they are read",
  async (t) => {
    const many = (count: number, payload: number, type = DATA): Buffer =>
      Buffer.concat(
        Array.from({ length: count }, () =>
          frame(type, 0, 1, Buffer.alloc(payload)),
        ),
      );
    const { burst, rate } = BARE_FRAMES;
    const cases: readonly [what: string, sent: Buffer, read: number][] = [
      ["as many as there may be", pings(burst), burst * 17],
      // Of a step with one too many, nothing is read.
      ["pings", pings(burst + 1), Math.floor(burst / 16) * 16 * 17],
      ["short data", many(burst + 1, 31), Math.floor(burst / 16) * 16 * 40],
      ["messages", many(burst * 2, 32), burst * 2 * 41],
      ["long headers", many(burst / 4, 4096, HEADERS), 100 * 8192],
    ];
    for (const [what, sent, read] of cases) {
      const one = connection();
      reads(one);
      one.peer.write(sent);
      await turns(2000);
      t.equal(Buffer.concat(one.steps).length, read, what);
      const flooded = read < sent.length;
      t.equal(one.paced.destroyed, flooded, what);
      t.equal(one.floods.length, flooded ? 1 : 0, what);
    }

    const slow = connection();
    reads(slow);
    for (let second = 0; second < 2 * (burst / rate); second += 1) {
      slow.peer.write(pings(rate));
      await turns();
      slow.clock.advance(1000);
    }
    t.same(slow.floods, [], "some each second are none too many");

    const short = connection();
    for (const bytes of cut(pings(burst / 40), 1)) short.peer.write(bytes);
    await turns();
    t.match(short.floods, [/floods its connection/], "also while nobody reads");
    t.ok(short.tls.destroyed);
  },
);

void t.test("writes, ends and failures pass", async (t) => {
  const one = connection();
  reads(one);
  const heard: Buffer[] = [];
  one.peer.on("data", (chunk: Buffer) => heard.push(chunk));
  one.paced.cork();
  for (const text of ["a", "b"]) one.paced.write(text);
  one.paced.uncork();
  one.peer.end(pings(17));
  await turns();
  t.equal(Buffer.concat(heard).toString(), "ab");
  t.equal(one.steps.length, 2);
  t.ok(one.paced.destroyed, "once all has been read");

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

void t.test("what is read late is read before the end", async (t) => {
  const one = connection();
  reads(one);
  one.paced.pause();
  one.peer.end(pings(40));
  await turns();
  t.notOk(one.paced.destroyed, "nobody has read it");
  one.paced.resume();
  await turns();
  t.ok(Buffer.concat(one.steps).equals(pings(40)));
  t.ok(one.paced.destroyed);
});

void t.test(
  "a server that ends its half while we write ends the session, and not the process",
  async (t) => {
    const { peer, paced } = connection();
    const session = connectHttp2("http://plane", {
      createConnection: () => paced,
    });
    const closed = once(session, "close");
    peer.write(frame(SETTINGS, 0, 0));
    await once(session, "remoteSettings");
    // It reads nothing from now on, so that what we send last does not leave.
    peer.end();
    for (let turn = 0; turn < 10; turn += 1) {
      await turns(1);
      if (!session.destroyed) session.ping(() => undefined);
    }
    await closed;
    t.ok(paced.destroyed);
  },
);
