/** What a change of policies is said to do: each row is the policies before and after, and the lines of each change. */
import t from "tap";
import {
  authenticationImpact,
  authorizationImpact,
  changed,
  type ImpactContext,
} from "../../../src/control-plane/observed/impact.ts";
import type { SeenCall } from "../../../src/control-plane/observed/observed-calls.ts";
import type { AuthorizationPolicyResource } from "../../../src/resources/authorization-policy/spec.ts";
import { MESH_DEFAULTS } from "../../../src/resources/mesh/schema.ts";
import {
  authorizationPolicy,
  peerAuthentication,
} from "../../support/resources/policy-fixtures.ts";

type Policy = AuthorizationPolicyResource;

const WEB = "spiffe://cluster.local/ns/shop/sa/web";
const ORDERS = {
  namespace: "shop",
  name: "orders-1",
  labels: { app: "orders" },
};
const IDLE = { namespace: "shop", name: "idle-1", labels: { app: "idle" } };

const seen = (over: Partial<SeenCall>): SeenCall => ({
  ...{ policy: "", effect: "", peer: WEB, address: "", port: 8080 },
  ...{ method: "GET", host: "orders.shop", path: "/a", count: 3 },
  ...{ first: 0, last: 0 },
  ...over,
});

const CALLS = [
  seen({}),
  seen({ path: "/b", count: 1 }),
  seen({ peer: "", address: "10.0.0.9", count: 2 }),
  seen({ policy: "shop/x", effect: "refused", path: "/not-a-call" }),
];

const CONTEXT: ImpactContext = {
  settings: {
    ...MESH_DEFAULTS,
    authorization: { defaultAction: "ALLOW", providers: [] },
  },
  workloads: [ORDERS, IDLE],
  seen: [{ workload: ORDERS, calls: CALLS, dropped: 0 }],
  leading: (workload, port = 8080) =>
    new Set(workload === IDLE || port !== 8080 ? [] : ["orders"]),
  pause: () => undefined,
};

const TARGETS = { targetRefs: [{ kind: "Service" as const, name: "orders" }] };
const FOR_ORDERS = { selector: { matchLabels: ORDERS.labels } };
const path = (...paths: string[]): object => ({
  rules: [{ to: [{ operation: { paths } }] }],
});
const allow = (name: string, spec: object = {}, more = {}): Policy =>
  authorizationPolicy(name, { ...FOR_ORDERS, ...spec }, more);
const deny = (name: string, spec: object): Policy =>
  allow(name, { action: "DENY", ...spec });

const CLOSES = /^is the first ALLOW of shop\/orders-1: /;
const OPENS = /^was the last ALLOW of shop\/orders-1: /;
const REFUSES_ALL =
  /^would refuse calls of the last hour: cluster\.local\/ns\/shop\/sa\/web GET \/a on port 8080 \(3 times\), plaintext 10\.0\.0\.9 GET \/a on port 8080 \(2 times\), .*GET \/b.*\(1 times\)$/;
const REFUSES_B =
  /^would refuse calls of the last hour: cluster\.local\/ns\/shop\/sa\/web GET \/b on port 8080 \(1 times\)$/;

