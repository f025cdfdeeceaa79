/** The control plane's metrics: no label names anything of the mesh, for everybody on the API's network may read them. */
import {
  DURATION_BOUNDS,
  type CounterCell,
  type Family,
  type GaugeCell,
  type HistogramCell,
  type MetricsRegistry,
} from "../telemetry/metrics.ts";
import {
  machineMeters,
  type MachineMeters,
} from "../telemetry/machine-meters.ts";

/** Series at most: routes, methods and statuses are few. */
export const MAX_SERIES = 2000;

/** What the API counts. */
export interface ApiMeters {
  readonly requests: Family<CounterCell>;
  readonly duration: Family<HistogramCell>;
  readonly shed: Family<CounterCell>;
}

/** What the push port counts. */
export interface PushMeters {
  readonly acknowledgedAfter: HistogramCell;
  readonly registrations: Family<CounterCell>;
  readonly enrolments: Family<CounterCell>;
  readonly renewals: Family<CounterCell>;
}

/** What the issuing of certificates counts, by the authority here or by an issuer outside. */
export interface SigningMeters {
  readonly duration: Family<HistogramCell>;
  readonly signatures: Family<GaugeCell>;
}

/** What is looked at when somebody asks. */
export interface StateMeters {
  readonly loopDelay: Family<GaugeCell>;
  readonly sidecars: GaugeCell;
  readonly streams: GaugeCell;
  readonly pushes: Family<CounterCell>;
  readonly pushedBytes: CounterCell;
  readonly leases: Family<GaugeCell>;
  readonly preserving: GaugeCell;
  readonly revision: GaugeCell;
  readonly storeFailing: GaugeCell;
  readonly storeBytes: Family<GaugeCell>;
  readonly certificateExpiry: Family<GaugeCell>;
  readonly memory: GaugeCell;
}

export interface ControlPlaneMeters {
  readonly registry: MetricsRegistry;
  readonly api: ApiMeters;
  readonly push: PushMeters;
  readonly signing: SigningMeters;
  readonly storeWrites: Family<HistogramCell>;
  readonly state: StateMeters;
  /** They have the same names as a sidecar's. */
  readonly machine: MachineMeters;
}

/** Registers all of them; the registry has no others. */
export function makeControlPlaneMeters(
  registry: MetricsRegistry,
): ControlPlaneMeters {
  return {
    registry,
    // In the order in which they are shown.
    api: apiMeters(registry),
    push: pushMeters(registry),
    signing: signingMeters(registry),
    storeWrites: registry.histogram(
      "wherry_control_plane_store_write_seconds",
      "How long a write of the store took, by what became of it: written, conflict, failed.",
      ["result"],
      DURATION_BOUNDS,
    ),
    state: stateMeters(registry),
    machine: machineMeters(registry),
  };
}

function apiMeters(registry: MetricsRegistry): ApiMeters {
  return {
    requests: registry.counter(
      "wherry_control_plane_api_requests_total",
      "Requests to the API that ended; status 0 is one that was left before its response.",
      ["route", "method", "status"],
    ),
    duration: registry.histogram(
      "wherry_control_plane_api_request_seconds",
      "From the head of a request to the end of its response, watches left out.",
      ["route", "method"],
      DURATION_BOUNDS,
    ),
    shed: registry.counter(
      "wherry_control_plane_api_shed_total",
      "Reads that got 429, by why: late, the event loop was; many, too many long reads waited; slow, one waited too long; unread, earlier responses were not taken.",
      ["why"],
    ),
  };
}

function pushMeters(registry: MetricsRegistry): PushMeters {
  return {
    acknowledgedAfter: registry
      .histogram(
        "wherry_control_plane_acknowledged_seconds",
        "From the start of a push to its acknowledgement by the sidecar.",
        [],
        DURATION_BOUNDS,
      )
      .with(),
    registrations: registry.counter(
      "wherry_control_plane_registrations_total",
      "Registrations of workloads, by what became of them: registered, invalid, forbidden, taken, failed.",
      ["result"],
    ),
    enrolments: registry.counter(
      "wherry_control_plane_enrolments_total",
      "First certificates that were asked for with a token, by what became of it: issued, refused, invalid, taken, limited, failed.",
      ["result"],
    ),
    renewals: registry.counter(
      "wherry_control_plane_renewals_total",
      "Certificates that were asked for with the one in use, by what became of it: issued, invalid, failed.",
      ["result"],
    ),
  };
}

function signingMeters(registry: MetricsRegistry): SigningMeters {
  return {
    duration: registry.histogram(
      "wherry_control_plane_signing_seconds",
      "How long the signature of a workload's certificate took with its wait, by issuer (authority, http, vault) and by what became of it: signed, failed, late, full.",
      ["issuer", "result"],
      DURATION_BOUNDS,
    ),
    signatures: registry.gauge(
      "wherry_control_plane_signatures",
      "Signatures that are asked for now: in progress, or waiting for their turn.",
      ["state"],
    ),
  };
}

function stateMeters(registry: MetricsRegistry): StateMeters {
  const gauge = (name: string, help: string): GaugeCell =>
    registry.gauge(`wherry_control_plane_${name}`, help).with();
  return {
    loopDelay: registry.gauge(
      "wherry_control_plane_event_loop_delay_seconds",
      "How late the event loop was in the last minute: 0.5 is the median of its looks, 1 the latest of them.",
      ["quantile"],
    ),
    sidecars: gauge("sidecars", "Sidecars that are connected."),
    streams: gauge(
      "streams",
      "Open config streams; for a moment a sidecar may have an old and a new one.",
    ),
    pushes: registry.counter(
      "wherry_control_plane_pushes_total",
      "Revisions that were pushed, and those that sidecars acknowledged or refused.",
      ["result"],
    ),
    pushedBytes: registry
      .counter(
        "wherry_control_plane_pushed_bytes_total",
        "Bytes of the messages of all pushes.",
      )
      .with(),
    leases: registry.gauge(
      "wherry_control_plane_leases",
      "Leases of registered workloads: confirmed by a sign of the sidecar, or unconfirmed.",
      ["state"],
    ),
    preserving: gauge(
      "self_preservation",
      "1 while no workload is removed since its lease has run out: many have together, or this control plane has stood still or just started.",
    ),
    revision: gauge("store_revision", "The store's newest revision."),
    storeFailing: gauge(
      "store_failing",
      "1 while nothing can be written, such as on a full disk.",
    ),
    storeBytes: registry.gauge(
      "wherry_control_plane_store_bytes",
      "Bytes of the store's files; absent for a store in memory.",
    ),
    certificateExpiry: registry.gauge(
      "wherry_control_plane_certificate_expiry_seconds",
      "Seconds until a certificate expires: root, the first of the authority's roots; issuing, what signs for sidecars; own, the control plane's.",
      ["certificate"],
    ),
    memory: gauge("resident_memory_bytes", "Resident memory of the process."),
  };
}

/** Counts what becomes of it: `done`, or what `failureOf` says of what was thrown. */
export async function counted<T>(
  results: Family<CounterCell>,
  done: string,
  failureOf: (thrown: unknown) => string,
  run: () => Promise<T>,
): Promise<T> {
  try {
    const result = await run();
    results.with(done).add();
    return result;
  } catch (thrown) {
    results.with(failureOf(thrown)).add();
    throw thrown;
  }
}
