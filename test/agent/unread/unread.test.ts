import t from "tap";
import { firstRequest } from "../../../src/agent/first-request.ts";
import {
  makeStaging,
  type Sealed,
  type Staging,
} from "../../../src/agent/staging.ts";
import { reportOf } from "../../../src/agent/unread/report.ts";
import { atOnce } from "../../../src/core/slices.ts";
import { deltaRequest, pushedResource } from "../../../src/push/codec.ts";
import type { DeltaResource } from "../../../src/push/messages.ts";
import { RESOURCE_TYPE, resourceName } from "../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import {
  MESH,
  route,
  service,
} from "../../support/control-plane/push-control-plane.ts";
import { digestOf } from "../../support/control-plane/digest.ts";
import { REQUEST } from "../../support/control-plane/raw-sidecar.ts";

type Versions = readonly (readonly [string, string])[];

/** As a newer control plane sends it. */
function pushed(resource: Resource, version: string): DeltaResource {
  const key = keyOf(resource);
  const json = Buffer.from(JSON.stringify(resource));
  return {
    name: resourceName(key),
    version,
    typeUrl: RESOURCE_TYPE,
    value: pushedResource.encode({ ...key, json }),
  };
}

/** With a field in its spec that no version knows. */
function newer(resource: Resource): Resource {
  return {
    ...resource,
    spec: { ...(resource.spec as object), fromTomorrow: 1 },
  };
}

function policy(action: string): Resource {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "p", namespace: "shop" },
    spec: { action, rules: [{ to: [{ operation: { methods: ["GET"] } }] }] },
  };
}

function pushTo(
  staging: Staging,
  resources: readonly DeltaResource[],
  versions: Versions,
): Extract<Sealed, { kind: "resources" }> {
  atOnce(staging.stage(resources));
  const sealed = atOnce(
    staging.seal({
      ...{ store: "s", revision: 1, accepted: false, selective: false },
      digest: digestOf(versions),
    }),
  );
  if (sealed.kind !== "resources") throw new Error(JSON.stringify(sealed));
  return sealed;
}

const start = (): Staging =>
  makeStaging({ resources: new Map(), lookups: new Map() }, 1_000_000);

void t.test(
  "what has unknown fields does not keep the rest of a push out",
  (t) => {
    const traffic: Resource = {
      ...service("limits"),
      kind: "TrafficPolicy",
      spec: {
        targetRefs: [
          { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
        ],
      },
    };
    const deep = route("deep", "orders");
    const [rule] = (deep.spec as { rules: object[] }).rules;
    const sealed = pushTo(
      start(),
      [
        pushed(MESH, "1"),
        pushed(newer(service("orders")), "2"),
        pushed(newer(policy("DENY")), "3"),
        pushed(newer(traffic), "4"),
        pushed(
          {
            ...deep,
            spec: {
              ...(deep.spec as object),
              rules: [rule, { ...rule, mood: "" }],
            },
          },
          "5",
        ),
        pushed(service("plain"), "6"),
        pushed({ ...service("x"), kind: "Tomorrow" }, "7"),
      ],
      [
        ["Mesh//default", "1"],
        ["Service/shop/orders", "2"],
        ["AuthorizationPolicy/shop/p", "3"],
        ["TrafficPolicy/shop/limits", "4"],
        ["HTTPRoute/shop/deep", "5"],
        ["Service/shop/plain", "6"],
        ["Tomorrow/shop/x", "7"],
      ],
    );
    t.strictSame(
      [...sealed.resources].map(([name, { resource }]) => [
        name,
        resource.spec,
      ]),
      [
        ["Mesh//default", MESH.spec],
        ["Service/shop/orders", service("orders").spec],
        ["AuthorizationPolicy/shop/p", { action: "DENY", rules: [{}] }],
        ["Service/shop/plain", service("plain").spec],
      ],
    );
    t.strictSame(reportOf(sealed.unread), {
      count: 5,
      resources: [
        ["Service shop/orders", "spec.fromTomorrow", "rest"],
        ["AuthorizationPolicy shop/p", "spec.fromTomorrow", "closed"],
        ["TrafficPolicy shop/limits", "spec.fromTomorrow", "nothing"],
        ["HTTPRoute shop/deep", "spec.rules[].mood", "nothing"],
        ["Tomorrow shop/x", "kind", "nothing"],
      ].map(([resource, field, instead]) => ({
        resource,
        fields: [field],
        instead,
      })),
    });
    const { messages } = firstRequest(REQUEST, sealed);
    t.strictSame(
      [...(messages[0]?.initialVersions ?? [])],
      [
        ["Mesh//default", "1"],
        ["Service/shop/orders", ""],
        ["AuthorizationPolicy/shop/p", ""],
        ["Service/shop/plain", "6"],
      ],
      "what was not read whole is asked for again",
    );
    t.end();
  },
);

/** With a value that no version knows at this path. */
function withValue(resource: Resource, path: string): Resource {
  const copy = structuredClone(resource);
  const names = path.split(".");
  let place = copy as unknown as Record<string, unknown>;
  for (const name of names.slice(0, -1))
    place = (place[name] ??= {}) as Record<string, unknown>;
  place[names.at(-1) ?? ""] = "TOMORROW";
  return copy;
}

const PEERS: Resource = {
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name: "p", namespace: "shop" },
  spec: {
    selector: { matchLabels: { app: "orders" } },
    mtls: { mode: "PERMISSIVE" },
  },
};

