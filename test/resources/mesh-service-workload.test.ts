/** Mesh, Service, Workload and PeerAuthentication: what is admitted, and the settings that result. */
import t from "tap";
import {
  MESH,
  MESH_DEFAULTS,
  meshSettings,
  type MeshSpec,
} from "../../src/resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../src/resources/peer-authentication/schema.ts";
import {
  appProtocolOf,
  findPort,
  isExportedTo,
  SERVICE,
  targetPortOf,
} from "../../src/resources/service/schema.ts";
import {
  applicationPort,
  WORKLOAD,
  workloadSettings,
} from "../../src/resources/workload/schema.ts";
import {
  compare,
  problemsOf,
  resourceOf,
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const authorization = { defaultAction: "DENY" } as const;

void t.test("Mesh", (t) => {
  const mesh = (fields: object, ...expected: Expected[]): Case => [
    JSON.stringify(fields),
    { authorization, ...fields },
    ...expected,
  ];
  runCases(t, MESH, [
    [
      "no default action",
      { trustDomain: "cluster.local" },
      ["spec.authorization", /is required/],
    ],
    mesh({ authorization: {} }, [
      "spec.authorization.defaultAction",
      /is required/,
    ]),
    mesh({ authorization: { defaultAction: "AUDIT" } }, [
      "spec.authorization.defaultAction",
      /not one of ALLOW, DENY/,
    ]),
    mesh({ authorization: { defaultAction: "ALLOW" } }),
    mesh({ trustDomain: "Cluster" }, ["spec.trustDomain", /DNS-1123/]),
    mesh({ trustDomainAliases: ["old.example", "older.example"] }),
    mesh({ trustDomainAliases: [] }, ["spec.trustDomainAliases", /is empty/]),
    mesh({ trustDomainAliases: ["Old.example"] }, [
      "spec.trustDomainAliases[0]",
      /"Old.example"/,
    ]),
    mesh({ extensionProviders: [] }, [
      "spec.extensionProviders",
      /write spec.authorization.providers/,
    ]),
    mesh({ mtls: { mode: "PERMISSIVE", certificateTTL: "1h", rotateAt: 0.9 } }),
    mesh({ mtls: { mode: "MUTUAL" } }, ["spec.mtls.mode", /not one of STRICT/]),
    mesh({ mtls: { certificateTTL: "10s" } }, [
      "spec.mtls.certificateTTL",
      /from 1m to 2160h, not 10s/,
    ]),
    mesh({ mtls: { certificateTTL: "2161h" } }, [
      "spec.mtls.certificateTTL",
      /from 1m to 2160h/,
    ]),
    mesh({ mtls: { renewExpiredFor: "0s" } }),
    mesh({ mtls: { renewExpiredFor: "2160h" } }),
    mesh({ mtls: { renewExpiredFor: "2161h" } }, [
      "spec.mtls.renewExpiredFor",
      /from 0s to 2160h, not 2161h/,
    ]),
    mesh({ mtls: { rotateAt: 1 } }, ["spec.mtls.rotateAt", /1 is above 0.9/]),
    ...["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"].map(
      (pathNormalization) => mesh({ pathNormalization }),
    ),
    mesh({ pathNormalization: "MERGE" }, [
      "spec.pathNormalization",
      /not one of NONE, BASE/,
    ]),
    mesh({ outboundTrafficPolicy: "REGISTRY_ONLY" }),
    mesh({ privateFetch: { hosts: ["idp.corp"], ranges: ["10.0.0.0/8"] } }),
    mesh({ privateFetch: { ranges: ["10.0.0.0/99"] } }, [
      "spec.privateFetch.ranges[0]",
      /is not an IP address or a CIDR range/,
    ]),
    mesh({ privateFetch: { hosts: ["https://idp.corp"] } }, [
      "spec.privateFetch.hosts[0]",
      /is not a host name or an IP address/,
    ]),
    mesh({ outboundTrafficPolicy: { mode: "REGISTRY_ONLY" } }, [
      "spec.outboundTrafficPolicy",
      /is not one of ALLOW_ANY, REGISTRY_ONLY/,
    ]),
    mesh({
      defaults: {
        timeouts: { connect: "1s", streamIdle: "0s", request: "0s" },
        retry: { attempts: 0, on: ["connect-failure"] },
        tracing: { randomSamplingPercentage: 0.01 },
      },
    }),
    mesh({ defaults: { timeouts: { connect: "0s" } } }, [
      "spec.defaults.timeouts.connect",
      /must be above 0/,
    ]),
    mesh({ defaults: { retry: { on: [] } } }, [
      "spec.defaults.retry.on",
      /is empty/,
    ]),
    mesh({ defaults: { retry: { on: ["5xx"] } } }, [
      "spec.defaults.retry.on[0]",
      /not one of connect-failure/,
    ]),
    mesh({ defaults: { tracing: { randomSamplingPercentage: 101 } } }, [
      "spec.defaults.tracing.randomSamplingPercentage",
      /101 is above 100/,
    ]),
    mesh({ defaults: { tracing: { propagators: ["b3multi", "b3"] } } }),
    mesh({ defaults: { tracing: { propagators: ["jaeger"] } } }, [
      "spec.defaults.tracing.propagators[0]",
      /not one of b3, b3multi/,
    ]),
    mesh({ defaults: { tracing: { propagators: [] } } }, [
      "spec.defaults.tracing.propagators",
      /is empty/,
    ]),
    mesh({ defaults: { tracing: { propagators: ["b3", "b3"] } } }, [
      "spec.defaults.tracing.propagators",
      /twice|unique|repeated|same/,
    ]),
  ]);
  void t.test("there is one, called default", (t) => {
    compare(t, problemsOf(resourceOf(MESH, { authorization }, { name: "b" })), [
      ["metadata.name", /must be "default"/],
    ]);
    t.end();
  });
  void t.test("its settings are complete", (t) => {
    t.strictSame(meshSettings(undefined), MESH_DEFAULTS);
    t.strictSame(meshSettings({ authorization }), {
      ...MESH_DEFAULTS,
      authorization: { ...authorization, providers: [] },
    });
    const spec: MeshSpec = {
      trustDomain: "prod.example",
      trustDomainAliases: ["old.example"],
      mtls: { mode: "PERMISSIVE", certificateTTL: "1h30m", rotateAt: 0.4 },
      authorization,
      pathNormalization: "BASE",
      trustedHops: 2,
      outboundTrafficPolicy: "REGISTRY_ONLY",
      privateFetch: { hosts: ["IdP.corp"] },
      hostClaims: [{ hosts: ["a.example"], namespaces: ["shop"] }],
      defaults: {
        timeouts: { streamIdle: "10s", request: "2s" },
        retry: { attempts: 2 },
        tracing: { randomSamplingPercentage: 100 },
      },
    };
    t.strictSame(meshSettings(spec), {
      ...spec,
      authorization: { ...authorization, providers: [] },
      mtls: {
        mode: "PERMISSIVE",
        certificateTTL: 5_400_000,
        rotateAt: 0.4,
        renewExpiredFor: 2_592_000_000,
      },
      privateFetch: { hosts: ["idp.corp"], ranges: [] },
      defaults: {
        timeouts: { connect: 1000, streamIdle: 10_000, request: 2000 },
        retry: { attempts: 2, on: MESH_DEFAULTS.defaults.retry.on },
        tracing: { randomSamplingPercentage: 100, propagators: [] },
      },
    });
    t.end();
  });
  t.end();
});

void t.test("Service", (t) => {
  const selector = { app: "web" };
  const inside = (fields: object, ...expected: Expected[]): Case => [
    JSON.stringify(fields),
    { ports: [{ port: 80 }], selector, ...fields },
    ...expected,
  ];
  const outside = (fields: object, ...expected: Expected[]): Case => [
    `external ${JSON.stringify(fields)}`,
    {
      location: "MESH_EXTERNAL",
      hosts: ["api.example.com"],
      ports: [{ port: 443, appProtocol: "tls" }],
      ...fields,
    },
    ...expected,
  ];
  runCases(t, SERVICE, [
    inside({
      ports: ["http", "http2", "grpc", "tcp", "tls"].map(
        (appProtocol, index) => ({
          name: `p${index}`,
          port: 80 + index,
          targetPort: 8080,
          appProtocol,
        }),
      ),
      exportTo: [".", "team-a"],
      location: "MESH_INTERNAL",
    }),
    inside({ ports: [] }, ["spec.ports", /is empty/]),
    inside({ ports: [{ port: 80 }, { name: "b", port: 81 }] }, [
      "spec.ports[0].name",
      /required where there is more than one/,
    ]),
    inside(
      {
        ports: [
          { name: "a", port: 80 },
          { name: "a", port: 81 },
        ],
      },
      ["spec.ports[1].name", /a port named "a" is there already/],
    ),
    inside(
      {
        ports: [
          { name: "a", port: 80 },
          { name: "b", port: 80 },
        ],
      },
      ["spec.ports[1].port", /the port "80" is there already/],
    ),
    inside({ ports: [{ port: 80, targetPort: "http" }] }, [
      "spec.ports[0].targetPort",
      /must be a whole number, not the text "http"/,
    ]),
    inside({ ports: [{ port: 80, protocol: "TCP" }] }, [
      "spec.ports[0].protocol",
      /every port is TCP; remove it/,
    ]),
    inside({ ports: [{ port: 80, appProtocol: "mysql" }] }, [
      "spec.ports[0].appProtocol",
      /not one of http, http2, grpc, tcp, tls/,
    ]),
    inside({ selector: {} }, ["spec.selector", /is empty/]),
    [
      "no selector",
      { ports: [{ port: 80 }] },
      ["spec.selector", /is required/],
    ],
    inside({ exportTo: ["a.b"] }, [
      "spec.exportTo[0]",
      /is not "\*", "\." or the name of a namespace/,
    ]),
    inside({ exportTo: [] }, ["spec.exportTo", /is empty/]),
    inside({ hosts: ["a.example"] }, ["spec.hosts", /only with location/]),
    inside({ resolution: "DNS" }, ["spec.resolution", /only with location/]),
    inside({ clusterIP: "None" }, ["spec.clusterIP", /remove it/]),
    outside({}),
    outside({ resolution: "DNS" }),
    outside({
      resolution: "STATIC",
      endpoints: [{ address: "192.0.2.1" }, { address: "2001:db8::1" }],
    }),
    outside({ hosts: ["*.example.com", "*.a.example.com", "b.example.com"] }),
    ...["*", "a.*.com", "*a.example.com", "*.*.example.com", "*."].map((host) =>
      outside({ hosts: [host] }, ["spec.hosts[0]", /DNS-1123/]),
    ),
    outside({ hosts: ["*.com"] }, ["spec.hosts[0]", /top-level domain/]),
    outside({ hosts: ["*.a.b.c.d.e.f.g.h.i"] }, [
      "spec.hosts[0]",
      /more than 8 labels/,
    ]),
    outside({ hosts: ["*.1.2"] }, ["spec.hosts[0]", /IP address/]),
    outside({ hosts: ["*.shop.svc"] }, ["spec.hosts[0]", /own name/]),
    outside({ hosts: ["*.svc.cluster.local"] }, ["spec.hosts[0]", /own name/]),
    outside(
      {
        hosts: ["*.example.com"],
        resolution: "STATIC",
        endpoints: [{ address: "192.0.2.1" }],
      },
      ["spec.hosts[0]", /does not go with resolution: STATIC/],
    ),
    outside({ hosts: ["a.b", "a.b"] }, ["spec.hosts[1]", /is there already/]),
    outside({ selector }, ["spec.selector", /does not go with/]),
    outside({ ports: [{ port: 80, targetPort: 443 }] }),
    outside({ resolution: "STATIC" }, ["spec.endpoints", /is required/]),
    outside({ endpoints: [{ address: "192.0.2.1" }] }, [
      "spec.endpoints",
      /only with resolution: STATIC/,
    ]),
    outside({ resolution: "STATIC", endpoints: [{ address: "db.example" }] }, [
      "spec.endpoints[0].address",
      /not an IP address/,
    ]),
    [
      "external without hosts",
      { location: "MESH_EXTERNAL", ports: [{ port: 443 }] },
      ["spec.hosts", /is required/],
    ],
  ]);
  void t.test("its name has no dot, for callers write NAME.NAMESPACE", (t) => {
    const spec = { ports: [{ port: 80 }], selector };
    compare(t, problemsOf(resourceOf(SERVICE, spec, { name: "a.b" })), [
      ["metadata.name", /not a DNS-1123 label/],
    ]);
    t.end();
  });
  void t.test("ports and exports", (t) => {
    const ports = [{ name: "a", port: 80, targetPort: 8080 }, { port: 81 }];
    t.equal(findPort({ ports }, "a")?.port, 80);
    t.equal(findPort({ ports }, 81)?.port, 81);
    t.equal(findPort({ ports }, "81"), undefined);
    t.strictSame(ports.map(targetPortOf), [8080, 81]);
    t.strictSame(ports.map(appProtocolOf), ["http", "http"]);
    t.equal(appProtocolOf({ port: 3306 }), "tcp", "the server speaks first");
    t.equal(appProtocolOf({ port: 8025, targetPort: 25 }), "tcp");
    t.equal(appProtocolOf({ port: 25, appProtocol: "http" }), "http");
    for (const port of [5432, 6379, 11211, 27017])
      t.equal(appProtocolOf({ port }), "tcp", "the protocol is not HTTP");
    t.equal(appProtocolOf({ port: 6379, appProtocol: "http" }), "http");
    t.equal(appProtocolOf({ port: 5433 }), "http");
    t.ok(isExportedTo({ ports }, "shop", "any"));
    t.ok(isExportedTo({ ports, exportTo: ["."] }, "shop", "shop"));
    t.notOk(isExportedTo({ ports, exportTo: ["."] }, "shop", "b"));
    t.ok(isExportedTo({ ports, exportTo: [".", "b"] }, "shop", "b"));
    t.end();
  });
  t.end();
});

void t.test("Workload", (t) => {
  const workload = (fields: object, ...expected: Expected[]): Case => [
    JSON.stringify(fields),
    { address: "10.0.0.7", ...fields },
    ...expected,
  ];
  runCases(t, WORKLOAD, [
    workload({}),
    workload({
      ports: { http: 8080 },
      link: { port: 15008 },
      serviceAccount: "reviews",
      locality: "eu/a/1",
      weight: 1000,
      ttl: "15s",
      ready: false,
    }),
    workload({ address: "2001:db8::7" }),
    workload({ address: "reviews-1.internal" }),
    workload({ address: "reviews 1" }, [
      "spec.address",
      /neither an IP address nor a DNS name/,
    ]),
    ["no address", {}, ["spec.address", /is required/]],
    workload({ ports: { HTTP: 80 } }, ["spec.ports.HTTP", /DNS-1123 label/]),
    workload({ ports: { http: 0 } }, ["spec.ports.http", /not a port number/]),
    workload({ ports: { http: 15_008 }, link: { port: 15_008 } }, [
      "spec.ports.http",
      /the sidecar's own port/,
    ]),
    workload({ link: {} }, ["spec.link.port", /is required/]),
    workload({ locality: "eu//1" }, ["spec.locality", /region\/zone\/subzone/]),
    workload({ weight: 0 }, ["spec.weight", /0 is below 1/]),
    workload({ ttl: "500ms" }, ["spec.ttl", /at least 1s, not 500ms/]),
    workload({ ready: "yes" }, ["spec.ready", /must be true or false/]),
    workload({ ports: { http: 80 }, unreadyPorts: { http: "why" } }),
    workload({ ports: { http: 80 }, unreadyPorts: { https: "why" } }, [
      "spec.unreadyPorts.https",
      /is not a name in spec.ports/,
    ]),
    workload({ ports: { http: 80 }, unreadyPorts: { http: "a\nb" } }, [
      "spec.unreadyPorts.http",
      /is not a line of printable ASCII/,
    ]),
    workload({ labels: {} }, ["spec.labels", /are in metadata.labels/]),
  ]);
  void t.test("its settings are complete", (t) => {
    t.strictSame(workloadSettings({ address: "10.0.0.7" }), {
      address: "10.0.0.7",
      ports: {},
      link: undefined,
      unreadyPorts: undefined,
      serviceAccount: "default",
      locality: "",
      weight: 1,
      ttl: 15_000,
      ready: true,
    });
    const settings = workloadSettings({
      address: "10.0.0.7",
      link: { port: 1 },
      ttl: "1m",
      ready: false,
    });
    t.match(settings, { link: { port: 1 }, ttl: 60_000, ready: false });
    t.end();
  });
  void t.test("a Service's port leads only to a port that it declares", (t) => {
    const spec = { address: "10.0.0.7", ports: { http: 9000, admin: 8080 } };
    t.equal(applicationPort(spec, { name: "http", port: 80 }), 9000, "by name");
    t.equal(applicationPort(spec, { port: 80, targetPort: 8080 }), 8080);
    t.equal(applicationPort(spec, { name: "toString", port: 22 }), undefined);
    t.equal(applicationPort({ address: "10.0.0.7" }, { port: 80 }), undefined);
    t.end();
  });
  t.end();
});

void t.test("PeerAuthentication", (t) => {
  const selector = { matchLabels: { app: "web" } };
  runCases(t, PEER_AUTHENTICATION, [
    ["an empty spec inherits", {}],
    ...["STRICT", "PERMISSIVE", "DISABLE", "UNSET"].map((mode): Case => [
      mode,
      { mtls: { mode } },
    ]),
    [
      "an unknown mode",
      { mtls: { mode: "OFF" } },
      ["spec.mtls.mode", /not one of/],
    ],
    ["no mode", { mtls: {} }, ["spec.mtls.mode", /is required/]],
    [
      "a port of the workload",
      { selector, portLevelMtls: { 8080: { mode: "PERMISSIVE" } } },
    ],
    [
      "a port without selector",
      { portLevelMtls: { 8080: { mode: "DISABLE" } } },
      ["spec.portLevelMtls", /needs a selector/],
    ],
    [
      "a port's name",
      { selector, portLevelMtls: { http: { mode: "DISABLE" } } },
      ["spec.portLevelMtls.http", /not a workload's port number/],
    ],
    [
      "a port above 65535",
      { selector, portLevelMtls: { 70000: { mode: "DISABLE" } } },
      ['spec.portLevelMtls["70000"]', /not a port number/],
    ],
    [
      "no port",
      { selector, portLevelMtls: {} },
      ["spec.portLevelMtls", /is empty/],
    ],
  ]);
  t.end();
});
