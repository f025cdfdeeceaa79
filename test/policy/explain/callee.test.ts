/** The callee's side of an explanation: each policy and rule that was asked, and what it lacked. */
import t from "tap";
import {
  authorizationPolicy,
  born,
  mesh,
  peerAuthentication,
  trafficPolicy,
} from "../../support/resources/policy-fixtures.ts";
import {
  BYTES,
  callee,
  ORDERS,
  passed,
  step,
} from "../../support/resources/asked-call.ts";
import { ISSUER } from "../../support/tokens/issuer.ts";
import { tokensOf } from "../../support/tokens/token-mesh.ts";

void t.test(
  "authorization: DENY before ALLOW, each rule with what it lacked",
  (t) => {
    const resources = [
      ...ORDERS,
      authorizationPolicy("shop/a-readers", {
        rules: [
          {
            from: [
              { source: { principals: ["cluster.local/ns/shop/sa/batch"] } },
              { source: { namespaces: ["far"] } },
            ],
          },
          { to: [{ operation: { methods: ["GET"], notPaths: ["/b*"] } }] },
        ],
      }),
      authorizationPolicy("shop/b-no-admin", {
        action: "DENY",
        rules: [{ to: [{ operation: { paths: ["/admin/*"] } }] }],
      }),
      authorizationPolicy("shop/c-web", {
        selector: { matchLabels: { app: "web" } },
      }),
      authorizationPolicy("far/d-far", {}),
    ];
    const at = (target: string): ReturnType<typeof callee> =>
      callee(resources, {
        sent: { method: "GET", authority: "orders.shop", target, fields: [] },
      });
    const allowed = at("/a");
    t.equal(allowed.allowedBy, "shop/a-readers");
    t.strictSame(passed(step(allowed, "authorization")), [
      'b-no-admin.rules[0]: to[0]: path "/a" is not among /admin/*',
      'a-readers.rules[0]: from[0]: principal "cluster.local/ns/shop/sa/web" is not among cluster.local/ns/shop/sa/batch; from[1]: namespace "shop" is not among far',
      "c-web: it selects app=web, and the workload has app=orders",
      "d-far: it is for the workloads of namespace far",
    ]);
    t.strictSame(at("/admin/x").refusal, {
      code: "DENIED",
      policy: "shop/b-no-admin",
    });
    const refused = at("/bc");
    t.strictSame(refused.refusal, {
      code: "NOT_ALLOWED",
      policy: "shop/a-readers",
    });
    t.match(
      passed(step(refused, "authorization"))[2],
      /to\[0\]: path "\/bc" is one that is left out \(\/b\*\)/,
    );
    t.strictSame(
      callee(resources, { tunnel: true }).refusal,
      { code: "TUNNEL_REFUSED" },
      "a port for HTTP takes no tunnel",
    );
    t.strictSame(
      callee([...BYTES, ...resources.slice(ORDERS.length)], { tunnel: true })
        .refusal,
      { code: "DENIED", policy: "shop/b-no-admin" },
      "a tunnel has nothing of HTTP, so a DENY of paths takes it",
    );
    t.end();
  },
);

void t.test("CUSTOM: which providers would be asked, by which rules", (t) => {
  const resources = [
    mesh({
      authorization: {
        defaultAction: "ALLOW",
        providers: [{ name: "opa", http: { address: "127.0.0.1:1" } }],
      },
    }),
    ...ORDERS,
    authorizationPolicy("shop/ask", {
      ...{ action: "CUSTOM", provider: { name: "opa" } },
      rules: [{ to: [{ operation: { paths: ["/admin/*"] } }] }],
    }),
    authorizationPolicy("shop/gone", {
      ...{ action: "CUSTOM", provider: { name: "gone" } },
      rules: [{ to: [{ operation: { paths: ["/gone"] } }] }],
    }),
  ];
  const at = (target: string): ReturnType<typeof callee> =>
    callee(resources, {
      sent: { method: "GET", authority: "orders.shop", target, fields: [] },
    });
  const asked = step(at("/admin/x"), "provider");
  t.match(asked.outcome, /provider opa by rule 0 of CUSTOM shop\/ask/);
  t.strictSame(asked.source, {
    resource: "AuthorizationPolicy/shop/ask",
    field: "spec.rules[0]",
  });
  t.equal(at("/admin/x").refusal, undefined, "it is not asked");
  t.equal(step(at("/"), "provider").outcome, "no provider is asked");
  t.match(passed(step(at("/"), "provider"))[0], /path "\/" is not among/);
  t.strictSame(at("/gone").refusal, {
    code: "PROVIDER_FAILED",
    policy: "shop/gone",
  });
  const bytes = callee(
    [resources[0] ?? mesh(), ...BYTES, ...resources.slice(-2, -1)],
    {
      tunnel: true,
    },
  );
  t.match(
    step(bytes, "provider").outcome,
    /speaks HTTP, and the call is bytes/,
  );
  t.end();
});

