/** One view of the process from those of its workers: metrics added up, clusters and pools put together by their keys. */
import type { BreakerState } from "../../proxy/upstream/cluster/breaker.ts";
import type {
  ClustersView,
  ClusterView,
  EndpointView,
  ConcurrencyView,
  EjectionHistoryView,
  OverloadView,
  PoolView,
} from "./views.ts";

/**
 * Adds up what `MetricsRegistry.render` wrote in each worker: series by series, but for the families in `highest`, of which
 * the largest value counts. Buckets, sums and counts of histograms are series like any other.
 */
export function mergeMetrics(
  texts: readonly string[],
  highest: ReadonlySet<string>,
): string {
  const families = new Map<string, Family>();
  for (const text of texts) {
    let family: Family | undefined;
    for (const line of text.split("\n")) {
      if (line.startsWith("# HELP ")) {
        const [, , name = ""] = line.split(" ", 3);
        family = families.get(name);
        if (family === undefined) {
          family = { head: `${line}\n`, series: new Map() };
          if (highest.has(name)) family.highest = true;
          families.set(name, family);
        }
      } else if (line.startsWith("# TYPE ")) {
        if (family?.series.size === 0 && !family.head.includes("# TYPE "))
          family.head += `${line}\n`;
      } else if (family !== undefined && line !== "") add(family, line);
    }
  }
  let merged = "";
  for (const { head, series } of families.values()) {
    merged += head;
    for (const [name, value] of series) merged += `${name} ${value}\n`;
  }
  return merged;
}

interface Family {
  head: string;
  highest?: boolean;
  /** By name and labels, in the order in which they were first seen. */
  readonly series: Map<string, number>;
}

function add({ series, highest }: Family, line: string): void {
  // Label values may hold blanks; the value is what follows the last one.
  const blank = line.lastIndexOf(" ");
  const name = line.slice(0, blank);
  const value = Number(line.slice(blank + 1));
  const before = series.get(name);
  if (before === undefined) series.set(name, value);
  else
    series.set(
      name,
      highest === true ? Math.max(before, value) : before + value,
    );
}

/** `/clusters` of the process, from what each worker shows, the first worker's first. */
export function mergeClusters(views: readonly ClustersView[]): ClustersView {
  const clusters = new Map<string, Shown<ClusterView>[]>();
  for (const [worker, view] of views.entries())
    for (const cluster of view.clusters)
      listOf(clusters, cluster.key).push({ worker, view: cluster });
  return {
    clusters: [...clusters.values()].map(mergeCluster),
    pools: mergeByKey(
      views.flatMap(({ pools }) => pools),
      ({ place }) => place,
      mergePool,
    ),
  };
}

/** One view a key, in the order in which the keys were first seen. */
function mergeByKey<View>(
  views: readonly View[],
  keyOf: (view: View) => string,
  merge: (known: View, other: View) => View,
): View[] {
  const merged = new Map<string, View>();
  for (const view of views) {
    const key = keyOf(view);
    const known = merged.get(key);
    merged.set(key, known === undefined ? view : merge(known, view));
  }
  return [...merged.values()];
}

/** `/overload` of the process: sums, and what is highest of times and thresholds; each worker limits its own part. */
export function mergeOverload(views: readonly OverloadView[]): OverloadView {
  const ports = new Map<number, Shown<ConcurrencyView>[]>();
  for (const [worker, view] of views.entries())
    for (const limiter of view.ports)
      listOf(ports, limiter.port).push({ worker, view: limiter });
  return { ports: [...ports.entries()].map(mergeGate) };
}

/** What one worker shows of something. */
interface Shown<View> {
  readonly worker: number;
  readonly view: View;
}

function listOf<Key, Item>(lists: Map<Key, Item[]>, key: Key): Item[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

/** Limits are the process's, and each worker shows the same; breaker, retry budget, balancing and ejections are each worker's own. */
function mergeCluster(shown: readonly Shown<ClusterView>[]): ClusterView {
  const views = shown.map(({ view }) => view);
  const [first] = views;
  if (first === undefined) throw new Error("a cluster that nobody shows");
  const breakers = views.map(({ breaker }) => breaker);
  const budgets = views.map(({ retryBudget }) => retryBudget);
  return {
    ...first,
    breaker: {
      state: mostOpen(breakers.map(({ state }) => state)),
      calls: sum(breakers.map(({ calls }) => calls)),
      failures: sum(breakers.map(({ failures }) => failures)),
      retryAfterMs: Math.max(
        ...breakers.map(({ retryAfterMs }) => retryAfterMs),
      ),
      workers: shown.map(({ worker, view }) => ({ worker, ...view.breaker })),
    },
    retryBudget: {
      requests: sum(budgets.map(({ requests }) => requests)),
      retries: sum(budgets.map(({ retries }) => retries)),
    },
    endpoints: mergeByKey(
      views.flatMap(({ endpoints }) => endpoints),
      ({ key }) => key,
      mergeEndpoint,
    ),
    ejections: inOrder(views.flatMap(({ ejections }) => ejections)),
    breaks: inOrder(views.flatMap(({ breaks }) => breaks)),
  };
}

function inOrder(
  entries: readonly EjectionHistoryView[],
): EjectionHistoryView[] {
  return [...entries].sort((left, right) =>
    left.at < right.at ? -1 : left.at > right.at ? 1 : 0,
  );
}

function mostOpen(states: readonly BreakerState[]): BreakerState {
  if (states.includes("open")) return "open";
  return states.includes("half-open") ? "half-open" : "closed";
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function mergeEndpoint(known: EndpointView, other: EndpointView): EndpointView {
  return {
    ...known,
    active: known.active + other.active,
    ejectedForMs: Math.max(known.ejectedForMs, other.ejectedForMs),
  };
}

function mergePool(known: PoolView, other: PoolView): PoolView {
  return {
    place: known.place,
    connections: known.connections + other.connections,
    dialling: known.dialling + other.dialling,
    active: known.active + other.active,
    waiting: known.waiting + other.waiting,
  };
}

/** A figure of a limiter that is a number in each worker. */
type Figure = Exclude<keyof ConcurrencyView, "port" | "workers">;

function mergeGate([port, shown]: readonly [
  number,
  readonly Shown<ConcurrencyView>[],
]): ConcurrencyView {
  const total = (figure: Figure): number =>
    sum(shown.map(({ view }) => view[figure]));
  const highest = (figure: Figure): number =>
    Math.max(...shown.map(({ view }) => view[figure]));
  return {
    port,
    limit: total("limit"),
    inFlight: total("inFlight"),
    waiting: total("waiting"),
    usualMs: highest("usualMs"),
    latestMs: highest("latestMs"),
    refused: total("refused"),
    wouldRefuse: total("wouldRefuse"),
    lowestPriorityLetIn: highest("lowestPriorityLetIn"),
    workers: shown.map(({ worker, view }) => ({ worker, ...view })),
  };
}
