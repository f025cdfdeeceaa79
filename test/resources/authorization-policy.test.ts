/** Validation of an AuthorizationPolicy: nothing ambiguous, and no value that could never match (model, traps 1, 3, 5, 7). */
import t from "tap";
import { AUTHORIZATION_POLICY } from "../../src/resources/authorization-policy/schema.ts";
import { validate } from "../../src/resources/validate.ts";
import {
  resourceOf,
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const SOURCE = "spec.rules[0].from[0].source";
const OPERATION = "spec.rules[0].to[0].operation";

const source = (lists: object, ...expected: Expected[]): Case => [
  JSON.stringify(lists),
  { rules: [{ from: [{ source: lists }] }] },
  ...expected,
];
const operation = (lists: object, ...expected: Expected[]): Case => [
  JSON.stringify(lists),
  { action: "DENY", rules: [{ to: [{ operation: lists }] }] },
  ...expected,
];

void t.test("what is empty (trap 1)", (t) => {
  runCases(t, AUTHORIZATION_POLICY, [
    ["{} allows nothing", {}],
    ["rules: [{}] is every request", { rules: [{}] }],
    ["DENY with rules: [{}] denies all", { action: "DENY", rules: [{}] }],
    [
      "DENY without rules has no effect",
      { action: "DENY" },
      ["spec.rules", /no effect; write rules: \[\{\}\]/],
    ],
    ["rules: []", { rules: [] }, ["spec.rules", /ambiguous; leave rules out/]],
    [
      "from: []",
      { rules: [{ from: [] }] },
      ["spec.rules[0].from", /ambiguous \(any, or none\?\)/],
    ],
    [
      "to: []",
      { rules: [{ to: [] }] },
      ["spec.rules[0].to", /ambiguous \(any, or none\?\)/],
    ],
    source({ principals: [] }, [`${SOURCE}.principals`, /ambiguous/]),
    source({}, [SOURCE, /ambiguous/]),
    operation({ methods: [] }, [`${OPERATION}.methods`, /ambiguous/]),
    operation({ ports: [] }, [`${OPERATION}.ports`, /ambiguous/]),
    operation({}, [OPERATION, /ambiguous/]),
    [
      "from without source",
      { rules: [{ from: [{}] }] },
      ["spec.rules[0].from[0].source", /is required/],
    ],
    ["a null spec", null, ["spec", /write \{\}/]],
  ]);
  t.end();
});

void t.test("selector and action", (t) => {
  runCases(t, AUTHORIZATION_POLICY, [
    ["a selector", { selector: { matchLabels: { app: "web" } } }],
    [
      "an empty selector",
      { selector: { matchLabels: {} } },
      ["spec.selector.matchLabels", /is empty/],
    ],
    [
      "a selector without labels",
      { selector: {} },
      ["spec.selector.matchLabels", /is required/],
    ],
    [
      "matchExpressions",
      { selector: { matchLabels: { a: "b" }, matchExpressions: [] } },
      ["spec.selector.matchExpressions", /unknown field/],
    ],
    ["AUDIT", { action: "AUDIT", rules: [{}] }],
    [
      "AUDIT without rules has no effect",
      { action: "AUDIT" },
      ["spec.rules", /no effect; write rules: \[\{\}\]/],
    ],
    [
      "LOG",
      { action: "LOG" },
      ["spec.action", /not one of ALLOW, DENY, AUDIT, CUSTOM/],
    ],
  ]);
  t.end();
});

void t.test("source", (t) => {
  runCases(t, AUTHORIZATION_POLICY, [
    source({
      principals: [
        "cluster.local/ns/shop/sa/web",
        "cluster.local/ns/shop/*",
        "*",
      ],
      notPrincipals: ["*/sa/admin"],
      namespaces: ["shop", "team-*", "*-prod"],
      notNamespaces: ["*"],
    }),
    source({ principals: ["spiffe://cluster.local/ns/a/sa/b"] }, [
      `${SOURCE}.principals[0]`,
      /without "spiffe:\/\/"/,
    ]),
    source({ notPrincipals: ["shop/web"] }, [
      `${SOURCE}.notPrincipals[0]`,
      /could match nobody/,
    ]),
    source({ principals: ["cluster.local/*/sa/web"] }, [
      `${SOURCE}.principals[0]`,
      /one "\*", at its start or at its end/,
    ]),
    ...[
      "cluster.local/ns/shop/web*",
      "cluster.local/sa*",
      "cluster.local/ns/shop/sa/web/*",
      "Cluster.local/*",
      "*/na/shop/sa/x",
      "*x/shop/sa/y",
      "*/a/ns/shop/sa/x",
      "*@",
      "cluster.local/ns/shop/sa/",
    ].map((value) =>
      source({ principals: [value] }, [
        `${SOURCE}.principals[0]`,
        /could match nobody/,
      ]),
    ),
    source({
      principals: [
        "cluster.local*",
        "cluster.local/n*",
        "cluster.local/ns/*",
        "cluster.local/ns/shop/s*",
        "cluster.local/ns/shop/sa/we*",
        "*s/shop/sa/web",
        "*op/sa/web",
        "*/sa/web",
        "*a/web",
        "*.local/ns/shop/sa/web",
        "*",
      ],
    }),
    source({ namespaces: ["*shop*"] }, [`${SOURCE}.namespaces[0]`, /one "\*"/]),
    source({ namespaces: ["Shop"] }, [
      `${SOURCE}.namespaces[0]`,
      /not the name of a namespace/,
    ]),
    source({ namespaces: [""] }, [
      `${SOURCE}.namespaces[0]`,
      /must not be empty/,
    ]),
    source({
      ipBlocks: ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1"],
      notIpBlocks: ["10.9.9.9/16"],
      remoteIpBlocks: ["0.0.0.0/0"],
      notRemoteIpBlocks: ["2001:db8::/32"],
      trustDomains: ["cluster.local", "*.td", "*"],
      notTrustDomains: ["old-*"],
    }),
    ...[
      "ipBlocks",
      "notIpBlocks",
      "remoteIpBlocks",
      "notRemoteIpBlocks",
    ].flatMap((list) =>
      ["10.0.0.0/33", "10.0.0", "*", "fe80::1%eth0", "10.0.0.0/8/8"].map(
        (value) =>
          source({ [list]: [value] }, [
            `${SOURCE}.${list}[0]`,
            /is not an IP address or a CIDR range/,
          ]),
      ),
    ),
    source({ trustDomains: ["Cluster.local"] }, [
      `${SOURCE}.trustDomains[0]`,
      /not a trust domain/,
    ]),
    source({ trustDomains: ["a*b"] }, [
      `${SOURCE}.trustDomains[0]`,
      /one "\*"/,
    ]),
    source({ serviceAccounts: ["shop/web", "web"], trustDomains: ["td"] }),
    source({ notServiceAccounts: ["shop/web"], ipBlocks: ["10.0.0.0/8"] }),
    ...["*", "web*", "a/b/c", "/web", "shop/", "Shop/web"].map((value) =>
      source({ serviceAccounts: [value] }, [
        `${SOURCE}.serviceAccounts[0]`,
        /NAMESPACE\/ACCOUNT or ACCOUNT, without wildcards/,
      ]),
    ),
    source({ serviceAccounts: Array.from({ length: 17 }, () => "web") }, [
      `${SOURCE}.serviceAccounts`,
      /16/,
    ]),
    ...["principals", "notNamespaces"].map((list) =>
      source({ serviceAccounts: ["web"], [list]: ["*"] }, [
        `${SOURCE}.serviceAccounts`,
        new RegExp(`must not stand beside ${list}`),
      ]),
    ),
    source({ requestPrincipals: ["*", "https://idp/*", "*/bob", "idp/bob"] }),
    source({ notRequestPrincipals: ["https://idp/bob"] }),
    source({ requestPrincipals: ["bob"] }, [
      `${SOURCE}.requestPrincipals[0]`,
      /such as ISSUER\/SUBJECT, so it could match nobody/,
    ]),
    source({ requestPrincipals: ["a/*/b"] }, [
      `${SOURCE}.requestPrincipals[0]`,
      /may have one "\*"/,
    ]),
    source({ principal: ["a"] }, [
      `${SOURCE}.principal`,
      /did you mean "principals"\?/,
    ]),
  ]);
  t.end();
});

void t.test("operation", (t) => {
  runCases(t, AUTHORIZATION_POLICY, [
    operation({
      methods: ["GET", "PROPFIND", "P*", "*"],
      notMethods: ["DELETE"],
      paths: ["/api", "/api/*", "*.html", "*", "/a/{*}/b", "/files/{**}"],
      notPaths: ["/api/admin"],
      hosts: ["orders.shop", "*.Example.com", "[::1]", "*"],
      notHosts: ["internal.*"],
      ports: ["8080"],
      notPorts: ["9090"],
    }),
    operation({ methods: ["get"] }, [
      `${OPERATION}.methods[0]`,
      /compared with regard to case; write GET/,
    ]),
    operation({ methods: ["GET POST"] }, [
      `${OPERATION}.methods[0]`,
      /not a method/,
    ]),
    operation({ paths: ["api"] }, [
      `${OPERATION}.paths[0]`,
      /must start with "\/" or "\*"/,
    ]),
    operation({ notPaths: ["/api/*/admin"] }, [
      `${OPERATION}.notPaths[0]`,
      /use \{\*\} for one path element/,
    ]),
    operation({ paths: ["/a?b"] }, [`${OPERATION}.paths[0]`, /without query/]),
    operation({ paths: ["/a#b"] }, [`${OPERATION}.paths[0]`, /has "#"/]),
    operation({
      paths: ["/{**}/a", "/store/{**}/cart", "/{*}/x/{**}/y/z", "/a/{**}/"],
      hosts: ["orders.shop:*", "*.example.com:*", "[::1]:*"],
    }),
    ...["/{**}/{*}", "/{**}/a/{**}"].map((path) =>
      operation({ paths: [path] }, [
        `${OPERATION}.paths[0]`,
        /only text after "\{\*\*\}"/,
      ]),
    ),
    operation({ hosts: ["*:*:*"] }, [`${OPERATION}.hosts[0]`, /has a port/]),
    operation({ paths: ["/a{*}"] }, [`${OPERATION}.paths[0]`, /path template/]),
    operation({ paths: ["/{id}"] }, [
      `${OPERATION}.paths[0]`,
      /"\{id\}" is none/,
    ]),
    operation({ paths: ["/{*}/a*"] }, [
      `${OPERATION}.paths[0]`,
      /"a\*" is none/,
    ]),
    operation({ paths: ["{*}"] }, [
      `${OPERATION}.paths[0]`,
      /must start with "\/"/,
    ]),
    operation({ paths: ["/a//b"] }, [`${OPERATION}.paths[0]`, /normalised/]),
    operation({ paths: ["/%61dmin"] }, [
      `${OPERATION}.paths[0]`,
      /"%61".*pathNormalization/,
    ]),
    operation({ hosts: ["orders.shop:80"] }, [
      `${OPERATION}.hosts[0]`,
      /has a port.*use ports/,
    ]),
    operation({ hosts: ["[::1]:80"] }, [`${OPERATION}.hosts[0]`, /has a port/]),
    operation({ hosts: ["http://a"] }, [`${OPERATION}.hosts[0]`, /has a port/]),
    operation({ hosts: ["a b"] }, [`${OPERATION}.hosts[0]`, /not a host name/]),
    ...["a.shop.", "*.shop."].map((host) =>
      operation({ hosts: [host] }, [
        `${OPERATION}.hosts[0]`,
        /could match nothing: .*without the final dot/,
      ]),
    ),
    ...["a..shop", "..a", ".a", "a..*", "*..a"].map((host) =>
      operation({ notHosts: [host] }, [
        `${OPERATION}.notHosts[0]`,
        /no host has an empty label/,
      ]),
    ),
    operation({ hosts: ["[::1"] }, [`${OPERATION}.hosts[0]`, /has a port/]),
    operation({ hosts: ["*"] }),
    operation({ methods: ["FETCH"] }, [
      `${OPERATION}.methods[0]`,
      /could match nothing: .*refused with 501; expected one of GET/,
    ]),
    operation({ methods: ["X*"] }, [`${OPERATION}.methods[0]`, /501/]),
    operation({ methods: ["*X"] }, [`${OPERATION}.methods[0]`, /501/]),
    operation({ methods: ["*", "DEL*", "*ETE"] }),
    operation({ methods: [""] }, [`${OPERATION}.methods[0]`, /./]),
    operation({ paths: ["/caf\u00e9"] }, [
      `${OPERATION}.paths[0]`,
      /could match nothing: .*write %C3%A9/,
    ]),
    operation({ paths: ["/a b"] }, [`${OPERATION}.paths[0]`, /write %20/]),
    operation({ paths: ["/caf%c3%a9"] }),
    ...["/a/../b", "/a/./b", "/a%2fb", '/a"b', "/a<b", "/a\\b"].map((path) =>
      operation({ paths: [path] }, [`${OPERATION}.paths[0]`, /normalised/]),
    ),
    operation({ ports: [8080] }, [`${OPERATION}.ports[0]`, /put it in quotes/]),
    operation({ ports: ["http"] }, [
      `${OPERATION}.ports[0]`,
      /in quotes, such as/,
    ]),
    operation({ notPorts: ["70000"] }, [
      `${OPERATION}.notPorts[0]`,
      /not a port number/,
    ]),
    operation({ path: ["/"] }, [`${OPERATION}.path`, /did you mean "paths"\?/]),
  ]);
  t.end();
});

void t.test("when", (t) => {
  const AT = "spec.rules[0].when[0]";
  const condition = (when: object, ...expected: Expected[]): Case => [
    JSON.stringify(when),
    { rules: [{ when: [when] }] },
    ...expected,
  ];
  const values = (key: string, value: string, ...expected: Expected[]): Case =>
    condition({ key, values: [value] }, ...expected);
  runCases(t, AUTHORIZATION_POLICY, [
    values("request.headers[X-Team]", "blue*"),
    values("source.ip", "10.0.0.0/8"),
    values("remote.ip", "fd00::1"),
    values("destination.ip", "10.0.0.1"),
    values("source.namespace", "team-*"),
    values("source.principal", "cluster.local/ns/shop/sa/web"),
    values("source.serviceAccount", "shop/web"),
    values("destination.port", "8080"),
    condition({ key: "source.namespace", values: ["a"], notValues: ["b"] }),
    [
      "when: []",
      { rules: [{ when: [] }] },
      ["spec.rules[0].when", /ambiguous/],
    ],
    condition({ key: "source.ip" }, [AT, /must have values or notValues/]),
    condition({ values: ["a"] }, [`${AT}.key`, /is required/]),
    condition({ key: "source.ip", values: [] }, [`${AT}.values`, /ambiguous/]),
    values("source.ip", "shop", [`${AT}.values[0]`, /CIDR range/]),
    condition({ key: "remote.ip", notValues: ["*"] }, [
      `${AT}.notValues[0]`,
      /CIDR range/,
    ]),
    values("destination.port", "0", [`${AT}.values[0]`, /not a port number/]),
    values("destination.port", "65536", [
      `${AT}.values[0]`,
      /not a port number/,
    ]),
    values("source.principal", "shop/web", [
      `${AT}.values[0]`,
      /could match nobody/,
    ]),
    values("source.serviceAccount", "*", [
      `${AT}.values[0]`,
      /without wildcards/,
    ]),
    values("request.headers[X-Team]", "a*b", [`${AT}.values[0]`, /one "\*"/]),
    values("request.headers[:path]", "/a", [`${AT}.key`, /write hosts/]),
    values("request.headers[X Team]", "a", [`${AT}.key`, /no header name/]),
    values("request.headers[]", "a", [`${AT}.key`, /not a key/]),
    values("experimental.envoy.x", "a", [
      `${AT}.key`,
      /not supported by this version/,
    ]),
    values("request.auth.principal", "https://idp/bob"),
    values("request.auth.principal", "bob", [
      `${AT}.values[0]`,
      /could match nobody/,
    ]),
    values("request.auth.audiences", "shop"),
    values("request.auth.claims[groups]", "admin*"),
    values("request.auth.claims[realm_access][roles]", "admin"),
    values("request.auth.claims[https://example.com/role]", "owner"),
    values("request.auth.claims[scope]", "a*b", [
      `${AT}.values[0]`,
      /one "\*"/,
    ]),
    ...["claims", "claims[]", "claims[a]b", "claims[a][]", "subject"].map(
      (key) => values(`request.auth.${key}`, "a", [`${AT}.key`, /not a key/]),
    ),
    values("source.ipp", "a", [
      `${AT}.key`,
      /not a key of a condition.*did you mean "source.ip"\?/,
    ]),
  ]);
  t.end();
});

void t.test("what Kubernetes writes around it is taken off", (t) => {
  const written = {
    ...resourceOf(AUTHORIZATION_POLICY, { rules: [{}] }),
    apiVersion: "security.istio.io/v1beta1",
    metadata: {
      name: "sample",
      namespace: "shop",
      generation: 2,
      managedFields: [{ manager: "kubectl" }],
      ownerReferences: [],
      finalizers: ["x"],
      selfLink: "/x",
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
    },
  };
  const before = JSON.stringify(written);
  const result = validate(written);
  t.match(result, {
    ok: true,
    resource: { apiVersion: "security.istio.io/v1" },
    warnings: [],
  });
  t.strictSame(result.ok && Object.keys(result.resource.metadata), [
    "name",
    "namespace",
    "generation",
    "annotations",
  ]);
  t.equal(JSON.stringify(written), before, "what was given is as it was");
  t.match(validate({ ...written, apiVersion: "security.istio.io/v1alpha1" }), {
    ok: false,
  });
  t.end();
});
