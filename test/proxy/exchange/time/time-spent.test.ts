import t from "tap";
import { TimeSpent } from "../../../../src/proxy/exchange/time/time-spent.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";

void t.test("the time of all attempts is told by what it went into", (t) => {
  const clock = fakeClock();
  const spent = new TimeSpent(clock.now());
  clock.advance(3);
  spent.enter("waiting", clock.now());
  clock.advance(800);
  spent.enter("pausing", clock.now());
  clock.advance(25);
  spent.enter("connecting", clock.now());
  spent.enter("waiting", clock.now());
  clock.advance(1172);
  t.equal(
    spent.tell(2, clock.now()),
    "3 ms connecting, 1972 ms waiting for a response, 25 ms pausing before a retry; 2 attempts",
  );
  t.end();
});

void t.test(
  "what took no time is left out, but for what went on at the end",
  (t) => {
    const clock = fakeClock();
    const spent = new TimeSpent(clock.now());
    clock.advance(50);
    t.equal(spent.tell(1, clock.now()), "50 ms connecting; 1 attempt");
    t.equal(
      new TimeSpent(clock.now()).tell(1, clock.now()),
      "0 ms connecting; 1 attempt",
    );
    t.end();
  },
);
