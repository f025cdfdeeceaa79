import t from "tap";
import {
  makeStaging,
  type ReceivedConfig,
  type Sealed,
  type Staging,
} from "../../src/agent/staging.ts";
import { atOnce } from "../../src/core/slices.ts";
import { lookup, pushedResource } from "../../src/push/codec.ts";
import type {
  DeltaResource,
  DeltaResponse,
  Revision,
} from "../../src/push/messages.ts";
import {
  LOOKUP_TYPE,
  RESOURCE_TYPE,
  resourceName,
} from "../../src/push/names.ts";
import { keyOf, type Resource } from "../../src/resources/envelope.ts";
import { MESH, service } from "../support/control-plane/push-control-plane.ts";
import { digestOf } from "../support/control-plane/digest.ts";

const STORE = "11111111-1111-4111-8111-111111111111";
const LIMIT = 100_000;

function pushed(
  resource: Resource,
  version: string,
  change: Partial<DeltaResource> = {},
): DeltaResource {
  const key = keyOf(resource);
  const json = Buffer.from(JSON.stringify(resource));
  return {
    name: resourceName(key),
    version,
    typeUrl: RESOURCE_TYPE,
    value: pushedResource.encode({ ...key, json }),
    ...change,
  };
}

function answer(
  name: string,
  services: readonly string[],
  change: Partial<DeltaResource> = {},
): DeltaResource {
  return {
    name,
    version: services.join(",") || "none",
    typeUrl: LOOKUP_TYPE,
    value: lookup.encode({ services }),
    ...change,
  };
}

function message(
  resources: readonly DeltaResource[],
  removed: readonly string[] = [],
): DeltaResponse {
  return {
    systemVersion: "1",
    typeUrl: RESOURCE_TYPE,
    nonce: "1",
    resources,
    removed,
  };
}

function stage(staging: Staging, response: DeltaResponse): void {
  atOnce(staging.stage([...response.removed, ...response.resources]));
}

/** Steps until a push of this resource is staged, and until it is sealed. */
function stepsOf(
  resource: Resource,
  change: Partial<Revision> = {},
): readonly number[] {
  const staging = makeStaging(NOTHING, 10_000_000);
  const received = pushed(resource, "1");
  const whole = closing([[received.name, "1"]], change);
  return [staging.stage([received]), staging.seal(whole)].map(
    (steps) => [...steps].length,
  );
}

function seal(staging: Staging, revision: Revision): Sealed {
  return atOnce(staging.seal(revision));
}

function closing(
  versions: readonly (readonly [string, string])[],
  change: Partial<Revision> = {},
): Revision {
  return {
    store: STORE,
    revision: 7,
    digest: digestOf(versions),
    accepted: false,
    selective: true,
    ...change,
  };
}

const NOTHING: ReceivedConfig = { resources: new Map(), lookups: new Map() };
const ORDERS = service("orders");
const BOTH = [
  ["Mesh//default", "1"],
  ["Service/shop/orders", "2"],
] as const;

void t.test("a whole push is taken, on top of what is in force", (t) => {
  const staging = makeStaging(
    {
      resources: new Map([
        ["Mesh//default", { version: "1", resource: MESH, bytes: 100 }],
        [
          "Service/shop/old",
          { version: "1", resource: service("old"), bytes: 100 },
        ],
      ]),
      lookups: new Map(),
    },
    LIMIT,
  );
  stage(
    staging,
    message(
      [pushed(ORDERS, "2")],
      ["Service/shop/old", "Service/shop/never-heard-of"],
    ),
  );
  const sealed = seal(staging, closing(BOTH));
  if (sealed.kind !== "resources") throw new Error(JSON.stringify(sealed));
  t.same([...sealed.resources.keys()].sort(), [
    "Mesh//default",
    "Service/shop/orders",
  ]);
  t.same(sealed.resources.get("Service/shop/orders")?.resource, ORDERS);
  t.end();
});

