// TrafficPolicy.loadBalancer and outlierDetection in the running proxy: affinity, nearness, probes, and the ledger of what was taken out.
import type { RequestListener } from "node:http";
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { keptLog } from "../../support/laws/harness.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

/** Each instance says which it is. */
const named = (index: number): RequestListener => {
  return (_request, response) => void response.end(String(index));
};

function policy(spec: Readonly<Record<string, unknown>>): Resource {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    ...spec,
  });
}

interface Ledger {
  readonly ejections: readonly {
    readonly reason: string;
    readonly evidence: string;
    readonly endpoint?: string;
    readonly forMs?: number;
  }[];
  readonly breaks: Ledger["ejections"];
}

async function ledgerOf({ caller }: Pair): Promise<Ledger> {
  const { text } = await send(caller.ports.admin ?? 0, {
    path: "/clusters",
    host: "127.0.0.1",
  });
  const { clusters } = JSON.parse(text) as { clusters: Ledger[] };
  return clusters[0] ?? { ejections: [], breaks: [] };
}

async function answers(
  pair: Pair,
  headers: Record<string, string>,
  calls = 12,
): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let index = 0; index < calls; index += 1)
    seen.add((await pair.call({ headers })).text);
  return seen;
}

/** Ports are chance: of so few as seven, all had one instance once in seven hundred runs. */
const USERS = 20;

void t.test(
  "a header's value decides the instance, whoever asks",
  async (t) => {
    const resources = [
      policy({
        loadBalancer: { consistentHash: { httpHeaderName: "X-User" } },
      }),
    ];
    await withPair({ app: named, instances: 3, resources }, async (pair) => {
      const owners = new Set<string>();
      for (let user = 0; user < USERS; user += 1) {
        const seen = await answers(pair, { "x-user": `user-${user}` });
        t.equal(seen.size, 1, `user ${user}`);
        for (const each of seen) owners.add(each);
      }
      t.ok(owners.size > 1, "and they are spread");
      // Two of three are drawn, and an instance that is quicker gets each call for which it is one of them.
      t.ok((await answers(pair, {}, 60)).size > 1, "without it, by load");
    });
  },
);

void t.test("a caller without the cookie gets one, and stays", async (t) => {
  const resources = [
    policy({
      loadBalancer: {
        consistentHash: {
          httpCookie: { name: "stay", path: "/shop", ttl: "1h" },
        },
      },
    }),
  ];
  await withPair({ app: named, instances: 3, resources }, async (pair) => {
    const first = await pair.call();
    const [cookie = ""] = first.headers["set-cookie"] ?? [];
    t.match(
      cookie,
      /^stay=[0-9a-f]{32}; Max-Age=3600; Path=\/shop; HttpOnly; SameSite=Lax$/,
    );
    const [pairOf = ""] = cookie.split(";");
    const again = await pair.call({ headers: { cookie: `a=b; ${pairOf}` } });
    t.equal(again.headers["set-cookie"], undefined);
    t.strictSame(
      await answers(pair, { cookie: `a=b; ${pairOf}; c=d` }),
      new Set([first.text]),
    );
  });
});

void t.test(
  "an ejection stands in the log, in a metric, in /clusters and on the span of the attempt that led to it",
  async (t) => {
    const app: RequestListener = (_request, response) => {
      response.statusCode = 500;
      response.end();
    };
    const { logger, lines } = keptLog();
    const resources = [policy({ loadBalancer: { simple: "ROUND_ROBIN" } })];
    await withPair(
      {
        app: (index) => (index === 0 ? app : named(index)),
        caller: { logger },
        instances: 2,
        resources,
      },
      async (pair) => {
        for (let index = 0; index < 10; index += 1) await pair.call();
        const seen = {
          endpoint: /^shop\/orders-1:/,
          reason: "consecutive-5xx",
          evidence: "5 failed responses in a row",
        };
        t.match(
          lines.filter(({ msg }) => msg === "endpoint ejected"),
          [{ ...seen, destination: "orders.shop:80" }],
        );
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_ejections_total{",
            'destination="orders.shop:80"',
            "shop/orders-1:",
            'reason="consecutive-5xx"',
          ),
          1,
        );
        const { ejections } = await ledgerOf(pair);
        t.match(ejections, [seen]);
        t.ok((ejections[0]?.forMs ?? 0) >= 500);
        const verdicts = pair.spans.flatMap(({ attributes }) =>
          Object.entries(attributes)
            .filter(([key]) => key === "wherry.verdict")
            .map(([, value]) => value),
        );
        t.equal(verdicts.length, 1);
        t.match(
          verdicts[0],
          /orders-1:\d+ ejected for \d+ ms: consecutive-5xx, 5 failed responses in a row/,
        );
      },
    );
  },
);

