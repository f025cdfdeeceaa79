/** The wish to stop: who asks, and what becomes of asking again. */
import { EventEmitter } from "node:events";
import t from "tap";
import {
  isOfSupervisor,
  listenForSignals,
  SAME_WISH,
} from "../../src/runtime/stop-signals.ts";
import { EXIT, UserError } from "../../src/core/errors.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";

function makeBed(): {
  readonly clock: FakeClock;
  readonly stop: AbortController;
  readonly codes: number[];
  readonly signals: EventEmitter;
} {
  const clock = fakeClock();
  const stop = new AbortController();
  const codes: number[] = [];
  const signals = new EventEmitter();
  const exit = (code: number): void => void codes.push(code);
  listenForSignals({ clock, stop, exit, signals });
  return { clock, stop, codes, signals };
}

for (const [signal, supervised] of [
  ["SIGTERM", true],
  ["SIGINT", false],
  ["SIGHUP", false],
] as const)
  void t.test(`${signal} asks for an end in order`, (t) => {
    const { stop, codes, signals } = makeBed();
    t.notOk(isOfSupervisor(stop.signal));
    signals.emit(signal);
    t.ok(stop.signal.aborted);
    t.equal(isOfSupervisor(stop.signal), supervised);
    t.same(codes, []);
    t.end();
  });

void t.test("a parent's end, and a defect, are not a supervisor's", (t) => {
  const stop = new AbortController();
  stop.abort(new UserError("stopped"));
  t.notOk(isOfSupervisor(stop.signal));
  t.end();
});

void t.test("the same wish by two ways is one", (t) => {
  const { clock, stop, codes, signals } = makeBed();
  signals.emit("SIGTERM");
  clock.advance(SAME_WISH - 1);
  signals.emit("SIGINT");
  signals.emit("SIGTERM");
  t.same(codes, []);
  t.ok(isOfSupervisor(stop.signal), "the first one counts");
  t.end();
});

void t.test("asked again, it ends at once", (t) => {
  for (const [first, second] of [
    ["SIGTERM", "SIGTERM"],
    ["SIGINT", "SIGINT"],
    ["SIGTERM", "SIGINT"],
  ] as const) {
    const { clock, codes, signals } = makeBed();
    signals.emit(first);
    clock.advance(SAME_WISH);
    signals.emit(second);
    t.same(codes, [EXIT.stopped], `${first}, ${second}`);
  }
  t.end();
});