void t.test("CUSTOM: only the provider says what it may write", (t) => {
  const reader = {
    when: [{ key: "request.headers[x-user]", values: ["alice"] }],
  };
  const resources = [
    mesh({
      authorization: {
        defaultAction: "ALLOW",
        providers: [
          {
            ...{ name: "opa", http: { address: "127.0.0.1:1" } },
            headersToApplication: ["x-user", "x-role-*"],
          },
          {
            ...{ name: "other", http: { address: "127.0.0.1:1" } },
            headersToApplication: ["x-team"],
          },
        ],
      },
    }),
    ...ORDERS,
    tokensOf([
      {
        ...{ issuer: ISSUER, jwksUri: "https://idp.example.com/keys" },
        outputClaimToHeaders: [{ header: "x-role-of", claim: "role" }],
      },
    ]),
  ];
  const asks = authorizationPolicy("shop/ask", {
    ...{ action: "CUSTOM", provider: { name: "opa" } },
    rules: [{ to: [{ operation: { paths: ["/asked"] } }] }],
  });
  const denies = authorizationPolicy("shop/no", {
    ...{ action: "DENY", rules: [reader] },
  });
  const tried = authorizationPolicy(
    "shop/tried",
    { action: "DENY", rules: [reader] },
    { annotations: { "istio.io/dry-run": "true" } },
  );
  const limit = trafficPolicy("shop/limits", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    rateLimit: {
      ...{ requests: 1, interval: "1s" },
      routes: [
        {
          ...{ name: "alice", requests: 1, interval: "1s" },
          matches: [{ headers: [{ name: "x-user", value: "alice" }] }],
        },
      ],
    },
  });
  const sent = (target: string): Parameters<typeof callee>[1] => ({
    claims: { iss: ISSUER, sub: "carol", role: "boss" },
    sent: {
      ...{ method: "GET", authority: "orders.shop", target },
      fields: [
        { name: "x-user", value: "alice" },
        { name: "x_user", value: "alice" },
        { name: "x-role-of", value: "king" },
        { name: "x-role-no", value: "king" },
        { name: "x-team", value: "red" },
      ],
    },
  });
  const names = ({ fields }: ReturnType<typeof callee>): string =>
    fields.map(({ name, value }) => `${name}=${value}`).join();
  const refusals = ["x_user", "x-user"].map(
    (name) =>
      callee([...resources, denies], {
        sent: {
          ...{ method: "GET", authority: "orders.shop", target: "/" },
          fields: [{ name, value: "alice" }],
        },
      }).refusal?.code,
  );
  t.strictSame(refusals, ["BAD_REQUEST", "DENIED"], "where none asks it");
  for (const target of ["/", "/asked"]) {
    const answer = callee(
      [...resources, asks, denies, tried, limit],
      sent(target),
    );
    t.equal(answer.refusal, undefined, `${target} is not refused for it`);
    t.equal(names(answer), "x-role-of=boss,x-team=red", target);
    t.strictSame(answer.shadow, [], `${target} on trial`);
    t.equal(
      step(answer, "limits").outcome,
      "counts against rateLimit: 1 in 1000 ms",
      target,
    );
    t.strictSame(step(answer, "provider").details, [
      "removed from what the caller sent, for only provider opa may write it: x-user, x_user, x-role-no",
    ]);
  }
  t.end();
});