const FAULTS: readonly (readonly [
  name: string,
  resource: DeltaResource,
  reason: RegExp,
  versions?: readonly (readonly [string, string])[],
])[] = [
  ["a resource missing", pushed(MESH, "1"), /digest of the 1 resources/],
  ["another version", pushed(ORDERS, "3"), /digest/],
  [
    "a value that is not allowed, beside an unknown field",
    pushed(
      {
        ...ORDERS,
        spec: { ports: [{ port: 0 }], selector: { a: "b" }, notPaths: [] },
      },
      "2",
    ),
    /spec\.ports\[0\]\.port 0/,
  ],
  [
    "an unknown kind",
    pushed(ORDERS, "2", {
      value: pushedResource.encode({
        kind: "X",
        namespace: "",
        name: "",
        json: Buffer.from('{"kind":"X","apiVersion":"x"}'),
      }),
    }),
    /"X" is not a kind/,
  ],
  [
    "a resource under another's name",
    pushed(service("other"), "2", { name: "Service/shop/orders" }),
    /Service\/shop\/orders holds Service shop\/other/,
  ],
  [
    "JSON that is none",
    pushed(ORDERS, "2", {
      value: pushedResource.encode({
        kind: "",
        namespace: "",
        name: "",
        json: Buffer.from("{"),
      }),
    }),
    /cannot be read/,
  ],
  [
    "bytes that are no message",
    pushed(ORDERS, "2", { value: Buffer.from([0x22, 0x7f]) }),
    /cannot be read/,
  ],
  [
    "an answer to no question",
    answer("Service/shop/orders", ["shop/orders"], { version: "2" }),
    /Service\/shop\/orders is not a question/,
  ],
  [
    "an answer that is not of its version",
    answer("Host//orders.shop", ["shop/orders"], { version: "none" }),
    /Host\/\/orders\.shop is not of version none/,
    [
      ["Mesh//default", "1"],
      ["Host//orders.shop", "none"],
    ],
  ],
  [
    "an answer that is no message",
    answer("Host//orders.shop", [], { value: Buffer.from([0x0a, 0x7f]) }),
    /Host\/\/orders\.shop cannot be read/,
    [
      ["Mesh//default", "1"],
      ["Host//orders.shop", "none"],
    ],
  ],
  [
    "another type",
    pushed(ORDERS, "2", { typeUrl: "type.googleapis.com/x" }),
    /is of type type\.googleapis\.com\/x/,
  ],
];

for (const [name, resource, reason, versions = BOTH] of FAULTS)
  void t.test(`a push with ${name} is refused whole, with the reason`, (t) => {
    const staging = makeStaging(NOTHING, LIMIT);
    stage(staging, message([pushed(MESH, "1")]));
    stage(staging, message([resource]));
    t.match(seal(staging, closing(versions)), { kind: "refused", reason });
    stage(
      staging,
      message([pushed(MESH, "1"), pushed(ORDERS, "2")], [resource.name]),
    );
    t.match(
      seal(staging, closing(BOTH)),
      { kind: "resources" },
      "the next one mends it",
    );
    t.end();
  });

void t.test("answers stand beside the resources", (t) => {
  const staging = makeStaging(NOTHING, LIMIT);
  stage(
    staging,
    message([
      pushed(MESH, "1"),
      answer("Host//orders.shop", ["shop/orders", "shop/orders-2"]),
      answer("Address//10.0.0.1:80", []),
    ]),
  );
  const sealed = seal(
    staging,
    closing([
      ["Mesh//default", "1"],
      ["Host//orders.shop", "shop/orders,shop/orders-2"],
      ["Address//10.0.0.1:80", "none"],
    ]),
  );
  if (sealed.kind !== "resources") throw new Error(JSON.stringify(sealed));
  t.same([...sealed.resources.keys()], ["Mesh//default"]);
  t.same(
    [...sealed.lookups],
    [
      ["Host//orders.shop", { services: ["shop/orders", "shop/orders-2"] }],
      ["Address//10.0.0.1:80", { services: [] }],
    ],
  );
  t.end();
});

void t.test("what a push leaves alone is the same object after it", (t) => {
  const inForce: ReceivedConfig = {
    resources: new Map([
      ["Mesh//default", { version: "1", resource: MESH, bytes: 100 }],
    ]),
    lookups: new Map([["Host//a.shop", { services: [] }]]),
  };
  const staging = makeStaging(inForce, LIMIT);
  const sealOf = (
    versions: readonly (readonly [string, string])[],
  ): ReceivedConfig => {
    const sealed = seal(staging, closing(versions));
    if (sealed.kind !== "resources") throw new Error(JSON.stringify(sealed));
    return sealed;
  };
  const mesh = ["Mesh//default", "1"] as const;
  const a = ["Host//a.shop", "none"] as const;
  const b = ["Host//b.shop", "none"] as const;
  const same = sealOf([mesh, a]);
  t.equal(same.resources, inForce.resources);
  t.equal(same.lookups, inForce.lookups);
  stage(staging, message([answer("Host//b.shop", [])]));
  const asked = sealOf([mesh, a, b]);
  t.equal(asked.resources, inForce.resources, "answers alone");
  t.same([...asked.lookups.keys()], ["Host//a.shop", "Host//b.shop"]);
  t.equal(inForce.lookups.size, 1, "what was given out is not edited");
  stage(staging, message([pushed(ORDERS, "2")], ["Host//a.shop"]));
  const more = sealOf([mesh, b, ["Service/shop/orders", "2"]]);
  t.same([...more.lookups.keys()], ["Host//b.shop"]);
  t.equal(more.resources.size, 2);
  t.equal(inForce.resources.size, 1);
  stage(staging, message([], ["Host//never.heard.of"]));
  const last = sealOf([mesh, b, ["Service/shop/orders", "2"]]);
  t.equal(last.resources, more.resources);
  t.equal(last.lookups, more.lookups);
  t.end();
});

