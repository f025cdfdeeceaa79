/** Status, tokens, the store and the documentation. */
import t from "tap";
import type { SidecarStatus } from "../../../../src/control-plane/push/status.ts";
import { API_REASONS } from "../../../../src/control-plane/api/errors.ts";
import { authenticate } from "../../../../src/control-plane/tokens.ts";
import { KINDS } from "../../../../src/resources/registry.ts";
import { parseToken } from "../../../../src/push/token.ts";
import { MESH } from "../../../support/control-plane/push-control-plane.ts";
import {
  fields,
  OWN,
  rig,
  service,
  SHOP,
} from "../../../support/control-plane/api.ts";

function sidecar(namespace: string): SidecarStatus {
  return {
    name: "web-1",
    namespace,
    serviceAccount: "web",
    labels: { app: "web" },
    identity: `spiffe://cluster.local/ns/${namespace}/sa/web`,
    connected: true,
    connectedSince: 1,
    peer: "127.0.0.1:1",
    pending: false,
    certificateSerial: "A1",
    certificateExpiresAt: 2,
    trust: { root: "", issuedAt: 0 },
    agent: { version: "0.1.0", schema: 1 },
  };
}

void t.test(
  "status shows the faults that act now, and none may be written that lasts longer than a day",
  async (t) => {
    const { call, as, clock } = await rig(t);
    const url = (namespace: string): string =>
      `/apis/mesh.wherry.dev/v1alpha1/namespaces/${namespace}/faultinjections/slow`;
    const fault = (namespace: string, hours: number): object => ({
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "FaultInjection",
      metadata: { name: "slow", namespace },
      spec: {
        targetRefs: [{ kind: "Service", name: "orders" }],
        delay: { fixedDelay: "2s", percentage: 10 },
        expiresAt: new Date(clock.wall() + hours * 3_600_000).toISOString(),
      },
    });
    const refused = await call("PUT", url("shop"), fault("shop", 25));
    t.equal(refused.code, 422);
    t.match(refused.body, {
      details: {
        causes: [{ field: "spec.expiresAt", message: /must end within a day/ }],
      },
    });
    for (const namespace of ["shop", "infra"])
      t.equal(
        (await call("PUT", url(namespace), fault(namespace, 23))).code,
        201,
      );
    const faults = async (headers?: Record<string, string>): Promise<unknown> =>
      (await call("GET", "/status", undefined, headers)).body["faults"];
    t.match(await faults(), [
      { namespace: "infra" },
      {
        namespace: "shop",
        name: "slow",
        targets: ["orders"],
        what: "delay 2s 10 %",
        expiresAt: clock.wall() + 23 * 3_600_000,
      },
    ]);
    t.match(await faults(await as("viewer", ["shop"])), [
      { namespace: "shop" },
    ]);
    clock.advance(23 * 3_600_000);
    t.strictSame(await faults(), [], "and no more when they are over");
  },
);

void t.test("status shows the sidecars that the token may see", async (t) => {
  const { call, as, world } = await rig(t);
  world.sidecars = [sidecar("infra"), sidecar("shop")];
  const all = await call("GET", "/status");
  t.match(all.body, {
    now: Date.UTC(2026, 0, 1),
    trustDomain: "cluster.local",
    store: { kind: "memory", accepted: false },
    sidecars: [{ namespace: "infra" }, { namespace: "shop" }],
    statistics: { connected: 2 },
  });
  const some = await call(
    "GET",
    "/status",
    undefined,
    await as("viewer", ["shop"]),
  );
  t.match(some.body["sidecars"], [{ namespace: "shop" }]);
  t.equal((some.body["sidecars"] as unknown[]).length, 1);
});

