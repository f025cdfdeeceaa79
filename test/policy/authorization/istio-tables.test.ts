/** Rows after Istio's reference pages: AuthorizationPolicy (sources, operations, actions), its conditions, path templates, and TCP. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { compileAuthorization } from "../../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import type { AuthorizationRule } from "../../../src/resources/authorization-policy/spec.ts";
import { validate } from "../../../src/resources/validate.ts";
import {
  PRINCIPAL as P,
  RANGES,
  STRINGS,
} from "../../support/authorization/istio-rows.ts";
import {
  authorizationPolicy,
  headersOf,
} from "../../support/resources/policy-fixtures.ts";

interface Call {
  peer?: string | undefined;
  port?: number;
  source?: string;
  destination?: string;
  method?: string;
  host?: string;
  path?: string;
  headers?: Record<string, string>;
  tcp?: boolean;
}

function facts(call: Call): AuthorizationFacts {
  const { headers = {} } = call;
  const peer = "peer" in call ? call.peer : "cluster.local/ns/foo/sa/bar";
  return {
    peer: peer === undefined ? undefined : `spiffe://${peer}`,
    port: call.port ?? 8080,
    connection: {
      remoteAddress: call.source ?? "10.1.2.3",
      localAddress: call.destination ?? "10.0.0.1",
    },
    request:
      call.tcp === true
        ? undefined
        : {
            method: call.method ?? "GET",
            host: call.host ?? "example.com",
            path: call.path ?? "/",
            ...headersOf(headers),
          },
  };
}

let rows = 0;

/** Whether an ALLOW and a DENY with the rule take the call. */
function takes(
  rule: AuthorizationRule,
  call: Call,
): { readonly ALLOW: boolean; readonly DENY: boolean } {
  rows += 1;
  const judged = (action: "ALLOW" | "DENY"): boolean => {
    const policy = authorizationPolicy("foo/p", { action, rules: [rule] });
    const checked = validate(policy);
    if (!checked.ok) throw new Error(JSON.stringify(checked));
    const { kind } = atOnce(
      compileAuthorization(
        [policy],
        { namespace: "foo", labels: {} },
        {
          authorization: { defaultAction: "ALLOW" },
          trustedHops: 1,
          trustDomain: "cluster.local",
          trustDomainAliases: [],
        },
      ),
    ).authorize(facts(call));
    return (kind === "allow") === (action === "ALLOW");
  };
  return { ALLOW: judged("ALLOW"), DENY: judged("DENY") };
}

const both = (value: boolean): { ALLOW: boolean; DENY: boolean } => ({
  ALLOW: value,
  DENY: value,
});
const from = (source: object): AuthorizationRule => ({ from: [{ source }] });
const to = (operation: object): AuthorizationRule => ({ to: [{ operation }] });
const when = (condition: object): AuthorizationRule => ({
  when: [condition as never],
});
/** "Not" of a field. */
const not = (field: string): string =>
  `not${field.charAt(0).toUpperCase()}${field.slice(1)}`;

/** How a list is written, and which call has such a value; "missing": a call that has none, where there is one. */
const LISTS: Readonly<
  Record<
    string,
    {
      readonly some: (values: string[]) => AuthorizationRule;
      readonly none: (values: string[]) => AuthorizationRule;
      readonly call: (value: string) => Call;
      readonly missing?: Call;
    }
  >
> = {
  principals: ofSource("principals", (peer) => ({ peer }), { peer: undefined }),
  namespaces: ofSource(
    "namespaces",
    (namespace) => ({ peer: `cluster.local/ns/${namespace}/sa/x` }),
    { peer: undefined },
  ),
  trustDomains: ofSource(
    "trustDomains",
    (domain) => ({ peer: `${domain}/ns/foo/sa/x` }),
    { peer: undefined },
  ),
  hosts: ofOperation("hosts", (host) => ({ host })),
  paths: ofOperation("paths", (path) => ({ path })),
  methods: ofOperation("methods", (method) => ({ method })),
  header: ofCondition(
    "request.headers[x-id]",
    (value) => ({ headers: { "x-id": value } }),
    { headers: {} },
  ),
  "source.namespace": ofCondition(
    "source.namespace",
    (namespace) => ({ peer: `cluster.local/ns/${namespace}/sa/x` }),
    { peer: undefined },
  ),
  "source.principal": ofCondition("source.principal", (peer) => ({ peer }), {
    peer: undefined,
  }),
};

type List = (typeof LISTS)[string];

function ofSource(
  field: string,
  call: List["call"],
  missing: Call,
): NonNullable<List> {
  return {
    some: (values) => from({ [field]: values }),
    none: (values) => from({ [not(field)]: values }),
    call,
    missing,
  };
}

function ofOperation(field: string, call: List["call"]): NonNullable<List> {
  return {
    some: (values) => to({ [field]: values }),
    none: (values) => to({ [not(field)]: values }),
    call,
  };
}

function ofCondition(
  key: string,
  call: List["call"],
  missing: Call,
): NonNullable<List> {
  return {
    some: (values) => when({ key, values }),
    none: (notValues) => when({ key, notValues }),
    call,
    missing,
  };
}

