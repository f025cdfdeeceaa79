/** The proxy's metrics: families once, cells looked up once for each destination and peer, an addition for each request. */
import {
  DURATION_BOUNDS,
  type CounterCell,
  type Family,
  type GaugeCell,
  type HistogramCell,
  type MetricsRegistry,
} from "./metrics.ts";
import { machineMeters, type MachineMeters } from "./machine-meters.ts";

/** "mirror": a copy of an outbound request, whose answer nobody gets. */
export type Direction = "outbound" | "inbound" | "mirror";

/** What is counted for one destination and one peer in one direction. */
export interface TrafficCells {
  request(status: number, reason: string): CounterCell;
  readonly duration: HistogramCell;
  readonly received: CounterCell;
  readonly sent: CounterCell;
}

export interface Meters extends MachineMeters {
  readonly registry: MetricsRegistry;
  /** Requests that ended, by direction first. */
  readonly requests: Family<CounterCell>;
  traffic(
    direction: Direction,
    destination: string,
    peer: string,
  ): TrafficCells;
  readonly retries: Family<CounterCell>;
  readonly retriesRefused: Family<CounterCell>;
  readonly mirrorsDropped: Family<CounterCell>;
  readonly ejections: Family<CounterCell>;
  readonly faults: Family<CounterCell>;
  readonly hedges: Family<CounterCell>;
  readonly shed: Family<CounterCell>;
  readonly shadow: Family<CounterCell>;
  readonly concurrencyLimit: Family<GaugeCell>;
  readonly faultActive: Family<GaugeCell>;
  readonly breakerState: Family<GaugeCell>;
  readonly breakerOpened: Family<CounterCell>;
  readonly connections: Family<GaugeCell>;
  readonly active: Readonly<Record<Direction, GaugeCell>>;
  /** Connections and streams that were turned away before they became a request, by reason. */
  readonly refused: Family<CounterCell>;
  /** Connections that did not say in time what they speak. */
  readonly undetected: Family<CounterCell>;
  /** Limits of a connection that acted, by their names. */
  readonly limits: Family<CounterCell>;
  /** Questions for names, by what became of them. */
  readonly dnsQuestions: Family<CounterCell>;
  readonly overloadLevel: GaugeCell;
  readonly memoryPressure: GaugeCell;
  readonly bufferedBytes: GaugeCell;
  readonly certificateExpiry: GaugeCell;
  /** Jumps of this machine's clock, by their direction. */
  readonly configAge: GaugeCell;
  readonly configRefused: GaugeCell;
  readonly configWait: Family<HistogramCell>;
  readonly providerTime: Family<HistogramCell>;
}

/** Gauges of which the process has the highest of its workers' values, and not their sum. */
export const HIGHEST: ReadonlySet<string> = new Set([
  "wherry_breaker_state",
  "wherry_fault_active",
  "wherry_overload_level",
  "wherry_memory_pressure",
]);

/** Cells kept by name at most: destinations and peers come and go. */
const CACHED = 4096;

export function makeMeters(registry: MetricsRegistry): Meters {
  const { active, ...families } = trafficFamilies(registry);
  const traffic = new TrafficCache(families);
  return {
    registry,
    requests: families.requests,
    traffic: (direction, destination, peer) =>
      traffic.cellsOf(direction, destination, peer),
    active,
    // In the order in which they are shown.
    ...attemptMeters(registry),
    ...policyMeters(registry),
    ...connectionMeters(registry),
    ...stateMeters(registry),
    ...machineMeters(registry),
  };
}

interface TrafficFamilies {
  readonly requests: Family<CounterCell>;
  readonly duration: Family<HistogramCell>;
  readonly bytes: Family<CounterCell>;
}

