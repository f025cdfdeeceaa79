import t from "tap";
import { Registration } from "../../src/agent/registration.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const SPEC = { address: "10.0.0.1" };

void t.test(
  "without a connection, being ready is told at the next one, and nobody waits",
  async (t) => {
    const clock = fakeClock();
    const registration = new Registration({
      workload: () => SPEC,
      clock,
      logger: silentLogger,
    });
    await registration.setReady(true);
    t.same(registration.state.value, {});
    t.equal(clock.pending, 0);
    await registration.close();
  },
);

void t.test(
  "deregistering without a connection gives up after 5 s (law 12)",
  async (t) => {
    const clock = fakeClock();
    const registration = new Registration({
      workload: () => SPEC,
      clock,
      logger: silentLogger,
    });
    await registration.setReady(true);
    let over = false;
    const leaving = registration.deregister().then(() => (over = true));
    clock.advance(4999);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(over, false);
    clock.advance(1);
    await leaving;
    t.equal(clock.pending, 0);
    await registration.close();
  },
);

void t.test("what never registered is gone at once", async (t) => {
  const clock = fakeClock();
  const idle = new Registration({
    workload: () => SPEC,
    clock,
    logger: silentLogger,
  });
  await idle.deregister();
  const caller = new Registration({
    workload: () => undefined,
    clock,
    logger: silentLogger,
  });
  await caller.setReady(true);
  await caller.deregister();
  t.equal(clock.pending, 0);
  await Promise.all([idle.close(), caller.close()]);
});

void t.test("closing ends a deregistration that waits", async (t) => {
  const clock = fakeClock();
  const registration = new Registration({
    workload: () => SPEC,
    clock,
    logger: silentLogger,
  });
  await registration.setReady(true);
  const leaving = registration.deregister();
  await registration.close();
  await leaving;
  t.equal(clock.pending, 0);
});