/** Those that are there, and each change as [before, after]. */
const TABLE: readonly (readonly [
  string,
  readonly Policy[],
  readonly (readonly [Policy | undefined, Policy | undefined])[],
  readonly (readonly RegExp[])[],
])[] = [
  [
    "a first ALLOW without rules",
    [],
    [[undefined, allow("shop/a")]],
    [[CLOSES, REFUSES_ALL]],
  ],
  [
    "a first ALLOW for the Service",
    [],
    [[undefined, authorizationPolicy("shop/a", TARGETS)]],
    [[CLOSES, REFUSES_ALL]],
  ],
  [
    "one for a Service that does not lead there",
    [],
    [
      [
        undefined,
        authorizationPolicy("shop/a", {
          targetRefs: [{ kind: "Service", name: "other" }],
        }),
      ],
    ],
    [[]],
  ],
  [
    "the end of the last ALLOW for the Service",
    [authorizationPolicy("shop/a", TARGETS)],
    [[authorizationPolicy("shop/a", TARGETS), undefined]],
    [[OPENS, /^would let in/]],
  ],
  [
    "a first ALLOW that lists some",
    [],
    [[undefined, allow("shop/a", path("/a"))]],
    [[CLOSES, REFUSES_B]],
  ],
  [
    "a first ALLOW that lists all",
    [],
    [[undefined, allow("shop/a", { rules: [{}] })]],
    [[CLOSES]],
  ],
  [
    "a second ALLOW",
    [allow("shop/a", { rules: [{}] })],
    [[undefined, allow("shop/b")]],
    [[]],
  ],
  [
    "the last ALLOW goes",
    [allow("shop/a", path("/a"))],
    [[allow("shop/a", path("/a")), undefined]],
    [[OPENS, /^would let in calls that were refused: .*GET \/b/]],
  ],
  [
    "one of two goes",
    [allow("shop/a", path("/a")), allow("shop/b", path("/b"))],
    [[allow("shop/b", path("/b")), undefined]],
    [[REFUSES_B]],
  ],
  ["a DENY", [], [[undefined, deny("shop/d", path("/b"))]], [[REFUSES_B]]],
  [
    "a DENY goes",
    [deny("shop/d", path("/b"))],
    [[deny("shop/d", path("/b")), undefined]],
    [[/^would let in .*\/b/]],
  ],
  [
    "an AUDIT",
    [],
    [[undefined, allow("shop/l", { action: "AUDIT", rules: [{}] })]],
    [[]],
  ],
  [
    "an ALLOW on trial",
    [],
    [
      [
        undefined,
        allow("shop/a", {}, { annotations: { "istio.io/dry-run": "true" } }),
      ],
    ],
    [[]],
  ],
  [
    "an ALLOW becomes one on trial",
    [allow("shop/a", { rules: [{}] })],
    [
      [
        allow("shop/a", { rules: [{}] }),
        allow(
          "shop/a",
          { rules: [{}] },
          { annotations: { "istio.io/dry-run": "true" } },
        ),
      ],
    ],
    [[OPENS]],
  ],
  [
    "nothing changes",
    [allow("shop/a")],
    [[allow("shop/a"), allow("shop/a")]],
    [[]],
  ],
  [
    "an ALLOW becomes a DENY",
    [allow("shop/a", path("/a"))],
    [[allow("shop/a", path("/a")), deny("shop/a", path("/a"))]],
    [[OPENS, /^would refuse .*\/a/, /^would let in .*\/b/]],
  ],
  [
    "two at once: the first one names the calls",
    [],
    [
      [undefined, allow("shop/a", path("/a"))],
      [undefined, allow("shop/b", path("/c"))],
    ],
    [[CLOSES, REFUSES_B], [CLOSES]],
  ],
  ["another namespace's", [], [[undefined, allow("far/a")]], [[]]],
  [
    "the whole namespace's names what nobody calls too",
    [],
    [[undefined, authorizationPolicy("shop/a", { rules: [{}] })]],
    [[/^is the first ALLOW of shop\/idle-1, shop\/orders-1: /]],
  ],
];

for (const [title, before, pairs, expected] of TABLE)
  void t.test(title, async (t) => {
    const changes = pairs.map(([was, is]) => ({ before: was, after: is }));
    const after = changed(before, changes);
    const found = await authorizationImpact(
      changes,
      { before, after },
      CONTEXT,
    );
    t.equal(found.length, expected.length);
    for (const [at, lines] of found.entries()) {
      t.equal(lines.length, expected[at]?.length, lines.join("\n"));
      for (const [line, text] of lines.entries())
        t.match(text, expected[at]?.[line]);
    }
  });

void t.test(
  "STRICT names the callers in plaintext, where the port was not STRICT",
  async (t) => {
    const mtls = (
      mode: "STRICT" | "PERMISSIVE",
    ): ReturnType<typeof peerAuthentication> =>
      peerAuthentication("shop/p", { ...FOR_ORDERS, mtls: { mode } });
    const [open, strict] = [mtls("PERMISSIVE"), mtls("STRICT")];
    const said = await authenticationImpact(
      [strict],
      { before: [open], after: [strict] },
      CONTEXT,
    );
    t.match(said, [
      [
        /^STRICT refuses callers .*: plaintext 10\.0\.0\.9 GET \/a on port 8080 \(2 times\); see/,
      ],
    ]);
    for (const [before, after] of [
      [strict, strict],
      [open, open],
      [strict, open],
    ] as const)
      t.strictSame(
        await authenticationImpact(
          [after],
          { before: [before], after: [after] },
          CONTEXT,
        ),
        [[]],
      );
  },
);

