/** What a pool does with connections that have fallen silent (law 3). */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import { startPool } from "../../../support/peers/fake-pool.ts";

void t.test(
  "HTTP/2 that was silent for 1 s answers a PING before what may not be repeated",
  async (t) => {
    const { acquire, settle, got, clock, made } = startPool({ protocol: "h2" });
    acquire();
    await settle();
    clock.advance(1000);
    acquire(true);
    t.same(got, ["0", "0 reused"], "what may be repeated does not wait");
    acquire(false);
    t.equal(got.length, 2, "waits");
    made[0]?.pong();
    await settle();
    t.same(got.slice(2), ["0 reused"]);
  },
);

void t.test(
  "HTTP/2 that does not answer the PING is let go, and another dialled",
  async (t) => {
    const { acquire, settle, got, clock, made } = startPool({ protocol: "h2" });
    acquire();
    await settle();
    clock.advance(1000);
    acquire(false);
    clock.advance(1000);
    t.same(made[0]?.ended, [], "what has arrived is heard first");
    await settle();
    t.same(made[0]?.ended, ["destroy"]);
    await settle();
    t.same(got, ["0", "1"]);
  },
);

void t.test(
  "a link found dead: the cluster hears of it, then the others are asked, then what is in flight is told",
  async (t) => {
    const { acquire, settle, clock, made, pool } = startPool({
      protocol: "h2",
      link: true,
      streams: 1,
    });
    acquire();
    await settle();
    acquire();
    await settle();
    const [first, second] = made;
    if (first === undefined || second === undefined) throw new Error("two");
    const order: string[] = [];
    const stop = pool.onDead((evidence) => order.push(evidence));
    first.onPing = () => order.push("first is asked");
    second.onPing = () => order.push("second is asked");
    first.onDestroy = () => order.push("first ends");
    clock.advance(900);
    second.heardAt = clock.now();
    clock.advance(600);
    second.heardAt = clock.now();
    clock.advance(500);
    t.same(order, [
      "first is asked",
      "silent for 2 s with 1 request in flight, no acknowledgement of a PING within 1 s",
      "second is asked",
      "first ends",
    ]);
    t.equal(pool.connections, 1);
    stop();
    clock.advance(1000);
    t.same(second.ended, ["destroy"]);
    t.equal(order.length, 4, "nobody listens any more");
  },
);

void t.test(
  "what may not be repeated waits for a PING on a link that has been silent for 0.1 s with requests out, and goes elsewhere where none is acknowledged",
  async (t) => {
    const { acquire, settle, got, clock, made, pool } = startPool({
      protocol: "h2",
      link: true,
    });
    acquire();
    await settle();
    clock.advance(99);
    acquire(false);
    t.same(got, ["0", "0 reused"]);
    clock.advance(1);
    acquire(true);
    t.same(got.slice(2), ["0 reused"], "what may be repeated does not wait");
    acquire(false);
    t.equal(got.length, 3, "waits");
    made[0]?.pong();
    await settle();
    t.same(got.slice(3), ["0 reused"]);

    acquire(false);
    clock.advance(1000);
    await settle();
    t.same(got.slice(4), ["UPSTREAM_RESET unprocessed"]);
    t.same(made[0]?.ended, [], "whether it is dead is the watch's to say");
    t.equal(pool.waiting, 0);
    t.equal(made.length, 1, "and nothing is dialled for it");

    const giveUp = acquire(false);
    giveUp?.();
    clock.advance(1000);
    await settle();
    t.equal(got.length, 5);
  },
);

void t.test(
  "what has nowhere else to go waits until the link is judged",
  async (t) => {
    const { acquire, settle, got, clock, made } = startPool({
      protocol: "h2",
      link: true,
    });
    acquire();
    await settle();
    clock.advance(500);
    acquire(false, true);
    clock.advance(1000);
    await settle();
    t.same(got, ["0"], "another would have gone elsewhere by now");
    made[0]?.pong();
    await settle();
    t.same(got, ["0", "0 reused"], "it was late");

    clock.advance(200);
    acquire(false, true);
    clock.advance(2000);
    t.same(made[0]?.ended, ["destroy"], "it is dead");
    await settle();
    await settle();
    t.same(got, ["0", "0 reused", "1"], "another is dialled");
  },
);