/** Instances by their zones: where the base resources have none, these Workloads take their place. */
const zoned = (
  pair: Pair,
  ...zones: readonly string[]
): readonly Resource[] => [
  resource(
    "Workload",
    "web-1",
    { address: "127.0.0.1", serviceAccount: "web", locality: "eu/a" },
    { labels: { app: "web" } },
  ),
  ...pair.instances.map(({ appPort }, index) =>
    resource(
      "Workload",
      `near-${index + 1}`,
      {
        address: "127.0.0.1",
        ports: { http: appPort },
        locality: zones[index] ?? "",
      },
      { labels: { app: "near" } },
    ),
  ),
  resource("Service", "near", {
    ports: [{ name: "http", port: 80 }],
    selector: { app: "near" },
  }),
];

void t.test(
  "the caller's own zone is preferred, and what it cannot take spills over into the next",
  async (t) => {
    let failing = new Set<number>();
    const app = (index: number): RequestListener => {
      return (_request, response) => {
        response.statusCode = failing.has(index) ? 500 : 200;
        response.end(String(index));
      };
    };
    await withPair({ app, instances: 4, plaintext: true }, async (pair) => {
      pair.apply([
        ...zoned(pair, "eu/a", "eu/a", "eu/b", "eu/b"),
        resource("TrafficPolicy", "near", {
          targetRefs: [{ kind: "Service", name: "near" }],
          loadBalancer: {
            simple: "ROUND_ROBIN",
            localityLbSetting: { enabled: true },
          },
          outlierDetection: {
            consecutive5xxErrors: 2,
            baseEjectionTime: "1m",
            maxEjectionTime: "1m",
            successRate: { thresholdPercent: 0 },
          },
          circuitBreaker: { errorThresholdPercent: 100 },
        }),
      ]);
      const calls = async (count: number): Promise<number[]> => {
        const found = [0, 0, 0, 0];
        for (let call = 0; call < count; call += 1) {
          const { status, text } = await pair.call({ host: "near.shop" });
          if (status === 200)
            found[Number(text)] = (found[Number(text)] ?? 0) + 1;
        }
        return found;
      };
      t.strictSame(await calls(40), [20, 20, 0, 0]);
      failing = new Set([0]);
      await calls(10);
      // One of two is in: 1.4 × 1/2 stay, 30 % spill over.
      const [first, second = 0, ...far] = await calls(300);
      t.equal(first, 0);
      t.ok(Math.abs(second - 210) < 45, `${second} of 300 stay`);
      t.ok(
        far.every((count) => count > 20),
        `${far.join(" and ")} spill over`,
      );
    });
  },
);

void t.test(
  "slow start: an instance that comes later begins with a small share, which grows",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      { app: named, instances: 2, plaintext: true, clock },
      async (pair) => {
        const of = (count: number): readonly Resource[] => [
          resource("Service", "warm", {
            ports: [{ name: "http", port: 80 }],
            selector: { app: "warm" },
          }),
          ...pair.instances
            .slice(0, count)
            .map(({ appPort }, index) =>
              resource(
                "Workload",
                `warm-${index + 1}`,
                { address: "127.0.0.1", ports: { http: appPort } },
                { labels: { app: "warm" } },
              ),
            ),
          resource("TrafficPolicy", "warm", {
            targetRefs: [{ kind: "Service", name: "warm" }],
            loadBalancer: {
              simple: "RANDOM",
              warmup: { duration: "1m", minimumPercent: 10 },
            },
          }),
        ];
        const ofNew = async (): Promise<number> => {
          let count = 0;
          for (let call = 0; call < 300; call += 1) {
            let over = false;
            const answer = pair
              .call({ host: "warm.shop" })
              .finally(() => (over = true));
            // What waits for the clock, such as a dial, goes on.
            await until(() => {
              clock.advance(0.01);
              return over;
            });
            if ((await answer).text === "1") count += 1;
          }
          return count / 300;
        };
        pair.apply(of(1));
        t.equal(await ofNew(), 0);
        pair.apply(of(2));
        const young = await ofNew();
        t.ok(young > 0 && young < 0.15, `${young} when it is new`);
        clock.advance(60_000);
        const grown = await ofNew();
        t.ok(Math.abs(grown - 0.5) < 0.1, `${grown} when it has warmed up`);
      },
    );
  },
);

void t.test("a break stands in /clusters, with what was seen", async (t) => {
  const app: RequestListener = (_request, response) => {
    response.statusCode = 500;
    response.end();
  };
  const resources = [
    policy({ circuitBreaker: { volumeThreshold: 10, resetTimeout: "1m" } }),
  ];
  await withPair({ app: () => app, resources }, async (pair) => {
    for (let index = 0; index < 12; index += 1) await pair.call();
    const { breaks } = await ledgerOf(pair);
    t.match(breaks, [
      { reason: "error-rate", evidence: /^\d+ of \d+ calls failed$/ },
    ]);
    t.ok((breaks[0]?.forMs ?? 0) > 50_000);
  });
});