/** Rules that read what is not remembered, and those that do not. */
for (const [rule, isDoubtful] of [
  [{ from: [{ source: { notRequestPrincipals: ["*"] } }] }, true],
  [{ from: [{ source: { notRemoteIpBlocks: ["10.9.0.0/16"] } }] }, true],
  [{ from: [{ source: { notIpBlocks: ["10.9.0.0/16"] } }] }, true],
  [{ when: [{ key: "request.headers[x]", notValues: ["a"] }] }, true],
  [{ when: [{ key: "destination.ip", notValues: ["10.9.0.1"] }] }, true],
  [{ when: [{ key: "request.auth.claims[a]", notValues: ["b"] }] }, true],
  [{ from: [{ source: { notNamespaces: ["far"] } }] }, false],
  [{ when: [{ key: "destination.port", values: ["8080"] }] }, false],
  [{ to: [{ operation: { paths: ["/a"] } }] }, false],
] as const)
  void t.test(`remembered or not: ${JSON.stringify(rule)}`, async (t) => {
    const policy = deny("shop/d", { rules: [rule] });
    for (const change of [
      { before: undefined, after: policy },
      { before: policy, after: undefined },
    ]) {
      const before = change.before === undefined ? [] : [policy];
      const after = changed(before, [change]);
      const [lines = []] = await authorizationImpact(
        [change],
        { before, after },
        CONTEXT,
      );
      t.equal(lines.length, 1);
      t.equal(
        lines[0]?.endsWith(
          " (callers' addresses, tokens and header fields are not remembered)",
        ),
        isDoubtful,
      );
    }
  });

void t.test("calls that found no room are told of", async (t) => {
  const context = {
    ...CONTEXT,
    seen: [
      { workload: ORDERS, calls: [], dropped: 3 },
      { workload: IDLE, calls: [], dropped: 40 },
    ],
  };
  const line = (calls: number): string =>
    `up to ${calls} calls of the last hour found no room and are not judged here`;
  for (const [policy, calls] of [
    [deny("shop/d", { rules: [{}] }), 3],
    [authorizationPolicy("shop/d", { action: "DENY" }), 43],
  ] as const)
    t.strictSame(
      await authorizationImpact(
        [{ before: undefined, after: policy }],
        { before: [], after: [policy] },
        context,
      ),
      [[line(calls)]],
    );
  for (const [spec, lines] of [
    [{ mtls: { mode: "STRICT" } }, [line(43)]],
    [{ ...FOR_ORDERS, mtls: { mode: "STRICT" } }, [line(3)]],
    [{ ...FOR_ORDERS, portLevelMtls: { 80: { mode: "STRICT" } } }, [line(3)]],
    [{ mtls: { mode: "PERMISSIVE" } }, []],
  ] as const) {
    const policy = peerAuthentication("shop/p", spec);
    t.strictSame(
      await authenticationImpact(
        [policy],
        { before: [], after: [policy] },
        context,
      ),
      [lines],
    );
  }
});

void t.test(
  "it pauses at each workload that a change opens or closes, and looks at no policy for a DENY",
  async (t) => {
    const workloads = Array.from({ length: 50 }, (_, index) => ({
      ...ORDERS,
      name: `orders-${index}`,
    }));
    const others = Array.from({ length: 9 }, (_, index) =>
      allow(`far/p${index}`),
    );
    let paused = 0;
    let looked = 0;
    for (const other of others)
      Object.defineProperty(other.spec, "selector", {
        get: () => {
          looked += 1;
          return undefined;
        },
      });
    const pausesAt = async (policy: Policy): Promise<number> => {
      paused = looked = 0;
      await authorizationImpact(
        [{ before: undefined, after: policy }],
        { before: others, after: [...others, policy] },
        {
          ...CONTEXT,
          ...{ workloads, seen: [] },
          pause: () => {
            paused += 1;
            return undefined;
          },
        },
      );
      return paused;
    };
    t.ok((await pausesAt(deny("shop/d", {}))) < 20);
    t.ok((await pausesAt(allow("shop/a"))) >= 50);
    t.equal(looked, 0, "those of another namespace");
  },
);

void t.test("what is long is cut", async (t) => {
  const many = Array.from({ length: 40 }, (_, index) =>
    seen({ path: `/${index}` }),
  );
  const workloads = Array.from({ length: 9 }, (_, index) => ({
    ...ORDERS,
    name: `orders-${index + 1}`,
  }));
  const policy = allow("shop/a");
  const [lines = []] = await authorizationImpact(
    [{ before: undefined, after: policy }],
    { before: [], after: [policy] },
    {
      ...CONTEXT,
      workloads,
      seen: [{ workload: ORDERS, calls: many, dropped: 0 }],
    },
  );
  t.match(lines[0], /orders-5 and 4 more: it closes them/);
  t.match(lines[1], /and 35 more$/);
});
