/** Client-side throttling: the formula, its window, and that a caller finds back. */
import t from "tap";
import { makeThrottle } from "../../src/policy/throttle.ts";
import { seededRandom } from "../support/clocks/fake-clock.ts";

const K2 = { multiplier: 2, window: 120_000 };

void t.test("while all is accepted nothing is refused here", (t) => {
  const throttle = makeThrottle(K2);
  for (let index = 0; index < 1000; index += 1) {
    if (!throttle.request(index, 0)) t.fail("refused");
    throttle.accepted(index);
  }
  t.equal(throttle.probability(1000), 0);
  t.end();
});

void t.test(
  "half may be refused by the service before the caller holds back",
  (t) => {
    const throttle = makeThrottle(K2);
    for (let index = 0; index < 1000; index += 1) {
      throttle.request(index, 0.999);
      if (index % 2 === 0) throttle.accepted(index);
    }
    t.equal(throttle.probability(1000), 0);
    t.end();
  },
);

void t.test("max(0, (requests − K · accepts) / (requests + 1))", (t) => {
  const throttle = makeThrottle(K2);
  for (let index = 0; index < 100; index += 1) throttle.request(0, 0.999);
  for (let index = 0; index < 20; index += 1) throttle.accepted(0);
  t.equal(throttle.probability(0), (100 - 2 * 20) / 101);
  t.notOk(throttle.request(0, 0.59));
  t.ok(throttle.request(0, 0.61));
  t.end();
});

void t.test(
  "a service that takes 100 a second gets about 200, whatever is asked",
  (t) => {
    const throttle = makeThrottle({ multiplier: 2, window: 10_000 });
    const random = seededRandom(3);
    let sent = 0;
    for (let second = 0; second < 60; second += 1) {
      let room = 100;
      for (let index = 0; index < 1000; index += 1) {
        const now = second * 1000 + index;
        if (!throttle.request(now, random())) continue;
        if (second >= 30) sent += 1;
        if (room > 0) {
          room -= 1;
          throttle.accepted(now);
        }
      }
    }
    t.ok(Math.abs(sent / 30 - 200) < 20, `${sent / 30} a second`);
    t.end();
  },
);

void t.test("what the window has left behind counts no more", (t) => {
  const throttle = makeThrottle({ multiplier: 2, window: 12_000 });
  for (let index = 0; index < 100; index += 1) throttle.request(0, 0.999);
  t.ok(throttle.probability(0) > 0.9);
  t.ok(throttle.probability(11_000) > 0.9);
  t.equal(throttle.probability(13_000), 0);
  t.ok(throttle.request(13_000, 0));
  t.end();
});