void t.test("nothing allows, and the Mesh has the last word", (t) => {
  const action = step(
    callee([mesh({ authorization: { defaultAction: "DENY" } }), ...ORDERS]),
    "authorization",
  );
  t.strictSame(action.refusal, { code: "NOT_ALLOWED", policy: "default" });
  t.strictSame(action.source, {
    resource: "Mesh/default",
    field: "spec.authorization.defaultAction",
  });
  const empty = step(
    callee([...ORDERS, authorizationPolicy("shop/nobody", {})]),
    "authorization",
  );
  t.strictSame(passed(empty), [
    "nobody: it has no rules, so it matches nothing",
  ]);
  t.end();
});

void t.test("mTLS: who decides, and who left it open", (t) => {
  const resources = [
    ...ORDERS,
    peerAuthentication("shop/own", {
      selector: { matchLabels: { app: "orders" } },
    }),
    peerAuthentication("shop/all", { mtls: { mode: "STRICT" } }, born(1)),
    peerAuthentication("shop/late", { mtls: { mode: "DISABLE" } }, born(2)),
    peerAuthentication("wherry-system/mesh", { mtls: { mode: "PERMISSIVE" } }),
  ];
  const plain = callee(resources, {
    peer: undefined,
    arrival: { kind: "plaintext", port: 8080 },
  });
  t.strictSame(plain.refusal, { code: "MTLS_REQUIRED", policy: "shop/all" });
  t.strictSame(passed(step(plain, "mTLS")), [
    "own: it leaves the mode of this port unset",
    "mesh: a narrower one decides",
    "late: shop/all, for the same workloads, is older",
  ]);
  t.match(step(callee(ORDERS), "mTLS").outcome, /^STRICT \(the default\)/);
  t.strictSame(
    callee(ORDERS, { arrival: { kind: "link", destination: "x.shop:80" } })
      .refusal,
    { code: "MISDIRECTED" },
  );
  t.end();
});

void t.test("limits: the longest body, and which policy says so", (t) => {
  const decision = step(
    callee([
      ...ORDERS,
      trafficPolicy("shop/limits", {
        targetRefs: [{ kind: "Service", name: "orders" }],
        adaptiveConcurrency: { mode: "OFF" },
        maxRequestBodyBytes: 1000,
      }),
    ]),
    "limits",
  );
  t.strictSame(decision.details, [
    "a request body over 1000 bytes gets 413 (TrafficPolicy/shop/limits spec.maxRequestBodyBytes)",
  ]);
  t.end();
});

void t.test(
  "limits: those that count the request, and those that do not",
  (t) => {
    const decision = step(
      callee([
        ...ORDERS,
        trafficPolicy("shop/limits", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          rateLimit: {
            requests: 10,
            interval: "1s",
            routes: [
              {
                name: "posts",
                matches: [{ method: "POST" }],
                requests: 1,
                interval: "1s",
              },
            ],
          },
        }),
      ]),
      "limits",
    );
    t.equal(decision.outcome, "counts against rateLimit: 10 in 1000 ms");
    t.strictSame(passed(decision), [
      'limits.rateLimit: matches[0]: method is "GET", not POST',
    ]);
    t.end();
  },
);

void t.test(
  "authorization: what policies would do that change no verdict",
  (t) => {
    const dry = { annotations: { "istio.io/dry-run": "true" } };
    const answer = callee([
      ...ORDERS,
      authorizationPolicy("shop/tried", {}, dry),
      authorizationPolicy("shop/log", { action: "AUDIT", rules: [{}] }),
    ]);
    t.equal(answer.refusal, undefined);
    const { details } = step(answer, "authorization");
    t.strictSame(details, [
      "dry run: no rule of shop/tried takes it, which would refuse it",
      "audit: rule 0 of shop/log matches it",
    ]);
    t.strictSame(answer.shadow, [
      { policy: "shop/tried", effect: "refused" },
      { policy: "shop/log", effect: "matched", rule: 0 },
    ]);
    t.end();
  },
);
