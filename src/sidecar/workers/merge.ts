/** One answer of the process from those of its workers: metrics added up, clusters and pools put together by their keys. */
import type {
  ClustersView,
  ClusterView,
  EndpointView,
  PoolView,
} from "../admin/views.ts";

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

export interface WorkerView {
  readonly worker: number;
  /** Requests that ended. */
  readonly requests: { readonly inbound: number; readonly outbound: number };
  readonly connections: Readonly<Record<string, number>>;
}

/** `/workers`: what each carries, from what each rendered. */
export function workerViews(texts: readonly string[]): readonly WorkerView[] {
  return texts.map((text, worker) => {
    const requests = { inbound: 0, outbound: 0 };
    const connections: Record<string, number> = {};
    for (const line of text.split("\n")) {
      const [, name, label = "", value] =
        /^(wherry_requests_total|wherry_connections)\{(?:direction|kind)="(\w+)".* (\d+)$/.exec(
          line,
        ) ?? [];
      if (name === "wherry_connections") connections[label] = Number(value);
      else if (label === "inbound" || label === "outbound")
        requests[label] += Number(value);
    }
    return { worker, requests, connections };
  });
}

export function mergeClusters(views: readonly ClustersView[]): ClustersView {
  const clusters = new Map<string, ClusterView>();
  const pools = new Map<string, PoolView>();
  for (const view of views) {
    for (const cluster of view.clusters) {
      const known = clusters.get(cluster.key);
      clusters.set(
        cluster.key,
        known === undefined ? cluster : mergeCluster(known, cluster),
      );
    }
    for (const pool of view.pools) {
      const known = pools.get(pool.place);
      pools.set(
        pool.place,
        known === undefined ? pool : mergePool(known, pool),
      );
    }
  }
  return { clusters: [...clusters.values()], pools: [...pools.values()] };
}

/** Breaker, limits and budget are the process's, and each worker shows the same; endpoints are balanced and ejected by each. */
function mergeCluster(known: ClusterView, other: ClusterView): ClusterView {
  const others = new Map(other.endpoints.map((each) => [each.key, each]));
  return {
    ...known,
    endpoints: known.endpoints.map((endpoint) =>
      mergeEndpoint(endpoint, others.get(endpoint.key)),
    ),
    ejections: [...known.ejections, ...other.ejections].sort((left, right) =>
      left.at < right.at ? -1 : left.at > right.at ? 1 : 0,
    ),
  };
}

function mergeEndpoint(
  known: EndpointView,
  other: EndpointView | undefined,
): EndpointView {
  if (other === undefined) return known;
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
