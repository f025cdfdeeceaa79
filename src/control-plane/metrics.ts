/** What `/metrics` of the control plane shows of its state: looked at when somebody asks, and counted nowhere else. */
import { statSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import type { LoopDelay } from "./loop-delay.ts";
import type { WallMs } from "../core/units.ts";
import type { CounterCell } from "../telemetry/metrics.ts";
import { residentBytes } from "../runtime/resident.ts";
import { collectMachineErrors } from "../telemetry/machine-meters.ts";
import type { ControlPlaneMeters, StateMeters } from "./meters.ts";
import type { PushServer } from "./push/server.ts";
import type { Registry } from "./registry/registry.ts";
import type { Store } from "./store/store.ts";

export interface Observed {
  readonly clock: Pick<Clock, "wall">;
  readonly loop: Pick<LoopDelay, "delays">;
  readonly push: Pick<PushServer, "statistics" | "sidecars">;
  readonly registry: Pick<Registry, "leases">;
  readonly store: Pick<Store, "revision" | "fault">;
  /** The store's database; undefined for one in memory. */
  readonly storeFile: string | undefined;
  /** Wall milliseconds at which the certificates end. */
  readonly notAfter: () => Readonly<Record<"root" | "issuing" | "own", WallMs>>;
}

/** Prometheus' text of all metrics. */
export async function metricsText(
  { registry: metrics, state, machine }: ControlPlaneMeters,
  observed: Observed,
): Promise<string> {
  state.revision.set(await observed.store.revision());
  showProcess(state, observed);
  showPush(state, observed);
  showRegistry(state, observed);
  showStore(state, observed);
  showCertificates(state, observed);
  collectMachineErrors(machine);
  return metrics.render();
}

function showProcess(state: StateMeters, { loop }: Observed): void {
  const { median, p99, most } = loop.delays();
  state.loopDelay.with("0.5").set(median / 1000);
  state.loopDelay.with("0.99").set(p99 / 1000);
  state.loopDelay.with("1").set(most / 1000);
  state.memory.set(residentBytes());
}

function showPush(state: StateMeters, { push }: Observed): void {
  const { connected, pushes, acknowledged, refused, bytes } = push.statistics();
  state.sidecars.set(push.sidecars);
  state.streams.set(connected);
  raise(state.pushes.with("pushed"), pushes);
  raise(state.pushes.with("acknowledged"), acknowledged);
  raise(state.pushes.with("refused"), refused);
  raise(state.pushedBytes, bytes);
}

function showRegistry(state: StateMeters, { registry }: Observed): void {
  const { all, unconfirmed, preserved } = registry.leases;
  state.leases.with("confirmed").set(all - unconfirmed);
  state.leases.with("unconfirmed").set(unconfirmed);
  state.preserving.set(preserved ? 1 : 0);
}

function showStore(state: StateMeters, { store, storeFile }: Observed): void {
  state.storeFailing.set(store.fault === undefined ? 0 : 1);
  if (storeFile === undefined) return;
  try {
    const bytes = [storeFile, `${storeFile}-wal`].reduce(
      (sum, file) =>
        sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
    state.storeBytes.with().set(bytes);
  } catch {
    // The one before stays: the other metrics do not hang on it.
  }
}

function showCertificates(
  state: StateMeters,
  { clock, notAfter }: Observed,
): void {
  for (const [certificate, end] of Object.entries(notAfter()))
    state.certificateExpiry
      .with(certificate)
      .set(Math.round((end - clock.wall()) / 1000));
}

/** The counter to what somebody else has counted. */
function raise(cell: CounterCell, to: number): void {
  cell.add(to - cell.value);
}