void t.test("a value that is not known costs its resource alone", (t) => {
  const orders = service("orders", {
    ports: [
      { name: "http", port: 80 },
      { name: "new", port: 81, appProtocol: "grpc" },
    ],
  });
  const outside: Resource = {
    ...service("outside"),
    spec: {
      location: "MESH_EXTERNAL",
      hosts: ["example.com"],
      resolution: "DNS",
      ports: [{ port: 443, appProtocol: "tls" }],
    },
  };
  const rows: readonly [
    Resource,
    string,
    string,
    Record<string, unknown> | undefined,
    string,
  ][] = [
    [
      orders,
      "spec.ports.1.appProtocol",
      "spec.ports[].appProtocol=TOMORROW",
      {
        ...(orders.spec as object),
        ports: [
          { name: "http", port: 80 },
          { name: "new", port: 81 },
        ],
      },
      "rest",
    ],
    [outside, "spec.location", "spec.location=TOMORROW", undefined, "nothing"],
    [
      policy("DENY"),
      "spec.action",
      "spec.action=TOMORROW",
      { action: "ALLOW" },
      "closed",
    ],
    [
      PEERS,
      "spec.mtls.mode",
      "spec.mtls.mode=TOMORROW",
      {
        selector: { matchLabels: { app: "orders" } },
        mtls: { mode: "STRICT" },
      },
      "closed",
    ],
    [
      route("deep", "orders"),
      "spec.parentRefs.0.kind",
      "spec.parentRefs[].kind=TOMORROW",
      undefined,
      "nothing",
    ],
    [
      MESH,
      "spec.authorization.defaultAction",
      "spec.authorization.defaultAction=TOMORROW",
      { ...(MESH.spec as object), authorization: { defaultAction: "DENY" } },
      "closed",
    ],
    [
      MESH,
      "spec.pathNormalization",
      "spec.pathNormalization=TOMORROW",
      {
        ...(MESH.spec as object),
        authorization: { defaultAction: "DENY" },
        pathNormalization: "DECODE_AND_MERGE_SLASHES",
      },
      "closed",
    ],
    [
      MESH,
      "spec.outboundTrafficPolicy",
      "spec.outboundTrafficPolicy=TOMORROW",
      {
        ...(MESH.spec as object),
        authorization: { defaultAction: "DENY" },
        outboundTrafficPolicy: "REGISTRY_ONLY",
      },
      "closed",
    ],
  ];
  for (const [meant, path, field, acts, instead] of rows) {
    const name = resourceName(keyOf(meant));
    const plain = service("plain");
    const sealed = pushTo(
      start(),
      [pushed(withValue(meant, path), "1"), pushed(plain, "2")],
      [
        [name, "1"],
        ["Service/shop/plain", "2"],
      ],
    );
    t.strictSame(sealed.resources.get(name)?.resource.spec, acts, field);
    t.strictSame(sealed.unread?.get(name), { fields: [field], instead });
    t.strictSame(
      sealed.resources.get("Service/shop/plain")?.resource.spec,
      plain.spec,
      "the rest of the push is in force",
    );
  }
  t.end();
});

