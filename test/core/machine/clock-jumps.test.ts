/** A jump of the clock is counted by its direction, and whoever goes by dates hears of it. */
import t from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import { followJumps } from "../../../src/core/machine/clock-jumps.ts";
import { machineMeters } from "../../../src/telemetry/machine-meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

void t.test("forward and backward", (t) => {
  const clock = fakeClock();
  const registry = makeMetrics({ maxSeries: 1000 });
  let told = 0;
  const { clockJumps } = machineMeters(registry);
  const stop = followJumps({
    ...{ clock, logger: silentLogger },
    count: (direction) => clockJumps.with(direction).add(1),
    onJump: () => (told += 1),
  });
  for (const ms of [90_000_000, -90_000_000, 100_000]) {
    clock.jump(ms);
    clock.advance(1000);
  }
  stop();
  t.equal(told, 3);
  const text = registry.render();
  t.match(text, 'wherry_clock_jumps_total{direction="forward"} 2');
  t.match(text, 'wherry_clock_jumps_total{direction="backward"} 1');
  t.equal(clock.pending, 0);
  t.end();
});
