import t from "tap";
import { atOnce } from "../../src/core/slices.ts";
import { compileAuthentication } from "../../src/policy/authentication.ts";
import type {
  PeerAuthenticationResource,
  PeerMtlsMode,
} from "../../src/resources/peer-authentication/schema.ts";
import {
  born,
  peerAuthentication,
} from "../support/resources/policy-fixtures.ts";

const WORKLOAD = { namespace: "shop", labels: { app: "orders" } };
const ORDERS = { selector: { matchLabels: { app: "orders" } } };

const policy = (
  name: string,
  mode: PeerMtlsMode,
  day = 1,
): PeerAuthenticationResource =>
  peerAuthentication(name, { mtls: { mode } }, born(day));
const selecting = (
  name: string,
  mode: PeerMtlsMode | undefined,
  ports: Record<string, PeerMtlsMode> = {},
  day = 1,
): PeerAuthenticationResource =>
  peerAuthentication(
    name,
    {
      ...ORDERS,
      ...(mode === undefined ? {} : { mtls: { mode } }),
      portLevelMtls: Object.fromEntries(
        Object.entries(ports).map(([port, level]) => [port, { mode: level }]),
      ),
    },
    born(day),
  );

/** Policies, and what decides for port 8080 under a mesh that says STRICT. */
const TABLE: readonly [
  why: string,
  policies: readonly PeerAuthenticationResource[],
  mode: string,
  by: string | undefined,
][] = [
  ["none: the mesh", [], "STRICT", undefined],
  [
    "the root namespace before the mesh (trap 17)",
    [policy("wherry-system/all", "PERMISSIVE")],
    "PERMISSIVE",
    "wherry-system/all",
  ],
  [
    "the namespace before the root namespace",
    [
      policy("wherry-system/all", "PERMISSIVE"),
      policy("shop/ns", "DISABLE", 9),
    ],
    "DISABLE",
    "shop/ns",
  ],
  [
    "the workload before its namespace",
    [
      policy("shop/ns", "DISABLE"),
      selecting("shop/orders", "PERMISSIVE", {}, 9),
    ],
    "PERMISSIVE",
    "shop/orders",
  ],
  [
    "the port before its workload",
    [selecting("shop/orders", "PERMISSIVE", { "8080": "DISABLE" })],
    "DISABLE",
    "shop/orders",
  ],
  [
    "another port is no concern of this one",
    [selecting("shop/orders", "PERMISSIVE", { "9090": "DISABLE" })],
    "PERMISSIVE",
    "shop/orders",
  ],
  [
    "UNSET of a port goes to its workload",
    [selecting("shop/orders", "PERMISSIVE", { "8080": "UNSET" })],
    "PERMISSIVE",
    "shop/orders",
  ],
  [
    "UNSET of a workload goes to its namespace",
    [selecting("shop/orders", "UNSET"), policy("shop/ns", "PERMISSIVE")],
    "PERMISSIVE",
    "shop/ns",
  ],
  [
    "a workload that says nothing but of ports is UNSET",
    [
      selecting("shop/orders", undefined, { "9090": "DISABLE" }),
      policy("shop/ns", "PERMISSIVE"),
    ],
    "PERMISSIVE",
    "shop/ns",
  ],
  [
    "UNSET of a namespace goes to the root namespace",
    [policy("shop/ns", "UNSET"), policy("wherry-system/all", "DISABLE")],
    "DISABLE",
    "wherry-system/all",
  ],
  [
    "UNSET all the way: the mesh",
    [policy("shop/ns", "UNSET")],
    "STRICT",
    undefined,
  ],
  [
    "another namespace's",
    [policy("infra/ns", "DISABLE"), selecting("infra/orders", "DISABLE")],
    "STRICT",
    undefined,
  ],
  [
    "one that selects other labels (trap 16)",
    [
      peerAuthentication("shop/web", {
        selector: { matchLabels: { app: "web" } },
        mtls: { mode: "DISABLE" },
      }),
    ],
    "STRICT",
    undefined,
  ],
  [
    "the root namespace's selector reaches every namespace, after the workload's own",
    [
      selecting("wherry-system/orders", "DISABLE", {}, 1),
      selecting("shop/orders", "PERMISSIVE", {}, 2),
      policy("shop/ns", "STRICT"),
    ],
    "PERMISSIVE",
    "shop/orders",
  ],
  [
    "ports without a selector mean nothing",
    [
      peerAuthentication("shop/ns", {
        mtls: { mode: "PERMISSIVE" },
        portLevelMtls: { "8080": { mode: "DISABLE" } },
      }),
    ],
    "PERMISSIVE",
    "shop/ns",
  ],
];

void t.test("the narrowest scope that says anything decides", (t) => {
  for (const [why, policies, mode, by] of TABLE) {
    const decision = atOnce(
      compileAuthentication(policies, WORKLOAD, "STRICT"),
    ).port(8080);
    t.equal(decision.mode, mode, why);
    t.equal(decision.policy, by, why);
  }
  t.end();
});

void t.test(
  "trap 13: of two of one scope the oldest counts, the other is named as overruled",
  (t) => {
    const compiled = atOnce(
      compileAuthentication(
        [
          policy("shop/young", "DISABLE", 2),
          policy("shop/old", "PERMISSIVE", 1),
          peerAuthentication("shop/ageless", { mtls: { mode: "DISABLE" } }),
        ],
        WORKLOAD,
        "STRICT",
      ),
    );
    t.strictSame(compiled.port(80), { mode: "PERMISSIVE", policy: "shop/old" });
    t.strictSame(compiled.overruled, [
      { loser: "shop/young", winner: "shop/old" },
      { loser: "shop/ageless", winner: "shop/old" },
    ]);
    t.end();
  },
);

void t.test("a time that the calendar does not have counts as none", (t) => {
  for (const creationTimestamp of [
    "2026-02-31T25:00:00Z",
    "2026-06-30T23:59:60Z",
  ]) {
    const impossible = peerAuthentication(
      "shop/a",
      { mtls: { mode: "DISABLE" } },
      { creationTimestamp },
    );
    const dated = policy("shop/c", "STRICT", 1);
    const ageless = peerAuthentication("shop/b", { mtls: { mode: "DISABLE" } });
    for (const policies of [
      [impossible, ageless, dated],
      [dated, impossible, ageless],
    ]) {
      const compiled = atOnce(
        compileAuthentication(policies, WORKLOAD, "PERMISSIVE"),
      );
      t.equal(compiled.port(80).policy, "shop/c", creationTimestamp);
      t.strictSame(
        compiled.overruled.map(({ loser }) => loser),
        ["shop/a", "shop/b"],
      );
    }
  }
  t.end();
});

void t.test("of two without a time the first name counts", (t) => {
  const make = (name: string): PeerAuthenticationResource =>
    peerAuthentication(name, { mtls: { mode: "PERMISSIVE" } });
  const compiled = atOnce(
    compileAuthentication([make("shop/b"), make("shop/a")], WORKLOAD, "STRICT"),
  );
  t.equal(compiled.port(80).policy, "shop/a");
  t.end();
});

void t.test(
  "a workload of the root namespace is not overruled by itself",
  (t) => {
    const compiled = atOnce(
      compileAuthentication(
        [policy("wherry-system/all", "PERMISSIVE")],
        { namespace: "wherry-system", labels: {} },
        "STRICT",
      ),
    );
    t.equal(compiled.port(80).mode, "PERMISSIVE");
    t.strictSame(compiled.overruled, []);
    t.end();
  },
);
