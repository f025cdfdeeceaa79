import t from "tap";
import { TimeSpent } from "../../../../src/proxy/exchange/time/time-spent.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";

void t.test("the time of all attempts is told by what it went into", (t) => {
  const clock = fakeClock();
  const spent = new TimeSpent(clock);
  clock.advance(3);
  spent.enter("waiting");
  clock.advance(800);
  spent.enter("pausing");
  clock.advance(25);
  spent.enter("connecting");
  spent.enter("waiting");
  clock.advance(1172);
  t.equal(
    spent.tell(2),
    "3 ms connecting, 1972 ms waiting for a response, 25 ms pausing before a retry; 2 attempts",
  );
  t.end();
});

void t.test(
  "what took no time is left out, but for what went on at the end",
  (t) => {
    const clock = fakeClock();
    const spent = new TimeSpent(clock);
    clock.advance(50);
    t.equal(spent.tell(1), "50 ms connecting; 1 attempt");
    t.equal(new TimeSpent(clock).tell(1), "0 ms connecting; 1 attempt");
    t.end();
  },
);
