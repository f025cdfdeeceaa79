/** Sources and conditions of a rule, after Istio's reference of AuthorizationPolicy and of its conditions. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { compileAuthorization } from "../../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import type {
  AuthorizationCondition,
  AuthorizationRule,
  AuthorizationSource,
} from "../../../src/resources/authorization-policy/spec.ts";
import {
  authorizationPolicy,
  request,
} from "../../support/resources/policy-fixtures.ts";

const WORKLOAD = { namespace: "shop", labels: {} };
const WEB = "spiffe://cluster.local/ns/shop/sa/web";

interface Asked {
  peer?: string | undefined;
  /** Undefined: not known. */
  source?: string | undefined;
  destination?: string | undefined;
  port?: number;
  tcp?: boolean;
  headers?: Record<string, string>;
  hops?: number;
}

function facts(asked: Asked): AuthorizationFacts {
  const { headers = {} } = asked;
  return {
    peer: "peer" in asked ? asked.peer : WEB,
    port: asked.port ?? 8080,
    connection: {
      remoteAddress: "source" in asked ? asked.source : "10.1.2.3",
      localAddress: "destination" in asked ? asked.destination : "10.0.0.1",
    },
    request: asked.tcp === true ? undefined : request("/", { headers }),
  };
}

/** Whether the rule matches, asked of an ALLOW and of a DENY: only without HTTP may they differ. */
function matches(
  rule: AuthorizationRule,
  asked: Asked,
): { readonly allow: boolean; readonly deny: boolean } {
  const verdict = (action: "ALLOW" | "DENY"): string =>
    atOnce(
      compileAuthorization(
        [authorizationPolicy("shop/p", { action, rules: [rule] })],
        WORKLOAD,
        {
          authorization: { defaultAction: "ALLOW" },
          trustedHops: asked.hops ?? 0,
        },
      ),
    ).authorize(facts(asked)).kind;
  return {
    allow: verdict("ALLOW") === "allow",
    deny: verdict("DENY") === "deny",
  };
}

const OTHER = "spiffe://other.td/ns/far/sa/web";

const SOURCES: readonly (readonly [AuthorizationSource, Asked, boolean])[] = [
  [{ serviceAccounts: ["shop/web"] }, {}, true],
  [{ serviceAccounts: ["web"] }, {}, true],
  [{ serviceAccounts: ["web"] }, { peer: OTHER }, false],
  [{ serviceAccounts: ["far/web"] }, { peer: OTHER }, true],
  [{ serviceAccounts: ["far/web", "web"] }, {}, true],
  [{ serviceAccounts: ["we"] }, {}, false],
  [{ serviceAccounts: ["web"] }, { peer: undefined }, false],
  [{ notServiceAccounts: ["web"] }, {}, false],
  [{ notServiceAccounts: ["far/web"] }, {}, true],
  [{ notServiceAccounts: ["web"] }, { peer: undefined }, true],
  [{ trustDomains: ["cluster.local"] }, {}, true],
  [{ trustDomains: ["cluster*"] }, {}, true],
  [{ trustDomains: ["*.td"] }, { peer: OTHER }, true],
  [{ trustDomains: ["cluster.local"] }, { peer: OTHER }, false],
  [{ trustDomains: ["*"] }, { peer: undefined }, false],
  [{ notTrustDomains: ["cluster.local"] }, { peer: undefined }, true],
  [{ notTrustDomains: ["cluster.local"] }, {}, false],
  [{ ipBlocks: ["10.1.2.3"] }, {}, true],
  [{ ipBlocks: ["10.1.2.4"] }, {}, false],
  [{ ipBlocks: ["10.0.0.0/8"] }, {}, true],
  [{ ipBlocks: ["10.1.3.0/24", "10.1.2.0/24"] }, {}, true],
  [{ ipBlocks: ["10.9.9.9/8"] }, {}, true],
  [{ ipBlocks: ["0.0.0.0/0"] }, {}, true],
  [{ ipBlocks: ["0.0.0.0/0"] }, { source: "fd00::1" }, false],
  [{ ipBlocks: ["::/0"] }, {}, false],
  [{ ipBlocks: ["::/0"] }, { source: "::ffff:10.1.2.3" }, false],
  [{ ipBlocks: ["::/0"] }, { source: "fd00::1" }, true],
  [{ notIpBlocks: ["::/0"] }, {}, true],
  [{ ipBlocks: ["10.0.0.0/8"] }, { source: "::ffff:10.1.2.3" }, true],
  [{ ipBlocks: ["::ffff:10.0.0.0/8"] }, {}, true],
  [{ ipBlocks: ["fd00::/8"] }, { source: "FD00::12" }, true],
  [{ ipBlocks: ["fe80::/10"] }, { source: "fe80::1%eth0" }, true],
  [{ ipBlocks: ["fd00::/8"] }, { source: "fe80::1" }, false],
  [{ ipBlocks: ["0.0.0.0/0"] }, { source: undefined }, false],
  [{ notIpBlocks: ["10.0.0.0/8"] }, {}, false],
  [{ notIpBlocks: ["11.0.0.0/8"] }, {}, true],
  [{ notIpBlocks: ["10.0.0.0/8"] }, { source: undefined }, true],
  [{ ipBlocks: ["10.0.0.0/8"], notIpBlocks: ["10.1.2.3"] }, {}, false],
  [{ ipBlocks: ["10.0.0.0/8"] }, { tcp: true }, true],
  [{ principals: ["*"], ipBlocks: ["10.0.0.0/8"] }, { peer: undefined }, false],
];

