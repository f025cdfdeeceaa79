/** What one worker does: its sinks, its upstream, its listeners. A process has one, or one more in each of its threads. */
import type { Lookups } from "../../agent/interest/lookups.ts";
import type { Cancel } from "../../core/clock.ts";
import type { Sighting } from "../../agent/agent.ts";
import { type WatchSource } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import type { Observed, Outside } from "../../push/messages.ts";
import type { MetricsRegistry } from "../../telemetry/metrics.ts";
import { type Meters } from "../../telemetry/meters.ts";
import { collectMachineErrors } from "../../telemetry/machine-meters.ts";
import { judgeOpenEnds } from "../../proxy/exchange/open-ended.ts";
import type { LocalConnections } from "../../proxy/downstream/acceptor.ts";
import { openAll, type Open } from "../../proxy/downstream/ports.ts";
import type { RelayHost } from "../../proxy/exchange/relay-host.ts";
import type { BreakerState } from "../../proxy/upstream/cluster/breaker.ts";
import { type Clusters } from "../../proxy/upstream/cluster/clusters.ts";
import { type ConcurrencyLimiters } from "../../proxy/application/concurrency-limiter.ts";
import { type Pools } from "../../proxy/upstream/pool/pools.ts";
import type { VirtualAddresses } from "../../proxy/dns/virtual-addresses.ts";
import { inTurn } from "../../proxy/downstream/port-lock.ts";
import { metered } from "../../proxy/not-held.ts";
import { formatName } from "../../resources/envelope.ts";

import { departAll, leaveByAndBy } from "./leaving.ts";
import {
  makeBase,
  makeDownstream,
  makeHost,
  makeUpstream,
  type Base,
  type Downstream,
  type Upstream,
  type WorkerOptions,
} from "./parts.ts";
export type { TracingChoice, WorkerOptions } from "./parts.ts";

/** Sides of the proxy: what others call here, and what the application calls. */
export type Side = "inbound" | "outbound";

export interface ProxyWorker {
  readonly ports: Open["ports"];
  /** All that it listens on. */
  readonly sockets: Open["sockets"];
  /** What `publish` and `upstream` became: with the ports that the system chose. */
  readonly portMappings: Open["portMappings"];
  readonly ownPorts: Set<number>;
  readonly meters: Meters;
  readonly registry: MetricsRegistry;
  readonly clusters: Clusters;
  readonly pools: Pools;
  readonly concurrencyLimiters: ConcurrencyLimiters;
  readonly credentials: WatchSource<Credentials | undefined>;
  readonly snapshot: WatchSource<Snapshot | undefined>;
  /** Tells what the snapshot lacks; undefined: it lacks nothing. */
  get lookups(): Lookups | undefined;
  set lookups(lookups: Lookups | undefined);
  /** Addresses that stand for names; undefined where none are resolved here. */
  readonly names: VirtualAddresses | undefined;
  /** "NAMESPACE/NAME" of each Service that exchanges are in flight with. */
  servicesInUse(): Iterable<string>;
  /** What was seen lately of endpoints that are marked as unconfirmed. */
  sightings(): readonly Sighting[];
  /** The calls that have come in since the last time. */
  observed(): Observed;
  /** Those that left the mesh. */
  outside(): Outside;
  /** Goes over to a snapshot: requests in flight end with the one that they started with (law 1). */
  apply(snapshot: Snapshot): void;
  /** Accepts connections on what was handed over. */
  begin(): Promise<void>;
  /** Another process listens on the same sockets: no new connections, and those that are open end when nothing is lost by it. */
  retire(): void;
  /** No new connections on this side; GOAWAY and Connection: close on those that are open. */
  refuse(side: Side): void;
  /** It ends now: what is in flight hears so, as far as there are words for it. */
  depart(): void;
  /** What is still in flight on this side; once retired, all connections that are open are on the outbound side. */
  active(side: Side): number;
  /** Connections of the application to this worker. */
  localConnections(): LocalConnections;
  destroy(): void;
}

/** Most series of metrics in one worker. */
export const MAX_SERIES = 10_000;

/**
 * Milliseconds that a replaced process keeps an idle connection of HTTP/1, which it cannot take leave of. Most clients let go of one
 * sooner by themselves (undici after 4 s, Node and httpx after 5 s), and no call is lost by that.
 */
const QUIET = 10_000;

/** By their value in the metric. */
const STATES: readonly BreakerState[] = ["closed", "half-open", "open"];

/** Opens the listeners: until there is a snapshot each refuses with its reason. */
export async function startWorker(
  options: WorkerOptions,
): Promise<ProxyWorker> {
  const base = makeBase(options);
  const upstream = makeUpstream(options, base);
  const host = makeHost(options, base);
  const downstream = makeDownstream(options, base, upstream, host);
  const worker = new Worker(options, base, upstream, host, downstream);
  await worker.open();
  return worker;
}

class Worker implements ProxyWorker {
  readonly ownPorts: Set<number>;
  readonly meters: Meters;
  readonly registry: MetricsRegistry;
  readonly clusters: Clusters;
  readonly pools: Pools;
  readonly concurrencyLimiters: ConcurrencyLimiters;
  readonly credentials: WatchSource<Credentials | undefined>;
  readonly snapshot: WatchSource<Snapshot | undefined>;
  readonly #options: WorkerOptions;
  readonly #base: Base;
  readonly #upstream: Upstream;
  readonly #host: RelayHost;
  readonly #downstream: Downstream;
  readonly #stop: readonly (() => void)[];
  readonly #leaving: Cancel[] = [];
  #open: Open | undefined;
  #retired = false;