void t.test(
  "a push over the limit is refused once, and then has to start over",
  (t) => {
    const staging = makeStaging(NOTHING, 500);
    const large: Resource = {
      ...ORDERS,
      metadata: { ...ORDERS.metadata, annotations: { note: "x".repeat(400) } },
    };
    stage(staging, message([pushed(MESH, "1"), pushed(large, "2")]));
    t.match(seal(staging, closing(BOTH)), {
      kind: "refused",
      reason: /--max-config-bytes/,
    });
    stage(staging, message([pushed(ORDERS, "3")]));
    const again: Sealed = seal(
      staging,
      closing([
        ["Mesh//default", "1"],
        ["Service/shop/orders", "3"],
      ]),
    );
    t.same(again, { kind: "incomplete" }, "what was dropped is not made up");
    t.end();
  },
);

void t.test("a config that comes without end is given up", (t) => {
  const staging = makeStaging(NOTHING, 10_000);
  let given = 0;
  while (staging.hopeless === undefined && given < 1000) {
    stage(staging, message([pushed(service(`orders-${given}`), "1")]));
    given += 1;
  }
  t.match(staging.hopeless, /--max-config-bytes/);
  t.ok(given < 1000, `after ${given}`);
  t.end();
});

void t.test("names alone fill it, too", (t) => {
  const staging = makeStaging(NOTHING, 10_000);
  const empty = { version: "", typeUrl: "", value: Buffer.alloc(0) };
  stage(
    staging,
    message(
      Array.from({ length: 100 }, (_, index) => ({
        name: String(index),
        ...empty,
      })),
    ),
  );
  t.match(seal(staging, closing([])), {
    kind: "refused",
    reason: /the config has 12800 bytes or more/,
  });
  t.end();
});

void t.test("what would take long to read is not read", (t) => {
  const staging = makeStaging(NOTHING, 10_000_000);
  const zeros = {
    ...ORDERS,
    spec: { ports: Array.from({ length: 200_001 }, () => 0) },
  };
  const unknown = {
    ...ORDERS,
    spec: Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [
        `field-${index}`.repeat(50),
        0,
      ]),
    ),
  };
  stage(
    staging,
    message([pushed(zeros, "1"), pushed(unknown, "1", { name: "Service//x" })]),
  );
  const sealed = seal(
    staging,
    closing([
      ["Service/shop/orders", "1"],
      ["Service//x", "1"],
    ]),
  );
  if (sealed.kind !== "refused") throw new Error(sealed.kind);
  t.match(sealed.reason, /Service\/shop\/orders has more than 200000 values/);
  t.ok(sealed.reason.length < 1100, "each fault is told in part");
  t.end();
});

void t.test("a long resource is read in steps, a short one in one", (t) => {
  const long = {
    ...ORDERS,
    metadata: {
      ...ORDERS.metadata,
      annotations: Object.fromEntries(
        Array.from({ length: 20 }, (_, index) => [
          `note-${index}`,
          "x".repeat(65_536),
        ]),
      ),
    },
  };
  const wrong = { ...ORDERS, spec: { ports: new Array(50_000).fill(0) } };
  // One that reads it, and one that puts it into the config.
  t.same(stepsOf(ORDERS), [1, 2]);
  const [staged, sealed = 0] = stepsOf(long);
  t.equal(staged, 1);
  // What is counted at a time, and each thing that is done with it.
  t.ok(sealed >= 22, `${sealed} steps`);
  t.ok((stepsOf(wrong)[1] ?? 0) >= 4);
  t.same(stepsOf(long, { digest: "0" }), [1, 0], "what is not whole is not");
  t.end();
});
