// TrafficPolicy.loadBalancer and outlierDetection in the running proxy: affinity, nearness, probes, and the ledger of what was taken out.
import type { RequestListener } from "node:http";
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import { resource, send, withPair, type Pair } from "../harness/pair.ts";

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
): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let index = 0; index < 12; index += 1)
    seen.add((await pair.call({ headers })).text);
  return seen;
}

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
      for (const user of ["ann", "bob", "cat", "dan", "eve", "fay", "gus"]) {
        const seen = await answers(pair, { "x-user": user });
        t.equal(seen.size, 1, user);
        for (const each of seen) owners.add(each);
      }
      t.ok(owners.size > 1, "and they are spread");
      t.ok((await answers(pair, {})).size > 1, "without it, by load");
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
  "an ejection stands in /clusters, and on the span of the attempt that led to it",
  async (t) => {
    const app: RequestListener = (_request, response) => {
      response.statusCode = 500;
      response.end();
    };
    const resources = [policy({ loadBalancer: { simple: "ROUND_ROBIN" } })];
    await withPair(
      {
        app: (index) => (index === 0 ? app : named(index)),
        instances: 2,
        resources,
      },
      async (pair) => {
        for (let index = 0; index < 10; index += 1) await pair.call();
        const { ejections } = await ledgerOf(pair);
        t.match(ejections, [
          {
            endpoint: /^shop\/orders-1:/,
            reason: "consecutive-5xx",
            evidence: "5 failed answers in a row",
          },
        ]);
        t.ok((ejections[0]?.forMs ?? 0) >= 500);
        const verdicts = pair.spans.flatMap(({ attributes }) =>
          Object.entries(attributes)
            .filter(([key]) => key === "wherry.verdict")
            .map(([, value]) => value),
        );
        t.equal(verdicts.length, 1);
        t.match(
          verdicts[0],
          /orders-1:\d+ ejected for \d+ ms: consecutive-5xx/,
        );
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