  constructor(
    options: WorkerOptions,
    base: Base,
    upstream: Upstream,
    host: RelayHost,
    downstream: Downstream,
  ) {
    this.#options = options;
    this.#base = base;
    this.#upstream = upstream;
    this.#host = host;
    this.#downstream = downstream;
    this.ownPorts = base.ownPorts;
    this.meters = base.meters;
    this.registry = options.registry;
    this.clusters = upstream.clusters;
    this.pools = upstream.pools;
    this.concurrencyLimiters = upstream.concurrencyLimiters;
    this.credentials = base.credentials;
    this.snapshot = base.snapshot;
    this.#stop = [
      options.registry.collect(() => this.#collect()),
      judgeOpenEnds(
        options.clock,
        base.snapshot,
        base.live.fallen,
        host.idle,
        host.policy,
      ),
    ];
  }

  /** Opens all ports, or closes all that there is of the worker. */
  async open(): Promise<void> {
    const { settings, clock, sharedState, logger } = this.#options;
    const openPorts = (): Promise<Open> =>
      openAll(this.#downstream.listeners, settings);
    try {
      this.#open =
        sharedState.workers > 1 && sharedState.worker === 0
          ? await inTurn(clock, logger, openPorts)
          : await openPorts();
    } catch (thrown) {
      this.#close();
      throw thrown;
    }
  }

  get ports(): Open["ports"] {
    return this.#opened.ports;
  }

  get sockets(): Open["sockets"] {
    return this.#opened.sockets;
  }

  get portMappings(): Open["portMappings"] {
    return this.#opened.portMappings;
  }

  get names(): VirtualAddresses | undefined {
    return this.#base.names;
  }

  get lookups(): Lookups | undefined {
    return this.#base.lookups.value;
  }

  set lookups(lookups: Lookups | undefined) {
    const { meters } = this;
    this.#base.lookups.set(
      lookups === undefined
        ? undefined
        : metered(lookups, meters, this.#options.clock),
    );
  }

  *servicesInUse(): Generator<string> {
    for (const { poolLimits, cluster } of this.clusters.all())
      if (poolLimits.active > 0)
        yield formatName(cluster.service.namespace, cluster.service.name);
  }

  sightings(): readonly Sighting[] {
    const now = this.#options.clock.now();
    return [...this.clusters.all()].flatMap(({ evidence }) => [
      ...evidence.sightings(now),
    ]);
  }

  observed(): Observed {
    return this.#downstream.observer.drain();
  }

  outside(): Outside {
    return this.#downstream.departures.drain();
  }

  apply(next: Snapshot): void {
    this.clusters.apply(next);
    this.#downstream.limiter.apply(next);
    this.#downstream.tokens.apply(next);
    this.#downstream.faults.apply(next);
    this.snapshot.set(next);
  }

  async begin(): Promise<void> {
    await this.#options.handed?.begin();
  }

  retire(): void {
    this.#retired = true;
    this.#opened.stopInbound();
    this.#opened.stopOutbound();
    const { drainTimeout } = this.#options.settings;
    this.#downstream.serving.retire(Math.min(QUIET, drainTimeout / 2));
    this.#leave(true);
    this.#leave(false);
  }

  refuse(side: Side): void {
    if (side === "inbound") {
      this.#opened.stopInbound();
      this.#downstream.serving.drain(isInbound);
      this.#leave(true);
    } else {
      this.#opened.closeOutbound();
      this.#downstream.serving.drain(isOutbound);
      this.#leave(false);
    }
  }

  /** WebSockets would outlast any drain: both of their ends get a Close. */
  #leave(callee: boolean): void {
    const { clock, settings } = this.#options;
    const { idle } = this.#host;
    const within = settings.drainTimeout / 2;
    this.#leaving.push(leaveByAndBy({ clock, idle, callee, within }));
  }

  depart(): void {
    departAll(this.#host.idle);
  }

  active(side: Side): number {
    const { inbound, outbound } = this.meters.active;
    if (this.#retired)
      return side === "outbound" ? this.#downstream.serving.sockets : 0;
    if (side === "outbound") return outbound.value;
    // A connection that was told to drain may still bring a request that was sent before its peer had heard of it.
    const open = this.#downstream.serving.open(isInbound);
    return inbound.value + open + this.#opened.arriving;
  }

  localConnections(): LocalConnections {
    return { ...this.#downstream.serving.local };
  }

  destroy(): void {
    this.#opened.closeInbound();
    this.#opened.closeOutbound();
    this.#close();
  }

  get #opened(): Open {
    if (this.#open === undefined) throw new TypeError("open() comes first");
    return this.#open;
  }

  #collect(): void {
    collectMachineErrors(this.meters);
    this.meters.connections.with("upstream").set(this.pools.connections);
    for (const { key, breaker } of this.clusters.all())
      this.meters.breakerState.with(key).set(STATES.indexOf(breaker.state));
  }

  #close(): void {
    for (const stop of [...this.#stop, ...this.#leaving]) stop();
    const { memory, eviction, serving, faults, tokens, checks } =
      this.#downstream;
    memory.close();
    eviction.close();
    serving.destroy();
    const { pools, clusters, loads, concurrencyLimiters } = this.#upstream;
    pools.destroy();
    clusters.close();
    loads.close();
    faults.close();
    tokens.close();
    checks.close();
    concurrencyLimiters.close();
    this.#base.live.close();
    this.#host.idle.close();
    this.#base.deadlines.close();
    this.#base.connections.close();
  }
}

function isOutbound(listener: string): boolean {
  return listener === "outbound" || listener === "upstream";
}

function isInbound(listener: string): boolean {
  return !isOutbound(listener);
}