for (const [source, asked, expected] of SOURCES)
  void t.test(
    `source ${JSON.stringify(source)} and a call ${JSON.stringify(asked)}`,
    (t) => {
      t.strictSame(matches({ from: [{ source }] }, asked), {
        allow: expected,
        deny: expected,
      });
      t.end();
    },
  );

/** X-Forwarded-For, trusted hops, and the address that the call is held to come from. */
const FORWARDED: readonly (readonly [string | undefined, number, string])[] = [
  ["203.0.113.9", 0, "10.1.2.3"],
  [undefined, 1, "10.1.2.3"],
  ["203.0.113.9", 1, "203.0.113.9"],
  ["198.51.100.1, 203.0.113.9", 1, "203.0.113.9"],
  ["198.51.100.1, 203.0.113.9", 2, "198.51.100.1"],
  ["6.6.6.6, 198.51.100.1,203.0.113.9", 2, "198.51.100.1"],
  ["203.0.113.9", 2, "10.1.2.3"],
  ["", 1, "10.1.2.3"],
  [",203.0.113.9", 2, "10.1.2.3"],
  ["unknown", 1, "10.1.2.3"],
  ["203.0.113.9,", 1, "10.1.2.3"],
  ["203.0.113.9:4711", 1, "203.0.113.9"],
  ["[2001:db8::1]:4711", 1, "2001:db8::1"],
  ["[2001:db8::1]", 1, "2001:db8::1"],
  ["2001:DB8:0::1", 1, "2001:db8::1"],
  ["::ffff:203.0.113.9", 1, "203.0.113.9"],
];

for (const [field, hops, address] of FORWARDED)
  void t.test(
    `X-Forwarded-For ${JSON.stringify(field)} after ${hops} trusted hops`,
    (t) => {
      const headers = field === undefined ? {} : { "x-forwarded-for": field };
      const asked: Asked = { hops, headers };
      for (const rule of [
        { from: [{ source: { remoteIpBlocks: [address] } }] },
        { when: [{ key: "remote.ip", values: [address] }] },
      ])
        t.strictSame(matches(rule, asked), { allow: true, deny: true });
      for (const rule of [
        { from: [{ source: { notRemoteIpBlocks: [address] } }] },
        { when: [{ key: "remote.ip", notValues: [address] }] },
      ])
        t.strictSame(matches(rule, asked), { allow: false, deny: false });
      t.end();
    },
  );

const when = (
  key: string,
  values?: readonly string[],
  notValues?: readonly string[],
): AuthorizationCondition => ({
  key,
  ...(values === undefined ? {} : { values }),
  ...(notValues === undefined ? {} : { notValues }),
});

