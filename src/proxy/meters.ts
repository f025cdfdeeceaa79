/** The proxy's metrics: families once, cells looked up once for each destination and peer, an addition for each request. */
import {
  DURATION_BOUNDS,
  type CounterCell,
  type Family,
  type GaugeCell,
  type HistogramCell,
  type MetricsRegistry,
} from "../telemetry/metrics.ts";

export type Direction = "outbound" | "inbound";

/** What is counted for one destination and one peer in one direction. */
export interface TrafficCells {
  request(status: number, reason: string): CounterCell;
  readonly duration: HistogramCell;
  readonly received: CounterCell;
  readonly sent: CounterCell;
}

export interface Meters {
  readonly registry: MetricsRegistry;
  traffic(
    direction: Direction,
    destination: string,
    peer: string,
  ): TrafficCells;
  readonly retries: Family<CounterCell>;
  readonly retriesRefused: Family<CounterCell>;
  readonly ejections: Family<CounterCell>;
  readonly breakerState: Family<GaugeCell>;
  readonly breakerOpened: Family<CounterCell>;
  readonly connections: Family<GaugeCell>;
  readonly active: Readonly<Record<Direction, GaugeCell>>;
  /** Connections and streams that were turned away before they became a request, by reason. */
  readonly refused: Family<CounterCell>;
  readonly certificateExpiry: GaugeCell;
  readonly configAge: GaugeCell;
}

/** Cells kept by name at most: destinations and peers come and go. */
const CACHED = 4096;

export function makeMeters(registry: MetricsRegistry): Meters {
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
    "Octets of bodies: received from the caller, sent to the caller.",
    ["direction", "destination", "kind"],
  );
  const active = registry.gauge(
    "wherry_active_requests",
    "Requests under way.",
    ["direction"],
  );
  // Destination, then peer: both texts are at hand, and one key put together of them for each request is not.
  const caches: Readonly<
    Record<Direction, Map<string, Map<string, TrafficCells>>>
  > = { outbound: new Map(), inbound: new Map() };
  let cached = 0;

  function makeCells(
    direction: Direction,
    destination: string,
    peer: string,
  ): TrafficCells {
    const plain: (CounterCell | undefined)[] = [];
    return {
      request(status, reason) {
        if (reason !== "")
          return requests.with(
            direction,
            destination,
            peer,
            String(status),
            reason,
          );
        return (plain[status] ??= requests.with(
          direction,
          destination,
          peer,
          String(status),
          "",
        ));
      },
      duration: duration.with(direction, destination),
      received: bytes.with(direction, destination, "received"),
      sent: bytes.with(direction, destination, "sent"),
    };
  }

  return {
    registry,
    traffic(direction, destination, peer) {
      const cache = direction === "outbound" ? caches.outbound : caches.inbound;
      const known = cache.get(destination)?.get(peer);
      if (known !== undefined) return known;
      if (cached >= CACHED) {
        caches.outbound.clear();
        caches.inbound.clear();
        cached = 0;
      }
      cached += 1;
      const cells = makeCells(direction, destination, peer);
      const peers = cache.get(destination) ?? new Map<string, TrafficCells>();
      cache.set(destination, peers.set(peer, cells));
      return cells;
    },
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
    ejections: registry.counter(
      "wherry_ejections_total",
      "Endpoints taken out of the balancing, by why.",
      ["destination", "endpoint", "reason"],
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
    connections: registry.gauge(
      "wherry_connections",
      'Open connections, by listener or "upstream".',
      ["kind"],
    ),
    active: {
      outbound: active.with("outbound"),
      inbound: active.with("inbound"),
    },
    refused: registry.counter(
      "wherry_refusals_total",
      "Connections and messages turned away before they became a request, by reason.",
      ["listener", "reason"],
    ),
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
  };
}