void t.test(
  "a late link: its endpoint is said to be, what is in flight waits, and another is dialled",
  async (t) => {
    const { acquire, settle, got, clock, made, pool } = startPool({
      protocol: "h2",
      link: true,
    });
    const evidence: string[] = [];
    pool.onDead((seen) => evidence.push(seen));
    acquire();
    await settle();
    const [late] = made;
    if (late === undefined) throw new Error("none");
    late.acknowledgedAgo = () => 1;
    clock.advance(2000);
    await settle();
    t.equal(evidence.length, 1);
    t.same(late.ended, [], "the request waits");
    t.equal(made.length, 2);
    acquire();
    acquire(false);
    t.same(got, ["0", "1 reused", "1 reused"]);
    late.heardAt = clock.now();
    if (made[1] !== undefined) made[1].active = 0;
    clock.advance(500);
    t.same(late.ended, [], "it has spoken");
    clock.advance(1600);
    await settle();
    t.equal(made.length, 3, "late again, and another is asked");
    clock.advance(1000);
    t.same(late.ended, ["destroy"], "what took the new one is not late");
  },
);

void t.test(
  "an idle link whose host acknowledges the PING is not let go",
  async (t) => {
    const { acquire, settle, finish, got, clock, made } = startPool({
      protocol: "h2",
      link: true,
    });
    acquire();
    await settle();
    finish(0);
    const [late] = made;
    if (late === undefined) throw new Error("none");
    late.acknowledgedAgo = () => 1;
    clock.advance(1000);
    acquire(false);
    acquire(false, true);
    clock.advance(1000);
    await settle();
    t.same(got, ["0", "UPSTREAM_RESET unprocessed"], "one goes elsewhere");
    clock.advance(500);
    late.heardAt = clock.now();
    late.pong();
    await settle();
    t.same(got.slice(2), ["0 reused"], "the other waits");
    clock.advance(500);
    t.same(late.ended, []);
    t.equal(made.length, 1);
  },
);

void t.test("a late link whose process takes no other", async (t) => {
  let fails = false;
  const { acquire, settle, clock, made } = startPool({
    protocol: "h2",
    link: true,
    fail: () =>
      fails
        ? new MeshError("CONNECT_FAILED", "", { source: "upstream" })
        : undefined,
  });
  acquire();
  await settle();
  const [late] = made;
  if (late === undefined) throw new Error("none");
  fails = true;
  late.acknowledgedAgo = () => 1;
  for (let second = 0; second < 11; second += 1) {
    clock.advance(1000);
    await settle();
  }
  t.same(late.ended, [], "it may wait for a core");
  clock.advance(1000);
  t.same(late.ended, ["destroy"]);
});

void t.test(
  "the 0.1 s begin with the first request after an idle time",
  async (t) => {
    const { acquire, settle, finish, got, clock } = startPool({
      protocol: "h2",
      link: true,
    });
    acquire();
    await settle();
    finish(0);
    clock.advance(900);
    acquire(false);
    acquire(false);
    t.same(got, ["0", "0 reused", "0 reused"]);
  },
);

void t.test(
  "an idle link that does not answer a PING says nothing of its endpoint: another is dialled",
  async (t) => {
    const { acquire, settle, finish, got, clock, made, pool } = startPool({
      protocol: "h2",
      link: true,
    });
    const evidence: string[] = [];
    pool.onDead((seen) => evidence.push(seen));
    acquire();
    await settle();
    finish(0);
    clock.advance(1000);
    acquire(false);
    clock.advance(1000);
    await settle();
    await settle();
    t.same(made[0]?.ended, ["destroy"]);
    t.same(got, ["0", "1"]);
    t.same(evidence, []);
  },
);

void t.test("a link that drains is watched to its end", async (t) => {
  const { acquire, settle, clock, made } = startPool({
    protocol: "h2",
    link: true,
  });
  acquire();
  await settle();
  made[0]?.observer.draining();
  clock.advance(2000);
  t.same(made[0]?.ended, ["destroy"]);
  acquire();
  await settle();
  made[1]?.observer.closed(undefined);
  clock.advance(60_000);
  t.same(made[1]?.ended, [], "one that is gone is not");
  t.equal(clock.pending, 0);
});
