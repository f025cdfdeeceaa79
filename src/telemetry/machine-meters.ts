/** The errors of the machine as metrics: each worker shows those of its own thread. */
import { failingParts, machineErrors } from "../core/machine/machine-errors.ts";
import type {
  CounterCell,
  Family,
  GaugeCell,
  MetricsRegistry,
} from "./metrics.ts";

export interface MachineMeters {
  readonly machineErrors: Family<CounterCell>;
  readonly machineFailing: Family<GaugeCell>;
}

export function machineMeters(registry: MetricsRegistry): MachineMeters {
  return {
    machineErrors: registry.counter(
      "wherry_machine_errors_total",
      "Errors of a disk, a file, a socket or a log that the traffic did not depend on, by what they concern and the system's code.",
      ["part", "error"],
    ),
    machineFailing: registry.gauge(
      "wherry_machine_failing",
      "1 or more while something of that part fails.",
      ["part"],
    ),
  };
}

/** Brings the metrics up to what was counted. */
export function collectMachineErrors(meters: MachineMeters): void {
  for (const { part, error, count } of machineErrors()) {
    const cell = meters.machineErrors.with(part, error);
    cell.add(count - cell.value);
  }
  for (const [part, count] of failingParts())
    meters.machineFailing.with(part).set(count);
}
