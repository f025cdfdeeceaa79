/** What the machine does to the process as metrics: its errors, of which each worker shows those of its own thread, and its clock. */
import { machineErrors } from "../core/machine/machine-counts.ts";
import { failingParts } from "../core/machine/machine-errors.ts";
import type {
  CounterCell,
  Family,
  GaugeCell,
  MetricsRegistry,
} from "./metrics.ts";

export interface MachineMeters {
  readonly machineErrors: Family<CounterCell>;
  readonly machineFailing: Family<GaugeCell>;
  readonly clockJumps: Family<CounterCell>;
}

export function machineMeters(registry: MetricsRegistry): MachineMeters {
  return {
    machineErrors: registry.counter(
      "wherry_machine_errors_total",
      "Errors of a disk, a file, a socket or a log, by what they concern and the system's code; lost: a log line that is left out.",
      ["part", "error"],
    ),
    machineFailing: registry.gauge(
      "wherry_machine_failing",
      "1 or more while something of that part fails.",
      ["part"],
    ),
    clockJumps: registry.counter(
      "wherry_clock_jumps_total",
      "Jumps of this machine's clock by 5 s or more, forward or backward; a machine that wakes from sleep has jumped forward.",
      ["direction"],
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
