/** Which connection a request gets, and when another is dialled. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import { startPool } from "../../../support/peers/fake-pool.ts";

void t.test(
  "HTTP/1.1: each waiter dials, and the last used is used next",
  async (t) => {
    const { acquire, settle, finish, got, clock } = startPool();
    acquire();
    acquire();
    await settle();
    t.same(got, ["0", "1"]);
    finish(0);
    clock.advance(100);
    finish(1);
    acquire();
    t.same(got.slice(2), ["1 reused"], "last in, first out");
    acquire();
    t.same(got.slice(3), ["0 reused"]);
  },
);

void t.test(
  "a connection that comes free serves who waits, before the dial is done",
  async (t) => {
    const { acquire, settle, finish, got, pool } = startPool();
    acquire();
    await settle();
    acquire();
    finish(0);
    t.same(got, ["0", "0 reused"]);
    await settle();
    t.equal(pool.connections, 2, "the dialled one is there for the next");
  },
);

void t.test(
  "HTTP/1.1: idle for longer than 3 s, or than the peer allows, is not used",
  async (t) => {
    for (const { keepAlive, wait } of [
      { keepAlive: undefined, wait: 3000 },
      { keepAlive: 1000, wait: 1000 },
    ]) {
      const { pool, acquire, settle, finish, got, clock, made } = startPool();
      acquire();
      await settle();
      const [first] = made;
      if (first !== undefined) first.keepAlive = keepAlive;
      finish(0);
      clock.advance(wait);
      acquire();
      await settle();
      t.same(got, ["0", "1"]);
      pool.sweep(9);
      t.same(first?.ended, ["destroy"]);
    }
  },
);

void t.test(
  "what may not be repeated gets a connection idle for less than 1 s, or a new one",
  async (t) => {
    const { acquire, settle, finish, got, clock } = startPool();
    acquire();
    await settle();
    finish(0);
    clock.advance(999);
    acquire(false);
    t.same(got, ["0", "0 reused"]);
    finish(0);
    clock.advance(1000);
    acquire(false);
    await settle();
    t.same(got.slice(2), ["1"], "a new one");
    acquire(true);
    t.same(got.slice(3), ["0 reused"], "which others may still use");
  },
);

void t.test(
  "HTTP/2: one connection for all, a second when it is full",
  async (t) => {
    const { acquire, settle, got, made } = startPool({
      protocol: "h2",
      streams: 2,
    });
    for (let index = 0; index < 5; index += 1) acquire();
    t.equal(made.length, 1, "one dial for all who wait");
    await settle();
    await settle();
    await settle();
    t.same(got, ["0", "0 reused", "1", "1 reused", "2"]);
  },
);

void t.test("a failed dial fails those who waited for it", async (t) => {
  const error = new MeshError("CONNECT_FAILED", "", {
    source: "upstream",
    unprocessed: true,
  });
  for (const protocol of ["http/1.1", "h2"] as const) {
    const { acquire, settle, got } = startPool({ protocol, fail: () => error });
    acquire();
    acquire();
    await settle();
    t.same(got, ["CONNECT_FAILED", "CONNECT_FAILED"], protocol);
  }
});

void t.test(
  "where this machine cannot make another, a request waits for a connection that there is",
  async (t) => {
    const error = new MeshError("MACHINE_ERROR", "", { source: "proxy" });
    for (const protocol of ["http/1.1", "h2"] as const) {
      let [lacks, failed] = [true, 0];
      const fail = (): MeshError | undefined => {
        if (lacks) failed += 1;
        return lacks ? error : undefined;
      };
      const { acquire, settle, finish, got, clock, pool } = startPool({
        ...{ protocol, fail, streams: 1 },
      });
      acquire();
      await settle();
      t.same(got.splice(0), ["MACHINE_ERROR"], "at once where there is none");
      lacks = false;
      acquire();
      await settle();
      lacks = true;
      for (let more = 0; more < 3; more += 1) acquire();
      await settle();
      t.same(got.splice(0), ["0"], protocol);
      t.ok(failed > 1, "another was tried");
      finish(0);
      await settle();
      t.same(got.splice(0), ["0 reused"]);
      clock.advance(1000);
      await settle();
      t.same(got, ["MACHINE_ERROR", "MACHINE_ERROR"], "not for ever");
      t.equal(pool.waiting, 0);
    }
  },
);

void t.test("who gives up is not served", async (t) => {
  const { acquire, settle, got, pool } = startPool();
  acquire()?.();
  await settle();
  t.same(got, []);
  t.equal(pool.waiting, 0);
});

void t.test("a draining connection takes nothing new", async (t) => {
  const { acquire, settle, got, made } = startPool({ protocol: "h2" });
  acquire();
  await settle();
  made[0]?.observer.draining();
  acquire();
  await settle();
  t.same(got, ["0", "1"]);
});

void t.test(
  "maxRequestsPerConnection ends a connection after so many",
  async (t) => {
    const { acquire, settle, got, made } = startPool({
      protocol: "h2",
      settings: { maxRequestsPerConnection: 2 },
    });
    acquire();
    acquire();
    acquire();
    await settle();
    await settle();
    t.same(got, ["0", "0 reused", "1"]);
    t.same(made[0]?.ended, ["drain"]);
  },
);

void t.test(
  "sweeping closes what is idle for too long, and nothing else",
  async (t) => {
    const { acquire, settle, finish, clock, made, pool } = startPool();
    acquire();
    acquire();
    await settle();
    finish(0);
    clock.advance(3000);
    t.equal(pool.sweep(9), 1);
    t.same(
      made.map(({ ended }) => ended),
      [["destroy"], []],
    );
  },
);

void t.test(
  "a pool that has a successor hands over those who wait, who may still give up",
  async (t) => {
    const failures: MeshError[] = [];
    const old = startPool({ fail: () => failures[0] });
    const next = startPool();
    old.acquire();
    await old.settle();
    // One gets the connection that is being made, one's cannot be made, one gives up.
    old.acquire();
    failures.push(new MeshError("TLS_FAILED", "", { source: "upstream" }));
    const giveUp = old.acquire();
    old.acquire();
    old.pool.drain(next.pool);
    t.same(old.made[0]?.ended, ["drain"]);
    t.equal(next.pool.waiting, 0, "their connections are being made yet");
    giveUp?.();
    await old.settle();
    await next.settle();
    t.same(
      old.got,
      ["0", "1", "-1"],
      "its own connection; one of the other pool; no failure",
    );
    t.same(old.made[1]?.ended, ["drain"], "it carries what it was made for");
    t.equal(next.pool.waiting + old.pool.waiting, 0);
  },
);

void t.test(
  "a pool that is let go fails those who wait and drains the rest",
  async (t) => {
    const { acquire, settle, got, made, pool } = startPool();
    acquire();
    await settle();
    acquire();
    pool.drain();
    t.same(got, ["0", "STREAM_REFUSED"]);
    t.same(made[0]?.ended, ["drain"]);
    acquire();
    t.same(got.slice(2), ["STREAM_REFUSED"]);
    await settle();
    t.same(made[1]?.ended, ["destroy"], "a dial that was under way is undone");
  },
);