void t.test(
  "no condition names sidecars that the token may not see, nor their reasons",
  async (t) => {
    const { call, as, world, clock } = await rig(t);
    const refused = (namespace: string): SidecarStatus => ({
      ...sidecar(namespace),
      refused: {
        version: { store: "", revision: 1, digest: "" },
        reason: `the policy of ${namespace} is odd`,
        at: 0,
      },
    });
    world.sidecars = [refused("bank"), refused("shop")];
    world.inForce = { have: 0, of: 2, refused: 2 };
    await call("PUT", `${SHOP}/services/orders`, service("orders"));
    await call("PUT", `${OWN}/meshes/default`, MESH);
    clock.advance(1000);
    const shop = await as("viewer", ["shop"]);
    for (const path of [
      `${SHOP}/services`,
      `${SHOP}/services/orders`,
      `${OWN}/meshes`,
      `${OWN}/meshes/default`,
    ]) {
      const { text } = await call("GET", path, undefined, shop);
      t.match(text, /refused by 2; shop\/web-1: the policy of shop is odd"/);
      t.notMatch(text, /bank/, path);
      t.match((await call("GET", path)).text, /; bank\/web-1: the policy of/);
    }
  },
);

void t.test(
  "the status of many has the bytes that one of few has",
  async (t) => {
    const { call, as, world } = await rig(t);
    const many = (count: number): SidecarStatus[] =>
      Array.from({ length: count }, (_, index) => ({
        ...sidecar(index % 2 === 0 ? "infra" : "shop"),
        name: `web-${index}`,
        labels: { sidecars: '"sidecars":[]' },
      }));
    for (const count of [0, 1, 50, 51, 120]) {
      world.sidecars = many(count);
      const { text, body, headers } = await call("GET", "/status");
      t.same(body["sidecars"], world.sidecars);
      t.equal(text, JSON.stringify(body));
      t.match(headers["content-type"], /^application\/json/);
    }
    const some = await call(
      "GET",
      "/status",
      undefined,
      await as("viewer", ["shop"]),
    );
    t.equal((some.body["sidecars"] as unknown[]).length, 60);
  },
);

void t.test(
  "a token made while the clock is ahead erases no other for good",
  async (t) => {
    const { call, clock } = await rig(t);
    const { body } = await call("POST", "/tokens/api", {
      role: "viewer",
      ttl: "2160h",
    });
    const ahead = 365 * 86_400_000;
    clock.jump(ahead);
    for (const [path, made] of [
      ["/tokens/api", { role: "viewer" }],
      ["/tokens/enrolment", { namespace: "shop", serviceAccount: "web" }],
    ] as const)
      t.equal((await call("POST", path, made)).code, 201);
    clock.jump(-ahead);
    const authorization = `Bearer ${String(body["token"])}`;
    const read = await call("GET", "/status", undefined, { authorization });
    t.equal(read.code, 200);
  },
);

void t.test(
  "an enrolment token is bound to what the request says",
  async (t) => {
    const { call, store, options } = await rig(t);
    const answer = await call("POST", "/tokens/enrolment", {
      namespace: "shop",
      serviceAccount: "web",
      labels: { app: "web" },
      ttl: "10m",
      uses: 3,
    });
    t.equal(answer.code, 201);
    const { id, token, expiresAt } = answer.body;
    t.equal(expiresAt, "2026-01-01T00:10:00.000Z");
    t.match(parseToken(String(token)), {
      id,
      ca: options.trust.fingerprint,
      address: "127.0.0.1:15012",
    });
    const record = await store.get({
      kind: "EnrolmentToken",
      namespace: "",
      name: String(id),
    });
    t.match(record?.spec, {
      namespace: "shop",
      serviceAccount: "web",
      labels: { app: "web" },
      usesLeft: 3,
    });
    const plain = await call("POST", "/tokens/enrolment", {
      namespace: "shop",
      serviceAccount: "web",
    });
    t.equal(plain.body["expiresAt"], "2026-01-01T01:00:00.000Z");
  },
);

void t.test("a wrong token request names the field", async (t) => {
  const { call } = await rig(t);
  const enrolment = { namespace: "shop", serviceAccount: "web" };
  for (const [path, body, field] of [
    ["enrolment", {}, "namespace"],
    ["enrolment", { ...enrolment, uses: 0 }, "uses"],
    ["enrolment", { ...enrolment, ttl: "1d" }, "ttl"],
    ["enrolment", { ...enrolment, labels: { "a b": "c" } }, "labels"],
    ["enrolment", { ...enrolment, user: 1 }, "user"],
    ["enrolment", { ...enrolment, namespace: "No" }, "namespace"],
    [
      "enrolment",
      { namespace: "wherry-system", serviceAccount: "control-plane" },
      "serviceAccount",
    ],
    ["api", { role: "root" }, "role"],
    ["api", { role: "viewer", namespaces: [] }, "namespaces"],
    ["api", [], ""],
  ] as const) {
    const answer = await call("POST", `/tokens/${path}`, body);
    t.equal(answer.code, 422, JSON.stringify(body));
    t.ok(fields(answer).includes(field), `${field}: ${answer.text}`);
  }
});

void t.test(
  "an API token is made, listed without its secret, and revoked at once",
  async (t) => {
    const { call, store, clock } = await rig(t);
    const made = await call("POST", "/tokens/api", {
      role: "editor",
      namespaces: ["shop"],
      ttl: "1h",
    });
    t.equal(made.code, 201);
    const text = String(made.body["token"]);
    t.match(await authenticate(store, clock, text), { role: "editor" });
    await call("POST", "/tokens/enrolment", {
      namespace: "shop",
      serviceAccount: "web",
    });
    const list = await call("GET", "/tokens");
    t.match(list.body["items"], [
      { kind: "ApiToken", createdAt: /^2026/ },
      { kind: "ApiToken" },
      { kind: "EnrolmentToken", serviceAccount: "web", usesLeft: 1 },
    ]);
    t.notMatch(list.text, /hash|secret/);
    const url = `/tokens/api/${String(made.body["id"])}`;
    t.equal((await call("DELETE", url)).code, 200);
    t.equal(await authenticate(store, clock, text), undefined);
    t.equal((await call("DELETE", url)).code, 404);
    t.equal((await call("DELETE", "/tokens/enrolment/none")).code, 404);
  },
);

void t.test("only this store's own id can be accepted", async (t) => {
  const { call, store, world } = await rig(t);
  const wrong = await call("POST", "/store/accept", { id: "another" });
  t.equal(wrong.code, 409);
  t.match(wrong.body, { message: new RegExp(store.id) });
  t.equal(world.accepted, false);
  const right = await call("POST", "/store/accept", { id: store.id });
  t.match(right.body, { id: store.id, accepted: true });
  t.match((await call("GET", "/store")).body, { accepted: true });
});

void t.test("readiness follows the control plane", async (t) => {
  const { call, world, store } = await rig(t);
  t.equal((await call("GET", "/readyz")).code, 200);
  Object.assign(store, { fault: "the store cannot be written: a test" });
  const full = await call("GET", "/readyz");
  t.equal(full.code, 503);
  t.match(full.body, {
    reason: "ServiceUnavailable",
    message: "the store cannot be written: a test",
  });
  Object.assign(store, { fault: undefined });
  t.equal((await call("GET", "/readyz")).code, 200);
  world.ready = false;
  t.equal((await call("GET", "/readyz")).code, 503);
  t.equal((await call("GET", "/livez")).code, 200);
});

void t.test(
  "the document is OpenAPI 3.1, of every kind, and all its references resolve",
  async (t) => {
    const { call } = await rig(t);
    const { body, text } = await call("GET", "/openapi.json");
    t.equal(body["openapi"], "3.1.0");
    const paths = body["paths"] as Record<
      string,
      Record<string, { operationId: string; responses: object }>
    >;
    const { schemas } = body["components"] as {
      schemas: Record<string, unknown>;
    };
    for (const { group, version, plural, namespaced, kind } of KINDS) {
      const base = `/apis/${group}/${version}${namespaced ? "/namespaces/{namespace}" : ""}/${plural}`;
      t.same(Object.keys(paths[base] ?? {}).sort(), ["get", "post"], base);
      t.same(Object.keys(paths[`${base}/{name}`] ?? {}).sort(), [
        "delete",
        "get",
        "patch",
        "put",
      ]);
      t.ok(schemas[kind]);
    }
    for (const [, name = ""] of text.matchAll(
      /"\$ref":"#\/components\/schemas\/([^"]+)"/g,
    ))
      t.ok(name in schemas, name);
    t.notMatch(text, /"\$ref":"(?!#\/components)/);
    const operations = Object.values(paths).flatMap((path) =>
      Object.values(path),
    );
    const ids = operations.map(({ operationId }) => operationId);
    t.equal(new Set(ids).size, ids.length, "operation ids are unique");
  },
);

void t.test("the document has every reason and every meaning", async (t) => {
  const { call } = await rig(t);
  const { body, text } = await call("GET", "/openapi.json");
  const { schemas } = body["components"] as {
    schemas: Record<string, DescribedSchema>;
  };
  t.strictSame(
    schemas["Status"]?.properties?.["reason"]?.enum,
    Object.keys(API_REASONS),
  );
  for (const [reason, { text: why }] of Object.entries(API_REASONS))
    t.ok(text.includes(`${reason}: ${why}`), reason);
  for (const { kind, meaning } of KINDS) {
    t.equal(schemas[kind]?.description, meaning);
    const { properties = {} } = schemas[kind]?.properties?.["spec"] ?? {};
    for (const [field, { description }] of Object.entries(properties))
      t.ok(description, `${kind} spec.${field}`);
  }
});

interface DescribedSchema {
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, DescribedSchema>>;
}
