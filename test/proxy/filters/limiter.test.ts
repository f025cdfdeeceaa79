/** Rate limits at a real sidecar: 429 with its fields, beside the instance, whoever asks; and its buckets outlive a change of config. */
import t from "tap";
import { EFFECTS } from "../../../src/policy/outcome.ts";
import {
  resource,
  send,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

function limit(
  rateLimit: Record<string, unknown>,
  name = "orders",
): ReturnType<typeof resource> {
  return resource("TrafficPolicy", name, {
    targetRefs: [{ kind: "Service", name: "orders" }],
    rateLimit,
  });
}

async function statuses(
  pair: Pair,
  count: number,
  options: Parameters<Pair["call"]>[0] = {},
): Promise<number[]> {
  const found: number[] = [];
  for (let index = 0; index < count; index += 1)
    found.push((await pair.call(options)).status);
  return found;
}

void t.test(
  "429 RATE_LIMITED, with Retry-After and the RateLimit fields; never repeated, never held against the instance",
  async (t) => {
    let served = 0;
    await withPair(
      {
        app: () => (_request, response) => {
          served += 1;
          response.end("ok");
        },
        resources: [
          limit({ requests: 3, interval: "1m" }),
          resource("HTTPRoute", "orders", {
            parentRefs: [{ kind: "Service", name: "orders" }],
            rules: [
              {
                backendRefs: [{ name: "orders", port: 80 }],
                retry: { codes: [429], attempts: 2 },
              },
            ],
          }),
        ],
      },
      async (pair) => {
        t.strictSame(await statuses(pair, 3), [200, 200, 200]);
        const answer = await pair.call();
        t.equal(answer.status, 429);
        t.equal(answer.reason, "RATE_LIMITED; policy=shop/orders");
        t.match(answer.text, /rateLimit of shop\/orders allows 3 requests/);
        t.match(answer.headers, {
          "ratelimit-limit": "3",
          "ratelimit-policy": "3;w=60;burst=3",
          "ratelimit-remaining": "0",
        });
        // A bucket of three a minute has room for one after 20 s.
        for (const field of ["retry-after", "ratelimit-reset"])
          t.match(answer.headers[field], /^(19|20)$/);
        t.equal(served, 3, "the application has seen nothing of it");
        t.equal(
          pair.log.filter(
            ({ direction, reason }) =>
              direction === "inbound" && reason === "RATE_LIMITED",
          ).length,
          1,
          "one attempt",
        );
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_requests_total",
            'status="429"',
            'reason="RATE_LIMITED"',
          ),
          1,
        );
        t.equal(EFFECTS["peer-refusal"].ejection, "none");
      },
    );
  },
);

void t.test("a gRPC caller is told RESOURCE_EXHAUSTED", async (t) => {
  await withPair(
    {
      app: () => (_request, response) => response.end("ok"),
      resources: [limit({ requests: 1, interval: "1m" })],
    },
    async (pair) => {
      const headers = { "content-type": "application/grpc" };
      await pair.call({ method: "POST", headers });
      const answer = await pair.call({ method: "POST", headers });
      t.equal(answer.status, 200);
      t.equal(answer.headers["grpc-status"], "8");
      t.equal(answer.reason, "RATE_LIMITED; policy=shop/orders");
    },
  );
});

void t.test(
  "a caller without a sidecar is counted, and told the sentence only",
  async (t) => {
    await withPair(
      {
        calleePublish: true,
        resources: [
          limit({ requests: 1, interval: "1m", key: "source.principal" }),
          resource("PeerAuthentication", "open", {
            mtls: { mode: "PERMISSIVE" },
          }),
        ],
      },
      async (pair) => {
        const [instance] = pair.instances;
        const port =
          pair.callee.ports.published.get(instance?.appPort ?? 0) ?? 0;
        t.equal((await send(port)).status, 200);
        const answer = await send(port);
        t.equal(answer.status, 429);
        t.equal(answer.reason, undefined);
        t.notMatch(answer.text, /shop/);
        t.ok(answer.headers["retry-after"]);
        t.equal((await pair.call()).status, 200, "who has one has his own");
      },
    );
  },
);

void t.test("each instance counts for itself", async (t) => {
  await withPair(
    {
      instances: 2,
      resources: [
        resource("TrafficPolicy", "orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          loadBalancer: { simple: "ROUND_ROBIN" },
          rateLimit: { requests: 2, interval: "1m" },
        }),
      ],
    },
    async (pair) => {
      const found = await statuses(pair, 6);
      t.equal(found.filter((status) => status === 200).length, 4);
      t.strictSame(found.slice(4), [429, 429]);
    },
  );
});

void t.test(
  "a change of config empties no bucket, and taking the limit away lets all pass",
  async (t) => {
    await withPair(
      { resources: [limit({ requests: 2, interval: "1m" })] },
      async (pair) => {
        t.strictSame(await statuses(pair, 3), [200, 200, 429]);
        pair.apply([
          limit({ requests: 2, interval: "1m" }),
          resource("AuthorizationPolicy", "elsewhere", {
            selector: { matchLabels: { app: "nobody" } },
          }),
        ]);
        t.strictSame(await statuses(pair, 1), [429]);
        pair.apply([]);
        t.strictSame(await statuses(pair, 5), [200, 200, 200, 200, 200]);
      },
    );
  },
);

void t.test(
  "who is not authorized takes nothing from the bucket",
  async (t) => {
    const deny = resource("AuthorizationPolicy", "no", {
      selector: { matchLabels: { app: "orders" } },
      action: "DENY",
      rules: [{ to: [{ operation: { paths: ["/no"] } }] }],
    });
    await withPair(
      { resources: [limit({ requests: 1, interval: "1m" }), deny] },
      async (pair) => {
        t.strictSame(await statuses(pair, 3, { path: "/no" }), [403, 403, 403]);
        t.strictSame(await statuses(pair, 2), [200, 429]);
      },
    );
  },
);
