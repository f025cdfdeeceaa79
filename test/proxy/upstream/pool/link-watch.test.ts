/** Which links are asked for a sign of life, and which are found dead. */
import t from "tap";
import {
  LinkWatch,
  LOOK,
  MOST_DEAD,
} from "../../../../src/proxy/upstream/pool/link-watch.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

/** Milliseconds. */
const SECOND = 1000;

interface FakeLink {
  active: number;
  heardAt: number;
  deaf?: boolean;
  pendingWrite?: number | undefined;
  acknowledgedAgo?: () => number | undefined;
  /** PINGs so far. */
  pings: number;
  /** How the other end takes a PING. */
  onPing: () => void;
  ping(): Promise<void>;
  readonly evidence: string[];
  /** What was said of it while it was late. */
  readonly late: string[];
  ask(): void;
  outdone(): void;
}

interface Setup {
  readonly clock: FakeClock;
  readonly watch: LinkWatch;
  /** A link with so many requests out. */
  readonly link: (
    active?: number,
    onPing?: (link: FakeLink) => void,
  ) => FakeLink;
}

function setUp(): Setup {
  const clock = fakeClock();
  const watch = new LinkWatch(clock, undefined, (run) => run());
  return {
    clock,
    watch,
    link(active = 1, onPing = ignore) {
      const evidence: string[] = [];
      const link: FakeLink = {
        active,
        heardAt: clock.now(),
        pings: 0,
        onPing: () => onPing(link),
        ping() {
          link.pings += 1;
          link.onPing();
          return Promise.resolve();
        },
        evidence,
        late: [],
        ask: () => watched.ask(),
        outdone: () => watched.outdone(),
      };
      const watched = watch.enter(link, {
        died: (seen) => evidence.push(seen),
        late: (seen, first) => link.late.push(first ? `first: ${seen}` : seen),
      });
      watch.wake();
      return link;
    },
  };
}

function ignore(): void {
  // The other end is silent.
}

/** Time goes on, and something comes on the link every `every` milliseconds. */
function heard(
  clock: FakeClock,
  link: FakeLink,
  every: number,
  times: number,
): void {
  for (let count = 0; count < times; count += 1) {
    clock.advance(every);
    link.heardAt = clock.now();
  }
}

void t.test(
  "a link that is silent with requests out is asked after 1 s, and dead 1 s later",
  (t) => {
    const { clock, link } = setUp();
    const silent = link(3);
    clock.advance(SECOND - LOOK);
    t.equal(silent.pings, 0);
    clock.advance(LOOK);
    t.equal(silent.pings, 1);
    clock.advance(SECOND - LOOK);
    t.same(silent.evidence, []);
    clock.advance(LOOK);
    t.same(silent.evidence, [
      "silent for 2 s with 3 requests in flight, no acknowledgement of a PING within 1 s",
    ]);
    clock.advance(60 * SECOND);
    t.equal(silent.evidence.length, 1, "told once");
    t.equal(silent.pings, 1);
    t.equal(clock.pending, 0, "nobody looks any more");
    t.end();
  },
);

/** The other end's kernel acknowledges each PING, its process none. */
function late({ clock, link }: Setup): FakeLink {
  const one = link();
  let askedAt = -Infinity;
  one.onPing = () => (askedAt = clock.now());
  one.acknowledgedAgo = () => clock.now() - askedAt - 1;
  return one;
}

void t.test(
  "a link whose host acknowledges is late, and is asked each second for 10 s",
  (t) => {
    const made = setUp();
    const { clock } = made;
    const busy = late(made);
    clock.advance(2 * SECOND);
    t.same(busy.late, [
      "first: silent for 2 s with 1 request in flight, no acknowledgement of a PING within 1 s",
    ]);
    clock.advance(9.9 * SECOND);
    t.equal(busy.late.length, 10);
    t.equal(busy.pings, 11);
    t.same(busy.evidence, []);
    clock.advance(LOOK);
    t.same(busy.evidence, [
      "silent for 12 s with 1 request in flight, no acknowledgement of a PING within 11 s",
    ]);
    clock.advance(60 * SECOND);
    t.equal(busy.evidence.length, 1, "told once");
    t.end();
  },
);