function trafficFamilies(
  registry: MetricsRegistry,
): TrafficFamilies & Pick<Meters, "active"> {
  const requests = registry.counter(
    "wherry_requests_total",
    "Requests that ended, by the status and reason that the caller got; status 0 is an exchange that ended without one.",
    ["direction", "destination", "peer", "status", "reason"],
  );
  const duration = registry.histogram(
    "wherry_request_duration_seconds",
    "From the request's head to the end of the exchange.",
    ["direction", "destination"],
    DURATION_BOUNDS,
  );
  const bytes = registry.counter(
    "wherry_body_bytes_total",
    "Bytes of bodies: received from the caller, sent to the caller.",
    ["direction", "destination", "kind"],
  );
  const active = registry.gauge(
    "wherry_active_requests",
    "Requests in flight.",
    ["direction"],
  );
  return {
    requests,
    duration,
    bytes,
    active: {
      outbound: active.with("outbound"),
      inbound: active.with("inbound"),
      mirror: active.with("mirror"),
    },
  };
}

/** What is counted for each destination and peer: found again for each request, made once. */
class TrafficCache {
  readonly #families: TrafficFamilies;
  // Destination, then peer: both texts are at hand, and one key put together of them for each request is not.
  readonly #cells: Readonly<
    Record<Direction, Map<string, Map<string, TrafficCells>>>
  > = { outbound: new Map(), inbound: new Map(), mirror: new Map() };
  #size = 0;

  constructor(families: TrafficFamilies) {
    this.#families = families;
  }

