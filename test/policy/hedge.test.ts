/** When a second request is sent: after the measured percentile, never before enough is known. */
import t from "tap";
import { HedgeDelay } from "../../src/policy/hedge.ts";
import { seededRandom } from "../support/clocks/fake-clock.ts";

void t.test("before a hundred answers nothing is sent twice", (t) => {
  const hedge = new HedgeDelay({ percentile: 95, minimumDelay: 5 });
  for (let index = 0; index < 99; index += 1) hedge.record(10);
  t.equal(hedge.delay, undefined);
  for (let index = 0; index < 29; index += 1) hedge.record(10);
  t.equal(hedge.delay, 10);
  t.end();
});

void t.test("so that as many are doubled as the percentile leaves", (t) => {
  for (const percentile of [50, 90, 95, 99]) {
    const hedge = new HedgeDelay({ percentile, minimumDelay: 0 });
    const random = seededRandom(percentile);
    const latency = (): number => 10 * Math.exp(random() * 3);
    for (let index = 0; index < 2048; index += 1) hedge.record(latency());
    const { delay = 0 } = hedge;
    let slower = 0;
    for (let index = 0; index < 10_000; index += 1)
      if (latency() > delay) slower += 1;
    t.ok(
      Math.abs(slower / 100 - (100 - percentile)) < 3,
      `${slower / 100} % at ${percentile}`,
    );
  }
  t.end();
});

void t.test("never sooner than the minimum", (t) => {
  const hedge = new HedgeDelay({ percentile: 95, minimumDelay: 20 });
  for (let index = 0; index < 256; index += 1) hedge.record(1);
  t.equal(hedge.delay, 20);
  t.end();
});

void t.test("it follows a service that changes", (t) => {
  const hedge = new HedgeDelay({ percentile: 95, minimumDelay: 0 });
  for (let index = 0; index < 1024; index += 1) hedge.record(10);
  for (let index = 0; index < 1024; index += 1) hedge.record(100);
  t.equal(hedge.delay, 100);
  t.end();
});