void t.test("one that was late and speaks begins anew", (t) => {
  const made = setUp();
  const { clock } = made;
  const busy = late(made);
  clock.advance(11 * SECOND);
  busy.heardAt = clock.now();
  clock.advance(11 * SECOND);
  t.same(busy.evidence, []);
  t.equal(busy.late.filter((seen) => seen.startsWith("first")).length, 2);
  t.end();
});

void t.test("a host that goes while its process is late", (t) => {
  const made = setUp();
  const { clock } = made;
  const gone = late(made);
  clock.advance(4 * SECOND);
  gone.onPing = ignore;
  clock.advance(2 * SECOND);
  t.equal(gone.evidence.length, 1);
  t.end();
});

void t.test(
  "what the kernel acknowledged before the PING says nothing of now",
  (t) => {
    const { clock, link } = setUp();
    const gone = link();
    const acknowledgedAt = clock.now() + SECOND - 50;
    gone.acknowledgedAgo = () => clock.now() - acknowledgedAt;
    clock.advance(2 * SECOND);
    t.equal(gone.evidence.length, 1);
    t.same(gone.late, []);
    t.end();
  },
);

void t.test(
  "once its process takes another connection, a late link has a second more",
  (t) => {
    const made = setUp();
    const { clock } = made;
    const hung = late(made);
    hung.outdone();
    clock.advance(2 * SECOND);
    t.same(hung.evidence, [], "it was not late yet");
    clock.advance(SECOND / 2);
    hung.outdone();
    clock.advance(SECOND / 2 - LOOK);
    t.same(hung.evidence, []);
    clock.advance(LOOK);
    t.equal(hung.evidence.length, 1);
    t.end();
  },
);

void t.test("what shows that the other end lives", (t) => {
  const hear =
    (clock: FakeClock, after: number) =>
    (link: FakeLink): void =>
      void clock.after(after, () => (link.heardAt = clock.now()));
  for (const { name, more, pings } of [
    {
      name: "a slow application behind a link that acknowledges",
      more: (clock: FakeClock) => hear(clock, 1),
      pings: [6, 30],
    },
    {
      name: "an acknowledgement in the last moment",
      more: (clock: FakeClock) => hear(clock, SECOND - 1),
      pings: [6, 30],
    },
    {
      name: "a long upload, of which a part is taken now and then",
      more: (clock: FakeClock) => (link: FakeLink) => {
        link.pendingWrite ??= 1;
        clock.after(SECOND / 2, () => (link.pendingWrite = link.pings + 1));
      },
      pings: [6, 30],
    },
    {
      name: "we do not listen ourselves",
      more: () => (link: FakeLink) => void (link.deaf = true),
      pings: [1, 1],
    },
  ]) {
    const { clock, link } = setUp();
    const slow = link(1, more(clock));
    clock.advance(30 * SECOND);
    t.same(slow.evidence, [], name);
    const [least = 0, most = 0] = pings;
    t.ok(
      slow.pings >= least && slow.pings <= most,
      `${name}: ${slow.pings} PINGs in 30 s`,
    );
  }
  t.end();
});

void t.test(
  "a link that is heard is not asked, nor is one that carries nothing",
  (t) => {
    const { clock, link } = setUp();
    const busy = link(5);
    heard(clock, busy, 90, 100);
    t.equal(busy.pings, 0);
    busy.active = 0;
    clock.advance(60 * SECOND);
    t.equal(busy.pings, 0);
    t.equal(clock.pending, 0, "nobody looks while nothing is out");
    t.end();
  },
);

void t.test(
  "the silence begins with the request, not with the last sign",
  (t) => {
    const { clock, watch, link } = setUp();
    const idle = link(0);
    clock.advance(60 * SECOND);
    idle.active = 1;
    watch.wake();
    clock.advance(SECOND - LOOK);
    t.equal(idle.pings, 0);
    clock.advance(LOOK);
    t.equal(idle.pings, 1);
    t.end();
  },
);