void t.test(
  "strings: exact, prefix, suffix and presence; and all of it negated",
  (t) => {
    for (const [name, text, value, among] of STRINGS) {
      const list = LISTS[name];
      if (list === undefined) throw new Error(name);
      const values = text.split(" ");
      const label = `${name} ${text} and ${value}`;
      t.strictSame(
        takes(list.some(values), list.call(value)),
        both(among),
        label,
      );
      t.strictSame(
        takes(list.none(values), list.call(value)),
        both(!among),
        `not ${label}`,
      );
    }
    t.end();
  },
);

void t.test(
  "a value that is missing is in no list, and in none that is negated",
  (t) => {
    for (const [name, { some, none, missing }] of Object.entries(LISTS)) {
      if (missing === undefined) continue;
      const value = /rincipal/.test(name) ? P : "foo";
      for (const values of [[value], ["*"]]) {
        t.strictSame(takes(some(values), missing), both(false), name);
        t.strictSame(takes(none(values), missing), both(true), `not ${name}`);
      }
    }
    t.end();
  },
);

const ADDRESSES: readonly (readonly [
  (values: string[]) => AuthorizationRule,
  (values: string[]) => AuthorizationRule,
  (address: string) => Call,
])[] = [
  [
    (ipBlocks) => from({ ipBlocks }),
    (notIpBlocks) => from({ notIpBlocks }),
    (source) => ({ source }),
  ],
  [
    (remoteIpBlocks) => from({ remoteIpBlocks }),
    (notRemoteIpBlocks) => from({ notRemoteIpBlocks }),
    (address) => ({ headers: { "x-forwarded-for": `1.2.3.4, ${address}` } }),
  ],
  [
    (values) => when({ key: "source.ip", values }),
    (notValues) => when({ key: "source.ip", notValues }),
    (source) => ({ source }),
  ],
  [
    (values) => when({ key: "remote.ip", values }),
    (notValues) => when({ key: "remote.ip", notValues }),
    (address) => ({ headers: { "x-forwarded-for": address } }),
  ],
  [
    (values) => when({ key: "destination.ip", values }),
    (notValues) => when({ key: "destination.ip", notValues }),
    (destination) => ({ destination }),
  ],
];

void t.test("addresses and ranges, of each kind of address", (t) => {
  for (const [some, none, call] of ADDRESSES)
    for (const [text, address, among] of RANGES) {
      const values = text.split(" ");
      const label = `${JSON.stringify(some(values))} and ${address}`;
      t.strictSame(takes(some(values), call(address)), both(among), label);
      t.strictSame(takes(none(values), call(address)), both(!among), label);
    }
  t.end();
});

