/** Errors of the machine are counted by part and code, told when they begin and when they are over, and shown as metrics. */
import t from "tap";
import type { Logger } from "../../src/core/log.ts";
import { countMachineError } from "../../src/core/machine/machine-counts.ts";
import { MachineFault } from "../../src/core/machine/machine-errors.ts";
import {
  collectMachineErrors,
  machineMeters,
} from "../../src/telemetry/machine-meters.ts";
import { makeMetrics } from "../../src/telemetry/metrics.ts";

const full = Object.assign(new Error("no space left"), { code: "ENOSPC" });
const readOnly = Object.assign(new Error("read-only"), { code: "EROFS" });

void t.test("counted, told once, and told when it is over", (t) => {
  const told: unknown[] = [];
  const logger = {
    error: (...args: unknown[]) => void told.push(args),
    info: (...args: unknown[]) => void told.push(args),
  } as unknown as Logger;
  const registry = makeMetrics({ maxSeries: 100 });
  const meters = machineMeters(registry);
  const shown = (): string[] => {
    collectMachineErrors(meters);
    return registry
      .render()
      .split("\n")
      .filter((line) => line.startsWith("wherry"));
  };
  t.same(shown(), []);

  const fault = new MachineFault({
    ...{ part: "config", logger },
    ...{ begins: "it fails", ends: "it is well" },
  });
  fault.well();
  t.same(told, [], "what never failed is not told");
  fault.failed(full);
  fault.failed(full);
  t.same(told, [[{ reason: "no space left" }, "it fails"]]);
  fault.failed(readOnly);
  t.equal(told.length, 2, "another reason is told");
  countMachineError("accept", "no error at all");
  t.same(shown(), [
    'wherry_machine_errors_total{part="config",error="ENOSPC"} 2',
    'wherry_machine_errors_total{part="config",error="EROFS"} 1',
    'wherry_machine_errors_total{part="accept",error="other"} 1',
    'wherry_machine_failing{part="config"} 1',
  ]);

  fault.well();
  t.equal(fault.reason, undefined);
  t.same(told.at(-1), ["it is well"]);
  t.equal(shown().at(-1), 'wherry_machine_failing{part="config"} 0');
  fault.failed(full);
  fault.close();
  fault.close();
  t.equal(shown().at(-1), 'wherry_machine_failing{part="config"} 0');
  t.end();
});