void t.test("four times what is usual, and never more than 2 s", (t) => {
  for (const [usual, asked] of [
    [90, SECOND],
    [350, 4 * 300],
    [450, 4 * 400],
    [900, 2 * SECOND],
  ] as const) {
    const { clock, link } = setUp();
    const one = link();
    heard(clock, one, usual, 200);
    t.equal(one.pings, 0, `${usual} ms are usual`);
    clock.advance(asked - LOOK);
    t.equal(one.pings, 0, `not before ${asked} ms`);
    clock.advance(4 * LOOK);
    t.equal(one.pings, 1, `after ${asked} ms`);
  }
  const { clock, link } = setUp();
  const slow = link(
    1,
    (each) => void clock.after(1, () => (each.heardAt = clock.now())),
  );
  clock.advance(120 * SECOND);
  const { pings } = slow;
  clock.advance(60 * SECOND);
  t.ok(
    slow.pings - pings <= 30,
    `${slow.pings - pings} PINGs a minute to one that is always silent`,
  );
  slow.onPing = ignore;
  clock.advance(3.5 * SECOND);
  t.equal(slow.evidence.length, 1);
  t.end();
});

void t.test("our own stall is no silence of the other end", (t) => {
  const { clock, link } = setUp();
  const one = link();
  // A look that comes an hour late is one look.
  const late = 3600 * SECOND;
  let now = 0;
  const stalled = new LinkWatch(
    { ...clock, now: () => clock.now() + now },
    undefined,
    (run) => run(),
  );
  const evidence: string[] = [];
  stalled.enter(one, { died: (seen) => evidence.push(seen), late: ignore });
  stalled.wake();
  clock.advance(5 * LOOK);
  now = late;
  stalled.due(clock.now() + now);
  t.equal(one.pings, 0);
  stalled.close();
  t.same(evidence, []);
  t.end();
});

void t.test(
  "one that is asked for another reason is asked once, and needs no requests",
  (t) => {
    const { clock, link } = setUp();
    const sibling = link(0);
    sibling.ask();
    sibling.ask();
    t.equal(sibling.pings, 1);
    clock.advance(SECOND);
    t.same(sibling.evidence, ["no acknowledgement of a PING within 1 s"]);
    sibling.ask();
    t.equal(sibling.pings, 1, "the dead are not asked");
    const alive = link(0, (each) => void (each.heardAt += 1));
    alive.ask();
    clock.advance(10 * SECOND);
    t.same(alive.evidence, []);
    t.equal(alive.pings, 1);
    t.end();
  },
);

void t.test(
  "many that die together are told a few at a time, and one that left is not",
  (t) => {
    const { clock, watch, link } = setUp();
    const links = Array.from({ length: 2 * MOST_DEAD + 1 }, () => link());
    const died = (): void => void t.fail("it has left");
    const left = watch.enter(link(), { died, late: ignore });
    watch.leave(left);
    const dead = (): number =>
      links.reduce((sum, { evidence }) => sum + evidence.length, 0);
    clock.advance(2 * SECOND);
    const first = dead();
    t.ok(first > 0 && first <= MOST_DEAD, `${first} at first`);
    clock.advance(LOOK);
    t.ok(dead() <= 2 * MOST_DEAD);
    clock.advance(LOOK);
    t.equal(dead(), links.length);
    t.end();
  },
);

void t.test(
  "what the kernel takes at once is no sign of the other end",
  (t) => {
    const { clock, link } = setUp();
    const hole = link(1);
    // Each look finds another write under way, which is over before the next.
    for (let write = 0; write < 21; write += 1) {
      hole.pendingWrite = write % 3 === 0 ? undefined : write;
      clock.advance(LOOK);
    }
    t.equal(hole.evidence.length, 1);
    t.end();
  },
);

void t.test(
  "a look counts only where what had arrived was heard before",
  async (t) => {
    const clock = fakeClock();
    const watch = new LinkWatch(clock);
    const evidence: string[] = [];
    watch.enter(
      { active: 1, heardAt: 0, ping: () => Promise.resolve() },
      { died: (seen) => evidence.push(seen), late: ignore },
    );
    watch.wake();
    // All in one turn of the event loop: nothing can have been read.
    clock.advance(60 * SECOND);
    t.same(evidence, []);
    for (let look = 0; look < 19; look += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(LOOK);
    }
    t.same(evidence.length, 1);
    watch.close();
  },
);

void t.test("the last that leaves takes the timer along", (t) => {
  const { clock, watch } = setUp();
  const link = watch.enter(
    { active: 1, heardAt: 0, ping: () => Promise.reject(new Error("over")) },
    { died: ignore, late: ignore },
  );
  watch.wake();
  t.equal(clock.pending, 1);
  link.ask();
  watch.leave(link);
  t.equal(clock.pending, 0);
  t.end();
});