/** Rule, call, and whether ALLOW and DENY take it: rules of several parts, service accounts, ports, and TCP. */
const RULES: readonly (readonly [
  AuthorizationRule,
  Call,
  boolean | { readonly ALLOW: boolean; readonly DENY: boolean },
])[] = [
  [{}, {}, true],
  [{}, { tcp: true }, true],
  [from({ serviceAccounts: ["bar"] }), {}, true],
  [from({ serviceAccounts: ["foo/bar"] }), {}, true],
  [from({ serviceAccounts: ["baz"] }), {}, false],
  [from({ serviceAccounts: ["ns2/bar"] }), {}, false],
  [from({ serviceAccounts: ["ns2/bar", "bar"] }), {}, true],
  [from({ serviceAccounts: ["bar"] }), { peer: "td2/ns/foo/sa/bar" }, true],
  [from({ serviceAccounts: ["bar"] }), { peer: undefined }, false],
  [from({ notServiceAccounts: ["bar"] }), {}, false],
  [from({ notServiceAccounts: ["baz"] }), {}, true],
  [from({ notServiceAccounts: ["bar"] }), { peer: undefined }, true],
  [when({ key: "source.serviceAccount", values: ["bar"] }), {}, true],
  [when({ key: "source.serviceAccount", notValues: ["bar"] }), {}, false],
  [to({ ports: ["8080"] }), {}, true],
  [to({ ports: ["80"] }), {}, false],
  [to({ ports: ["80", "8080"] }), {}, true],
  [to({ notPorts: ["80"] }), {}, true],
  [to({ notPorts: ["8080"] }), {}, false],
  [when({ key: "destination.port", values: ["8080"] }), {}, true],
  [when({ key: "destination.port", values: ["80"] }), {}, false],
  [when({ key: "destination.port", notValues: ["80"] }), {}, true],
  // All lists of a source, all of an operation; any source, any operation; all conditions.
  [from({ principals: [P], namespaces: ["foo"] }), {}, true],
  [from({ principals: [P], namespaces: ["bar"] }), {}, false],
  [from({ namespaces: ["foo"], notPrincipals: [P] }), {}, false],
  [from({ namespaces: ["foo"], ipBlocks: ["10.1.2.3"] }), {}, true],
  [from({ namespaces: ["foo"], ipBlocks: ["10.1.2.4"] }), {}, false],
  [
    {
      from: [
        { source: { namespaces: ["x"] } },
        { source: { principals: [P] } },
      ],
    },
    {},
    true,
  ],
  [
    {
      from: [
        { source: { namespaces: ["x"] } },
        { source: { principals: ["y/*"] } },
      ],
    },
    {},
    false,
  ],
  [to({ methods: ["GET"], paths: ["/info*"] }), { path: "/info" }, true],
  [to({ methods: ["POST"], paths: ["/info*"] }), { path: "/info" }, false],
  [
    to({ paths: ["/info*"], notPaths: ["/info/x"] }),
    { path: "/info/x" },
    false,
  ],
  [to({ paths: ["/info*"], notPaths: ["/info/x"] }), { path: "/info/y" }, true],
  [
    {
      to: [
        { operation: { methods: ["GET"], paths: ["/info*"] } },
        { operation: { methods: ["POST"], paths: ["/data"] } },
      ],
    },
    { method: "POST", path: "/data" },
    true,
  ],
  [
    {
      to: [
        { operation: { methods: ["GET"], paths: ["/info*"] } },
        { operation: { methods: ["POST"], paths: ["/data"] } },
      ],
    },
    { method: "GET", path: "/data" },
    false,
  ],
  [{ ...from({ namespaces: ["foo"] }), ...to({ methods: ["GET"] }) }, {}, true],
  [{ ...from({ namespaces: ["x"] }), ...to({ methods: ["GET"] }) }, {}, false],
  [
    { ...from({ namespaces: ["foo"] }), ...to({ methods: ["PUT"] }) },
    {},
    false,
  ],
  [
    {
      when: [
        { key: "request.headers[a]", values: ["1"] },
        { key: "request.headers[b]", values: ["2"] },
      ],
    },
    { headers: { a: "1", b: "2" } },
    true,
  ],
  [
    {
      when: [
        { key: "request.headers[a]", values: ["1"] },
        { key: "request.headers[b]", values: ["2"] },
      ],
    },
    { headers: { a: "1" } },
    false,
  ],
  [
    when({ key: "request.headers[a]", values: ["x*"], notValues: ["xy"] }),
    { headers: { a: "xy" } },
    false,
  ],
  [
    when({ key: "request.headers[User-Agent]", values: ["curl/*"] }),
    { headers: { "user-agent": "curl/8" } },
    true,
  ],
  // TCP: an ALLOW's rule with a field of HTTP is ignored; a DENY's is taken without that field.
  [to({ methods: ["GET"] }), { tcp: true }, { ALLOW: false, DENY: true }],
  [to({ notMethods: ["GET"] }), { tcp: true }, { ALLOW: false, DENY: true }],
  [to({ hosts: ["*"] }), { tcp: true }, { ALLOW: false, DENY: true }],
  [to({ notHosts: ["a"] }), { tcp: true }, { ALLOW: false, DENY: true }],
  [to({ paths: ["/"] }), { tcp: true }, { ALLOW: false, DENY: true }],
  [to({ notPaths: ["/"] }), { tcp: true }, { ALLOW: false, DENY: true }],
  [
    to({ methods: ["GET"], ports: ["8080"] }),
    { tcp: true },
    { ALLOW: false, DENY: true },
  ],
  [to({ methods: ["GET"], ports: ["80"] }), { tcp: true }, false],
  [
    {
      to: [
        { operation: { methods: ["GET"] } },
        { operation: { ports: ["8080"] } },
      ],
    },
    { tcp: true },
    { ALLOW: false, DENY: true },
  ],
  [
    {
      ...to({ ports: ["8080"] }),
      ...when({ key: "request.headers[a]", values: ["1"] }),
    },
    { tcp: true },
    { ALLOW: false, DENY: true },
  ],
  [
    {
      ...to({ ports: ["80"] }),
      ...when({ key: "request.headers[a]", values: ["1"] }),
    },
    { tcp: true },
    false,
  ],
  [
    when({ key: "request.headers[a]", notValues: ["1"] }),
    { tcp: true },
    { ALLOW: false, DENY: true },
  ],
  [to({ ports: ["8080"] }), { tcp: true }, true],
  [to({ notPorts: ["8080"] }), { tcp: true }, false],
  [from({ principals: [P] }), { tcp: true }, true],
  [from({ namespaces: ["x"] }), { tcp: true }, false],
  [from({ ipBlocks: ["10.0.0.0/8"] }), { tcp: true }, true],
  [from({ notIpBlocks: ["10.0.0.0/8"] }), { tcp: true }, false],
  [when({ key: "destination.port", values: ["8080"] }), { tcp: true }, true],
  [when({ key: "source.namespace", values: ["foo"] }), { tcp: true }, true],
];

void t.test("rules of several parts, service accounts, ports and TCP", (t) => {
  for (const [rule, call, expected] of RULES)
    t.strictSame(
      takes(rule, call),
      typeof expected === "boolean" ? both(expected) : expected,
      `${JSON.stringify(rule)} ${JSON.stringify(call)}`,
    );
  t.ok(rows >= 300, `${rows} rows`);
  t.end();
});
