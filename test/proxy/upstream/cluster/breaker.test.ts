/** opossum behind permits: what is counted, the probe, and what a straggler may not do. */
import { EventEmitter, once } from "node:events";
import t from "tap";
import {
  makeBreaker,
  type Breaker,
  type BreakerState,
} from "../../../../src/proxy/upstream/cluster/breaker.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

interface Setup {
  readonly breaker: Breaker;
  readonly clock: FakeClock;
  readonly states: BreakerState[];
  /** Waits for the next state; opossum's reset timer is real. */
  readonly next: (state: BreakerState) => Promise<void>;
  readonly rotate: () => void;
}

function setUp(
  settings: Partial<{ volumeThreshold: number; resetTimeout: number }> = {},
): Setup {
  const states: BreakerState[] = [];
  const events = new EventEmitter();
  const controller = new EventEmitter();
  const clock = fakeClock();
  const breaker = makeBreaker({
    clock,
    rotation: { controller, close: () => undefined },
    settings: {
      errorThresholdPercent: 50,
      volumeThreshold: settings.volumeThreshold ?? 4,
      window: 3000,
      resetTimeout: settings.resetTimeout ?? 10,
    },
    onState(state) {
      states.push(state);
      events.emit(state);
    },
  });
  return {
    breaker,
    clock,
    states,
    async next(state) {
      // opossum's timer does not keep the process alive; this one does while it is waited for.
      const alive = setInterval(() => undefined, 1000);
      if (breaker.state !== state) await once(events, state);
      clearInterval(alive);
    },
    rotate: () => controller.emit("rotate"),
  };
}

/** One call whose outcome is known at once. */
async function called(
  breaker: Breaker,
  effect: "success" | "failure" | "none",
): Promise<boolean> {
  const permit = breaker.enter();
  if (permit < 0) return false;
  breaker.settle(permit, effect);
  // opossum counts in microtasks.
  await new Promise((resolve) => setImmediate(resolve));
  return true;
}

void t.test(
  "stays closed below the volume threshold, opens above the rate",
  async (t) => {
    const { breaker } = setUp();
    for (let index = 0; index < 3; index += 1) await called(breaker, "failure");
    t.equal(breaker.state, "closed");
    await called(breaker, "failure");
    t.equal(breaker.state, "open");
    t.notOk(await called(breaker, "success"), "no call is let through");
    breaker.close();
  },
);

void t.test(
  "stays closed at half failures, which is not more than half",
  async (t) => {
    const { breaker } = setUp();
    for (let index = 0; index < 20; index += 1)
      await called(breaker, index % 2 === 0 ? "success" : "failure");
    t.equal(breaker.state, "closed");
    t.same(breaker.window, { calls: 20, failures: 10 });
    breaker.close();
  },
);

void t.test("what says nothing of the service is not counted", async (t) => {
  const { breaker } = setUp();
  for (let index = 0; index < 20; index += 1) await called(breaker, "none");
  t.same(breaker.window, { calls: 0, failures: 0 });
  breaker.close();
});

void t.test("the window forgets", async (t) => {
  const { breaker, rotate } = setUp();
  for (let index = 0; index < 3; index += 1) await called(breaker, "failure");
  for (let index = 0; index < 3; index += 1) rotate();
  await called(breaker, "failure");
  t.equal(breaker.state, "closed", "three of the four failures are too old");
  breaker.close();
});

async function opened(setup: Setup): Promise<void> {
  for (let index = 0; index < 4; index += 1)
    await called(setup.breaker, "failure");
}

void t.test(
  "half open, one probe at a time; its success closes, with an empty window",
  async (t) => {
    const setup = setUp();
    const { breaker, next } = setup;
    await opened(setup);
    await next("half-open");
    const probe = breaker.enter();
    t.ok(probe >= 0);
    t.ok(breaker.enter() < 0, "a second one is refused");
    breaker.settle(probe, "success");
    await next("closed");
    t.same(breaker.window, { calls: 0, failures: 0 });
    breaker.close();
  },
);

void t.test("the probe's failure opens it again", async (t) => {
  const setup = setUp();
  await opened(setup);
  await setup.next("half-open");
  setup.breaker.settle(setup.breaker.enter(), "failure");
  await setup.next("open");
  t.same(setup.states, ["open", "half-open", "open"]);
  setup.breaker.close();
});

void t.test(
  "a probe that proved nothing makes room for the next",
  async (t) => {
    const setup = setUp();
    const { breaker } = setup;
    await opened(setup);
    await setup.next("half-open");
    breaker.settle(breaker.enter(), "none");
    t.ok(breaker.enter() >= 0);
    breaker.close();
  },
);

void t.test(
  "a probe that is not answered keeps others out for one reset time-out, not for as long as it lasts",
  async (t) => {
    const setup = setUp();
    const { breaker, clock } = setup;
    await opened(setup);
    await setup.next("half-open");
    const first = breaker.enter();
    t.ok(first >= 0);
    clock.advance(9);
    t.ok(breaker.enter() < 0, "one at a time");
    clock.advance(1);
    const second = breaker.enter();
    t.ok(second >= 0, "the next may try");
    t.ok(breaker.enter() < 0, "one at a time, again");
    breaker.settle(first, "none");
    t.ok(breaker.enter() < 0, "the second is in flight");
    breaker.settle(second, "none");
    const third = breaker.enter();
    t.ok(third >= 0, "and proved nothing");
    breaker.settle(third, "success");
    await setup.next("closed");
    breaker.close();
  },
);

void t.test(
  "a straggler from before it opened neither closes nor opens it",
  async (t) => {
    const setup = setUp();
    const { breaker } = setup;
    const late = breaker.enter();
    const later = breaker.enter();
    await opened(setup);
    await setup.next("half-open");
    breaker.settle(late, "success");
    breaker.settle(later, "failure");
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(breaker.state, "half-open");
    breaker.close();
  },
);

void t.test("it says when the next probe may come", async (t) => {
  const setup = setUp({ resetTimeout: 5000 });
  t.equal(setup.breaker.retryAfter, 0);
  await opened(setup);
  t.equal(setup.breaker.retryAfter, 5000);
  setup.breaker.close();
});
