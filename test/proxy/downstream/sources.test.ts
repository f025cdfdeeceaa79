/** Sources that keep offending are turned away for a while, and forgotten when they have their offences back. */
import t from "tap";
import {
  FAILED_HANDSHAKES,
  OFFENCES,
  PROBATION,
  trackSources,
  TURNED_AWAY,
} from "../../../src/proxy/downstream/sources.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

/** What an offence weighs where a source has a tenth of the budgets. */
const TENFOLD = 1 / PROBATION.share;
const LIMITS = { streamsPerAddress: 100 };

void t.test(
  "a source may offend so often, and then is away for a while",
  (t) => {
    const clock = fakeClock();
    const sources = trackSources(clock, LIMITS);
    const source = sources.enter("10.0.0.1", 1);
    for (let count = 0; count < OFFENCES.burst; count += 1)
      source.offended(clock.now());
    t.equal(sources.admits("10.0.0.1"), true);
    source.offended(clock.now());
    t.equal(sources.admits("10.0.0.1"), false);
    t.equal(sources.admits("10.0.0.2"), true, "nobody else");
    sources.leave("10.0.0.1");
    t.equal(sources.admits("10.0.0.1"), false, "also when it has left");
    clock.advance(TURNED_AWAY.first);
    t.equal(sources.admits("10.0.0.1"), true);
    const again = sources.enter("10.0.0.1", 1);
    t.equal(again, source, "it is the same one");
    clock.advance((2 * TENFOLD * 1000) / OFFENCES.rate - TURNED_AWAY.first);
    for (let count = 0; count < 2; count += 1) again.offended(clock.now());
    t.equal(sources.admits("10.0.0.1"), true);
    again.offended(clock.now());
    t.equal(
      sources.admits("10.0.0.1"),
      false,
      "what came back is used up, and each offence counts tenfold",
    );
    t.end();
  },
);

void t.test(
  "who goes on whenever it is let in is away for longer each time, up to a bound",
  (t) => {
    const clock = fakeClock();
    const sources = trackSources(clock, LIMITS);
    const source = sources.enter("a", 1);
    const away = (): number => {
      const since = clock.now();
      source.offended(since, OFFENCES.burst + 1);
      while (!sources.admits("a")) clock.advance(100);
      return clock.now() - since;
    };
    const times = [away(), away(), away(), away()];
    for (const [index, most] of [5000, 10_000, 20_000, 20_000].entries()) {
      const time = times[index] ?? 0;
      t.ok(time <= most && time >= most * 0.75, `${time} of ${most}`);
    }
    clock.advance(TURNED_AWAY.most);
    t.ok(away() <= TURNED_AWAY.first, "who was good for as long begins anew");
    t.end();
  },
);

void t.test("what open connections do meanwhile makes it no longer", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  const source = sources.enter("a", 1);
  source.offended(clock.now(), OFFENCES.burst + 100);
  clock.advance(TURNED_AWAY.first);
  t.equal(sources.admits("a"), true);
  t.end();
});

void t.test("offences weigh as much as they cost", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  sources.enter("a", 1).offended(clock.now(), OFFENCES.burst + 1);
  t.equal(sources.admits("a"), false);
  t.end();
});

void t.test("handshakes that fail are counted without a connection", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  for (let count = 0; count < FAILED_HANDSHAKES.burst; count += 1)
    sources.handshakeFailed("a");
  t.equal(sources.admits("a"), true);
  sources.handshakeFailed("a");
  t.equal(sources.admits("a"), false);
  t.end();
});

void t.test("a peer that fails a few times a second is never away", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  for (let second = 0; second < 600; second += 1) {
    for (let count = 0; count < 5; count += 1) sources.handshakeFailed("a");
    sources.enter("a", 1).offended(clock.now());
    sources.leave("a");
    t.equal(sources.admits("a"), true);
    clock.advance(1000);
  }
  t.end();
});

void t.test("an identity may have more streams than an address", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  const streams = (name: string, share: number): number =>
    sources.enter(name, share).mostStreams(clock.now());
  t.equal(streams("10.0.0.1", 1), 100);
  t.equal(streams("spiffe://a/b", 4), 400);
  t.end();
});

void t.test("there are no more than are worth remembering", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  sources.enter("stays", 1);
  for (let index = 0; index < 10_000; index += 1) {
    sources.enter(`10.0.${index >> 8}.${index & 255}`, 1);
    sources.leave(`10.0.${index >> 8}.${index & 255}`);
  }
  t.equal(sources.size, 4097);
  clock.advance(100_000);
  sources.enter("10.1.0.0", 1);
  sources.leave("10.1.0.0");
  t.equal(sources.size, 2, "and for as long as they owe anything");
  t.end();
});

void t.test("who is let in again may do less than others, for a while", (t) => {
  const clock = fakeClock();
  const sources = trackSources(clock, LIMITS);
  const source = sources.enter("10.0.0.1", 1);
  t.equal(source.share(clock.now()), 1);
  source.offended(clock.now(), OFFENCES.burst + 1);
  t.equal(sources.admits("10.0.0.1"), false);
  while (!sources.admits("10.0.0.1")) clock.advance(1);
  t.equal(sources.admits("10.0.0.1"), true);
  const part = (): readonly number[] => [
    source.share(clock.now()),
    source.mostStreams(clock.now()) / LIMITS.streamsPerAddress,
  ];
  t.same(part(), [PROBATION.share, PROBATION.share]);
  clock.advance(PROBATION.lasts - 1);
  t.same(part(), [PROBATION.share, PROBATION.share]);
  clock.advance(1);
  t.same(part(), [1, 1]);
  t.end();
});