  cellsOf(
    direction: Direction,
    destination: string,
    peer: string,
  ): TrafficCells {
    const known = this.#cells[direction].get(destination)?.get(peer);
    if (known !== undefined) return known;
    if (this.#size >= CACHED) this.#clear();
    this.#size += 1;
    const cells = makeCells(this.#families, direction, destination, peer);
    const cache = this.#cells[direction];
    const peers = cache.get(destination) ?? new Map<string, TrafficCells>();
    cache.set(destination, peers.set(peer, cells));
    return cells;
  }

  #clear(): void {
    for (const cache of Object.values(this.#cells)) cache.clear();
    this.#size = 0;
  }
}

function makeCells(
  { requests, duration, bytes }: TrafficFamilies,
  direction: Direction,
  destination: string,
  peer: string,
): TrafficCells {
  // By status, of requests without a reason: nearly all of them.
  const plain: (CounterCell | undefined)[] = [];
  const counter = (status: number, reason: string): CounterCell =>
    requests.with(direction, destination, peer, String(status), reason);
  return {
    request: (status, reason) =>
      reason === ""
        ? (plain[status] ??= counter(status, ""))
        : counter(status, reason),
    duration: duration.with(direction, destination),
    received: bytes.with(direction, destination, "received"),
    sent: bytes.with(direction, destination, "sent"),
  };
}

function attemptMeters(
  registry: MetricsRegistry,
): Pick<Meters, "retries" | "retriesRefused" | "mirrorsDropped" | "ejections"> {
  return {
    retries: registry.counter(
      "wherry_retries_total",
      "Attempts that replaced a failed one, by what had failed.",
      ["destination", "reason"],
    ),
    retriesRefused: registry.counter(
      "wherry_retries_refused_total",
      "Failed attempts that were not repeated, by why not.",
      ["destination", "reason"],
    ),
    mirrorsDropped: registry.counter(
      "wherry_mirrors_dropped_total",
      "Copies of requests that were not made, by why not.",
      ["destination", "reason"],
    ),
    ejections: registry.counter(
      "wherry_ejections_total",
      "Endpoints taken out of the balancing, by why.",
      ["destination", "endpoint", "reason"],
    ),
  };
}

function policyMeters(
  registry: MetricsRegistry,
): Pick<
  Meters,
  | "faults"
  | "hedges"
  | "shed"
  | "shadow"
  | "concurrencyLimit"
  | "faultActive"
  | "breakerState"
  | "breakerOpened"
> {
  return {
    faults: registry.counter(
      "wherry_faults_injected_total",
      "Calls that were given trouble on purpose, by the FaultInjection and what it did.",
      ["destination", "policy", "kind"],
    ),
    hedges: registry.counter(
      "wherry_hedges_total",
      "Second requests that were sent because the first was slow (made), and those whose response was taken (won).",
      ["destination", "result"],
    ),
    shed: registry.counter(
      "wherry_shed_total",
      "Requests that adaptive concurrency turned away from a port of the application (mode enforce), or would have (shadow).",
      ["port", "mode"],
    ),
    shadow: registry.counter(
      "wherry_authorization_shadow_total",
      "Calls by what an AuthorizationPolicy would do that changes no verdict: refused or admitted (dry run), matched (AUDIT).",
      ["policy", "effect"],
    ),
    concurrencyLimit: registry.gauge(
      "wherry_concurrency_limit",
      "Requests that adaptive concurrency thinks a port of the application can serve at once.",
      ["port"],
    ),
    faultActive: registry.gauge(
      "wherry_fault_active",
      "1 while a FaultInjection acts on calls of this workload to the destination.",
      ["destination", "policy"],
    ),
    breakerState: registry.gauge(
      "wherry_breaker_state",
      "0 closed, 1 half open, 2 open.",
      ["destination"],
    ),
    breakerOpened: registry.counter(
      "wherry_breaker_opened_total",
      "How often the circuit breaker opened.",
      ["destination"],
    ),
  };
}

function connectionMeters(
  registry: MetricsRegistry,
): Pick<
  Meters,
  "connections" | "refused" | "undetected" | "limits" | "dnsQuestions"
> {
  return {
    connections: registry.gauge(
      "wherry_connections",
      'Open connections, by listener or "upstream".',
      ["kind"],
    ),
    refused: registry.counter(
      "wherry_refusals_total",
      "Connections and messages turned away before they became a request, by reason.",
      ["listener", "reason"],
    ),
    undetected: registry.counter(
      "wherry_detection_timeouts_total",
      "Connections that did not say in time which protocol they speak; the log names the port.",
      ["listener"],
    ),
    limits: registry.counter(
      "wherry_limits_total",
      "Limits of a connection that acted: of time, of size, of frames a second.",
      ["listener", "limit"],
    ),
    dnsQuestions: registry.counter(
      "wherry_dns_questions_total",
      "Questions to the resolver (--dns), by what became of them.",
      ["outcome"],
    ),
  };
}

function stateMeters(
  registry: MetricsRegistry,
): Pick<
  Meters,
  | "overloadLevel"
  | "memoryPressure"
  | "bufferedBytes"
  | "certificateExpiry"
  | "configAge"
  | "configRefused"
  | "configWait"
  | "providerTime"
> {
  return {
    overloadLevel: registry
      .gauge(
        "wherry_overload_level",
        "Memory: 0 well, 1 no keep-alive, 2 no new connections, 3 requests get 503.",
      )
      .with(),
    memoryPressure: registry
      .gauge(
        "wherry_memory_pressure",
        "The largest share of resident memory, heap and buffers in their limits; 0.9 is overload level 1.",
      )
      .with(),
    bufferedBytes: registry
      .gauge(
        "wherry_buffered_bytes",
        "Bytes of messages that are held, on both sides of the proxy.",
      )
      .with(),
    certificateExpiry: registry
      .gauge(
        "wherry_certificate_expiry_seconds",
        "Seconds until the sidecar's own certificate expires; negative once it has.",
      )
      .with(),
    configAge: registry
      .gauge(
        "wherry_config_age_seconds",
        "Seconds since the configuration in force was received; -1 where there is none.",
      )
      .with(),
    configRefused: registry
      .gauge(
        "wherry_config_refused",
        "1 while a newer configuration is refused or looked at again; the one in force stays.",
      )
      .with(),
    configWait: registry.histogram(
      "wherry_config_wait_seconds",
      "How long calls waited for what was not held, by what became of it: known, or late, gone, busy, refused.",
      ["result"],
      DURATION_BOUNDS,
    ),
    providerTime: registry.histogram(
      "wherry_authorization_provider_seconds",
      "How long providers of authorization took, by what they said: allowed, denied, failed, or late.",
      ["provider", "result"],
      DURATION_BOUNDS,
    ),
  };
}