const X = "request.headers[X-Team]";
const blue: Asked = { headers: { "x-team": "blue" } };

const CONDITIONS: readonly (readonly [
  readonly AuthorizationCondition[],
  Asked,
  boolean,
])[] = [
  [[when(X, ["blue"])], blue, true],
  [[when(X, ["red", "bl*"])], blue, true],
  [[when(X, ["*ue"])], blue, true],
  [[when(X, ["Blue"])], blue, false],
  [[when(X, ["*"])], blue, true],
  [[when(X, ["*"])], {}, false],
  [[when(X, ["*"])], { headers: { "x-team": "" } }, false],
  [[when(X, undefined, ["blue"])], blue, false],
  [[when(X, undefined, ["blue"])], {}, true],
  [[when(X, ["b*"], ["blue"])], blue, false],
  [[when(X, ["b*"], ["brown"])], blue, true],
  [[when(X, ["blue"]), when("source.ip", ["10.1.2.3"])], blue, true],
  [[when(X, ["blue"]), when("source.ip", ["10.1.2.4"])], blue, false],
  [[when("source.namespace", ["shop"])], {}, true],
  [[when("source.namespace", ["far"])], {}, false],
  [[when("source.namespace", undefined, ["far"])], { peer: undefined }, true],
  [[when("source.principal", ["cluster.local/ns/shop/*"])], {}, true],
  [[when("source.principal", ["*"])], { peer: undefined }, false],
  [[when("source.serviceAccount", ["web"])], {}, true],
  [[when("source.serviceAccount", ["far/web"])], {}, false],
  [[when("destination.ip", ["10.0.0.0/24"])], {}, true],
  [[when("destination.ip", ["10.0.1.0/24"])], {}, false],
  [[when("destination.ip", ["10.0.0.1"])], { destination: undefined }, false],
  [[when("destination.port", ["8080"])], {}, true],
  [[when("destination.port", ["80", "443"])], {}, false],
  [[when("destination.port", undefined, ["80"])], { tcp: true }, true],
  [[when("source.ip", ["10.1.2.3"])], { tcp: true }, true],
  [[when("remote.ip", ["10.1.2.3"])], { tcp: true, hops: 2 }, true],
];

for (const [conditions, asked, expected] of CONDITIONS)
  void t.test(
    `when ${JSON.stringify(conditions)} and a call ${JSON.stringify(asked)}`,
    (t) => {
      t.strictSame(matches({ when: conditions }, asked), {
        allow: expected,
        deny: expected,
      });
      t.end();
    },
  );

void t.test(
  "trap 3: over TCP a condition on a header matches in a DENY and never in an ALLOW",
  (t) => {
    for (const condition of [
      when(X, ["blue"]),
      when(X, undefined, ["blue"]),
      when(X, ["*"]),
    ])
      t.strictSame(matches({ when: [condition] }, { tcp: true }), {
        allow: false,
        deny: true,
      });
    t.strictSame(
      matches(
        { when: [when(X, ["blue"]), when("destination.port", ["1"])] },
        { tcp: true },
      ),
      { allow: false, deny: false },
      "what TCP has too is compared all the same",
    );
    t.end();
  },
);

void t.test("a key that nobody knows opens nothing", (t) => {
  t.strictSame(matches({ when: [when("request.auth.subject", ["a/b"])] }, {}), {
    allow: false,
    deny: true,
  });
  t.end();
});

void t.test("what does not match is said", (t) => {
  const [{ why } = {}] = atOnce(
    compileAuthorization(
      [
        authorizationPolicy("shop/p", {
          rules: [{ when: [when("source.ip", ["192.0.2.0/24"])] }],
        }),
      ],
      WORKLOAD,
      { authorization: { defaultAction: "ALLOW" }, trustedHops: 0 },
    ),
  ).explain(facts({})).considered;
  t.equal(why, 'source.ip "10.1.2.3" is not among 192.0.2.0/24');
  t.end();
});