void t.test("where values are lists, the others stay", (t) => {
  const on = ["connect-failure", "tomorrow", "refused-stream", "later"];
  const mesh = (list: readonly string[]): Resource => ({
    ...MESH,
    spec: { ...(MESH.spec as object), defaults: { retry: { on: list } } },
  });
  for (const [sent, kept] of [
    [on, { retry: { on: ["connect-failure", "refused-stream"] } }],
    [["tomorrow"], { retry: {} }],
  ] as const) {
    const sealed = pushTo(
      start(),
      [pushed(mesh(sent), "1")],
      [["Mesh//default", "1"]],
    );
    t.match(sealed.resources.get("Mesh//default")?.resource.spec, {
      authorization: { defaultAction: "DENY" },
      defaults: kept,
    });
  }
  t.end();
});

void t.test(
  "a value that is wrong otherwise refuses the push, as ever",
  (t) => {
    const staging = start();
    const wrong = { ...PEERS, spec: { mtls: { mode: { a: 1 } } } };
    atOnce(staging.stage([pushed(wrong, "1")]));
    const sealed = atOnce(
      staging.seal({
        ...{ store: "s", revision: 1, accepted: false, selective: false },
        digest: digestOf([["PeerAuthentication/shop/p", "1"]]),
      }),
    );
    t.match(sealed, { kind: "refused", reason: /spec\.mtls\.mode/ });
    t.end();
  },
);

void t.test(
  "a policy stays as it was, until one comes that can be read",
  (t) => {
    const staging = start();
    const name = "AuthorizationPolicy/shop/p";
    const steps: readonly [Resource, string, Resource, string | undefined][] = [
      [policy("DENY"), "1", policy("DENY"), undefined],
      [newer(policy("ALLOW")), "2", policy("DENY"), "older"],
      [policy("TOMORROW"), "3", policy("DENY"), "older"],
      [policy("ALLOW"), "4", policy("ALLOW"), undefined],
    ];
    for (const [sent, version, acts, instead] of steps) {
      const sealed = pushTo(
        staging,
        [pushed(sent, version)],
        [[name, version]],
      );
      t.strictSame(sealed.resources.get(name)?.resource, acts, version);
      t.equal(sealed.unread?.get(name)?.instead, instead, version);
    }
    const twice = pushTo(
      staging,
      ["5", "6"].map((version) => pushed(newer(policy("DENY")), version)),
      [[name, "6"]],
    );
    t.strictSame(twice.resources.get(name)?.resource, policy("ALLOW"));
    t.equal(twice.unread?.get(name)?.instead, "older", "two in one push");
    const closed = start();
    for (const version of ["1", "2"]) {
      const sealed = pushTo(
        closed,
        [pushed(newer(policy("ALLOW")), version)],
        [[name, version]],
      );
      t.match(sealed.resources.get(name)?.resource.spec, { action: "ALLOW" });
      t.match(
        sealed.unread?.get(name),
        { instead: "closed" },
        "what lets nothing through is no older version",
      );
    }
    t.end();
  },
);

void t.test("what is held from the disk is known as not read whole", (t) => {
  const name = "Service/shop/orders";
  const first = pushTo(
    start(),
    [pushed(newer(service("orders")), "2")],
    [[name, "2"]],
  );
  const staging = makeStaging(first, 1_000_000);
  const again = pushTo(staging, [], [[name, "2"]]);
  t.match(again.unread?.get(name), { instead: "rest" });
  const last = pushTo(staging, [pushed(service("orders"), "2")], [[name, "2"]]);
  t.equal(last.unread, undefined);
  t.end();
});

void t.test("a report is on the wire, and is cut where it is long", (t) => {
  const unread = {
    count: 30,
    resources: Array.from({ length: 30 }, (_, index) => ({
      resource: `Service shop/${index}`,
      fields: Array.from({ length: 30 }, () => "f".repeat(1000)),
      instead: "older" as const,
    })),
  };
  const read = deltaRequest.decode(deltaRequest.encode({ ...REQUEST, unread }));
  t.equal(read.unread?.count, 30);
  t.equal(read.unread?.resources.length, 20);
  t.equal(read.unread?.resources[0]?.fields.length, 20);
  t.equal(read.unread?.resources[0]?.fields[0]?.length, 400);
  t.strictSame(
    deltaRequest.decode(deltaRequest.encode(REQUEST)),
    REQUEST,
    "nothing is said where all was read",
  );
  t.end();
});
