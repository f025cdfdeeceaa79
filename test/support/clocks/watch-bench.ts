/** A StallWatch over endpoints that respond or not as a test says, by a clock that the test moves. */
import { Deadlines } from "../../../src/core/deadlines.ts";
import {
  OpenCalls,
  type OpenCall,
} from "../../../src/policy/balance/open-calls.ts";
import type { CheckResult } from "../../../src/policy/health.ts";
import {
  makeOutlierDetector,
  type OutlierDetector,
} from "../../../src/policy/outlier.ts";
import { StallTicks } from "../../../src/proxy/upstream/cluster/stall-ticks.ts";
import { StallWatch } from "../../../src/proxy/upstream/cluster/stall-watch.ts";
import { TRAFFIC_DEFAULTS } from "../../../src/resources/traffic-policy/settings.ts";
import { fakeClock, type FakeClock } from "./fake-clock.ts";

export interface WatchBench {
  readonly state: { responds: boolean };
  readonly clock: FakeClock;
  readonly watch: StallWatch;
  readonly detector: OutlierDetector;
  readonly calls: ReadonlyMap<string, OpenCalls>;
  /** Endpoints that were asked and have not answered. */
  readonly asked: string[];
  readonly ejections: string[];
  /** Requests that were told that their endpoint stands still. */
  readonly told: OpenCall[];
  /** A request that stays open. */
  send(endpoint: string): OpenCall;
  /** A request that is answered at once. */
  serve(endpoint: string): void;
  answer(result: CheckResult | Promise<CheckResult>): Promise<void>;
  /** Time passes, and every endpoint but `silent` answers a request in each 5 ms of it. */
  pass(ms: number, silent?: string): void;
}

export function watchBench(keys: readonly string[] = ["a", "b"]): WatchBench {
  const clock = fakeClock();
  const detector = makeOutlierDetector(() => 0.5);
  detector.update(keys, TRAFFIC_DEFAULTS.outlierDetection);
  const calls = new Map(keys.map((key) => [key, new OpenCalls()]));
  const asked: string[] = [];
  const ejections: string[] = [];
  const told: OpenCall[] = [];
  const state = { responds: true };
  const waiting: ((result: CheckResult | Promise<CheckResult>) => void)[] = [];
  const ticks = new StallTicks(new Deadlines(clock));
  const watch: StallWatch = new StallWatch({
    clock,
    ticks,
    detector,
    callsOf: (key) => calls.get(key),
    asker: {
      ask(key) {
        asked.push(key);
        return new Promise((resolve) => waiting.push(resolve));
      },
      get responds() {
        return state.responds;
      },
    },
    eject(key, reason, evidence) {
      const now = clock.now();
      const ejection = detector.eject(key, reason, evidence, now);
      if (ejection === undefined) return;
      ejections.push(`${key} ${reason} x${ejection.times}: ${evidence}`);
      watch.ejected(key, now);
    },
  });
  watch.update(keys.map((key) => ({ key, ready: true })));
  const callsOf = (key: string): OpenCalls => {
    const found = calls.get(key);
    if (found === undefined) throw new Error(key);
    return found;
  };
  const send = (key: string): OpenCall => {
    const call: OpenCall = {
      sentAt: 0,
      answering: false,
      bytes: 0,
      listed: false,
      older: undefined,
      younger: undefined,
      stalled: () => told.push(call),
    };
    watch.saw(clock.now());
    watch.sent(callsOf(key), call);
    return call;
  };
  const serve = (key: string): void => {
    const call = send(key);
    callsOf(key).headed(call, true, clock.now() + 1);
    callsOf(key).over(call, true, clock.now() + 1);
  };
  return {
    state,
    clock,
    watch,
    detector,
    calls,
    asked,
    ejections,
    told,
    send,
    serve,
    async answer(result) {
      waiting.shift()?.(result);
      await new Promise((resolve) => setImmediate(resolve));
    },
    pass(ms, silent) {
      for (let passed = 0; passed < ms; passed += 5) {
        for (const key of keys) if (key !== silent) serve(key);
        clock.advance(5);
      }
    },
  };
}
