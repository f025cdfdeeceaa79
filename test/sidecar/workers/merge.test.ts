/** What the workers of a process show, put together. */
import t from "tap";
import {
  mergeClusters,
  mergeMetrics,
  mergeOverload,
} from "../../../src/sidecar/workers/merge.ts";
import { HIGHEST } from "../../../src/telemetry/meters.ts";
import type {
  ClusterView,
  ClustersView,
} from "../../../src/sidecar/workers/views.ts";

void t.test("series are added up, and the highest of some is shown", (t) => {
  const first = `# HELP calls How many.
# TYPE calls counter
calls{path="a b 1",code="200"} 2
calls{path="/"} 1e21
# HELP depth How deep.
# TYPE depth gauge
depth 3
# HELP times How long.
# TYPE times histogram
times_bucket{le="+Inf"} 4
times_sum 0.5
`;
  const second = `# HELP calls How many.
# TYPE calls counter
calls{path="a b 1",code="200"} 5
calls{path="/new"} 1
# HELP depth How deep.
# TYPE depth gauge
depth 2
# HELP late What the first one does not have.
# TYPE late counter
late 1
`;
  t.equal(
    mergeMetrics([first, second], new Set(["depth"])),
    `# HELP calls How many.
# TYPE calls counter
calls{path="a b 1",code="200"} 7
calls{path="/"} 1e+21
calls{path="/new"} 1
# HELP depth How deep.
# TYPE depth gauge
depth 3
# HELP times How long.
# TYPE times histogram
times_bucket{le="+Inf"} 4
times_sum 0.5
# HELP late What the first one does not have.
# TYPE late counter
late 1
`,
  );
  t.end();
});

void t.test("a fault that is in force is so once for all workers", (t) => {
  const one = `# HELP wherry_fault_active A.
# TYPE wherry_fault_active gauge
wherry_fault_active{destination="orders.shop:80",policy="shop/slow"} 1
`;
  t.equal(mergeMetrics([one, one], HIGHEST), one);
  t.end();
});

const CLOSED = { state: "closed", calls: 1, failures: 0, retryAfterMs: 0 };

function cluster(of: Partial<ClusterView>): ClusterView {
  return {
    key: "shop/orders:80",
    breaker: { ...CLOSED, state: "closed" },
    retryBudget: { requests: 10, retries: 1 },
    endpoints: [],
    ejections: [],
    breaks: [],
    ...of,
  };
}

const clusters = (...views: readonly ClusterView[]): ClustersView => ({
  clusters: views,
  pools: [],
});

void t.test(
  "a cluster has every worker's endpoints, each of them once",
  (t) => {
    const endpoint = { key: "a", active: 1, ejectedForMs: 0 };
    const merged = mergeClusters([
      clusters(cluster({ endpoints: [endpoint] })),
      clusters(
        cluster({
          endpoints: [
            { ...endpoint, key: "new", active: 7 },
            { ...endpoint, active: 2, ejectedForMs: 30 },
          ],
        }),
        cluster({ key: "shop/late:80" }),
      ),
    ]);
    t.strictSame(
      merged.clusters.map(({ key, endpoints }) => [key, endpoints]),
      [
        [
          "shop/orders:80",
          [
            { key: "a", active: 3, ejectedForMs: 30 },
            { key: "new", active: 7, ejectedForMs: 0 },
          ],
        ],
        ["shop/late:80", []],
      ],
    );
    t.end();
  },
);

void t.test(
  "a breaker shows the worker that is most open, and each one's",
  (t) => {
    const open = {
      state: "open",
      calls: 5,
      failures: 5,
      retryAfterMs: 9,
    } as const;
    const [merged] = mergeClusters([
      clusters(cluster({ breaks: [{ at: "2026-01-01T00:00:02Z" }] })),
      clusters(
        cluster({ breaker: open, breaks: [{ at: "2026-01-01T00:00:01Z" }] }),
      ),
    ]).clusters;
    if (merged === undefined) throw new Error("no cluster");
    t.strictSame(merged.breaker, {
      ...{ state: "open", calls: 6, failures: 5, retryAfterMs: 9 },
      workers: [
        { worker: 0, ...CLOSED },
        { worker: 1, ...open },
      ],
    });
    t.strictSame(merged.retryBudget, { requests: 20, retries: 2 });
    t.strictSame(
      merged.breaks.map(({ at }) => at),
      ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"],
      "in the order of their times",
    );
    t.end();
  },
);

void t.test("pools of one place are added up", (t) => {
  const pool = {
    ...{ place: "a", connections: 1, dialling: 0 },
    ...{ active: 2, waiting: 1 },
  };
  t.strictSame(
    mergeClusters([
      { clusters: [], pools: [pool] },
      { clusters: [], pools: [{ ...pool, place: "b" }, pool] },
    ]).pools,
    [
      { place: "a", connections: 2, dialling: 0, active: 4, waiting: 2 },
      { ...pool, place: "b" },
    ],
  );
  t.end();
});

void t.test("a gate adds up what each worker lets in", (t) => {
  const gate = {
    ...{ port: 80, limit: 4, inFlight: 2, waiting: 1, usualMs: 5 },
    ...{ latestMs: 6, refused: 1, wouldRefuse: 0, lowestPriorityLetIn: 3 },
  };
  const other = { ...gate, usualMs: 9, lowestPriorityLetIn: 1 };
  t.strictSame(mergeOverload([{ ports: [gate] }, { ports: [other] }]).ports, [
    {
      ...{ port: 80, limit: 8, inFlight: 4, waiting: 2, usualMs: 9 },
      ...{ latestMs: 6, refused: 2, wouldRefuse: 0, lowestPriorityLetIn: 3 },
      workers: [
        { worker: 0, ...gate },
        { worker: 1, ...other },
      ],
    },
  ]);
  t.end();
});
