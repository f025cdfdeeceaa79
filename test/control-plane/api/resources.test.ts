/** The verbs on resources: Kubernetes's contract for create, replace, patch, delete, dry run and concurrency. */
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  fields,
  OWN,
  rig,
  route,
  ROUTES,
  service,
  SHOP,
} from "../../support/control-plane/api.ts";

void t.test("a resource is created, read, replaced and deleted", async (t) => {
  const { call, clock } = await rig(t);
  const created = await call("POST", `${SHOP}/services`, service("orders"));
  t.equal(created.code, 201);
  t.match(created.body, {
    kind: "Service",
    metadata: { name: "orders", namespace: "shop", generation: 1 },
  });
  clock.advance(1000);
  const again = await call("POST", `${SHOP}/services`, service("orders"));
  t.equal(again.code, 409);
  t.match(again.body, { kind: "Status", reason: "AlreadyExists" });

  const replaced = await call(
    "PUT",
    `${SHOP}/services/orders`,
    service("orders", {}, { selector: { app: "other" } }),
  );
  t.equal(replaced.code, 200);
  const { metadata } = replaced.body as unknown as Resource;
  t.equal(metadata.generation, 2);
  t.equal(metadata.creationTimestamp, "2026-01-01T00:00:00.000Z");

  const read = await call("GET", `${SHOP}/services/orders`);
  t.match(read.body, { metadata, spec: { selector: { app: "other" } } });
  const list = await call("GET", `${SHOP}/services`);
  t.match(list.body, { kind: "ServiceList", items: [{ metadata }] });

  const deleted = await call("DELETE", `${SHOP}/services/orders`);
  t.match(deleted.body, { kind: "Status", status: "Success" });
  t.equal((await call("GET", `${SHOP}/services/orders`)).code, 404);
  t.equal((await call("DELETE", `${SHOP}/services/orders`)).code, 404);
});

void t.test(
  "PUT creates what is not there, in the URL's namespace",
  async (t) => {
    const { call } = await rig(t);
    const created = await call(
      "PUT",
      `${SHOP}/services/orders`,
      service("orders"),
    );
    t.equal(created.code, 201);
    t.match(created.body, { metadata: { name: "orders", namespace: "shop" } });
  },
);

void t.test(
  "what GET prints can be PUT back, and changes nothing",
  async (t) => {
    const { call, store } = await rig(t);
    await call("PUT", `${SHOP}/services/orders`, service("orders"));
    const read = await call("GET", `${SHOP}/services/orders`);
    t.ok(read.body["status"]);
    const revision = await store.revision();
    const put = await call("PUT", `${SHOP}/services/orders`, read.body);
    t.equal(put.code, 200);
    t.equal(await store.revision(), revision);
  },
);

void t.test(
  "a write with resourceVersion replaces that version only",
  async (t) => {
    const { call } = await rig(t);
    const url = `${SHOP}/services/orders`;
    const first = await call("PUT", url, service("orders"));
    const { resourceVersion = "" } = (first.body as unknown as Resource)
      .metadata;
    const second = await call(
      "PUT",
      url,
      service("orders", { resourceVersion }, { selector: { app: "b" } }),
    );
    t.equal(second.code, 200);
    for (const method of ["PUT", "PATCH"] as const) {
      const stale = await call(
        method,
        url,
        service("orders", { resourceVersion }, { selector: { app: "c" } }),
      );
      t.equal(stale.code, 409, method);
      t.match(stale.body, { reason: "Conflict", message: /read it again/ });
    }
    const gone = await call(
      "PUT",
      `${SHOP}/services/absent`,
      service("absent", { resourceVersion: "1" }),
    );
    t.equal(gone.code, 409);
    const odd = await call(
      "PUT",
      url,
      service("orders", { resourceVersion: "x1" }),
    );
    t.equal(odd.code, 422);
    t.same(fields(odd), ["metadata.resourceVersion"]);
    const overwritten = await call("PUT", url, service("orders"));
    t.equal(overwritten.code, 200);
  },
);

void t.test("merge patch changes what it names (RFC 7396)", async (t) => {
  const { call } = await rig(t);
  const url = `${SHOP}/services/orders`;
  await call("PUT", url, service("orders", { labels: { a: "1", b: "2" } }));
  for (const type of ["application/merge-patch+json", "application/json"]) {
    const patched = await call(
      "PATCH",
      url,
      {
        metadata: { labels: { a: null, c: type.slice(-4) } },
        status: { conditions: [] },
      },
      { "content-type": type },
    );
    t.equal(patched.code, 200);
    const { metadata } = patched.body as unknown as Resource;
    t.same(metadata.labels, { b: "2", c: "json" });
  }
  t.equal((await call("PATCH", `${SHOP}/services/none`, {})).code, 404);
  t.match((await call("PATCH", url, { spec: { ports: null } })).body, {
    code: 422,
  });
  t.match((await call("PATCH", url, { metadata: { name: "x" } })).body, {
    code: 422,
    details: { causes: [{ field: "metadata.name" }] },
  });
  t.equal((await call("PATCH", url, [])).code, 422);
});

void t.test(
  "a patch that meets another writer is made on what that one wrote",
  async (t) => {
    const { call, store } = await rig(t);
    const url = `${SHOP}/services/orders`;
    await call("PUT", url, service("orders"));
    const answers = await Promise.all(
      ["a", "b", "c", "d"].map((label) =>
        call("PATCH", url, { metadata: { labels: { [label]: "1" } } }),
      ),
    );
    t.same(
      answers.map(({ code }) => code),
      [200, 200, 200, 200],
    );
    const stored = await store.get({
      kind: "Service",
      namespace: "shop",
      name: "orders",
    });
    t.same(Object.keys(stored?.metadata.labels ?? {}).sort(), [
      "a",
      "b",
      "c",
      "d",
    ]);
  },
);

void t.test(
  "a dry run judges and answers like the write, and changes nothing",
  async (t) => {
    const { call, store } = await rig(t);
    const url = `${SHOP}/services/orders`;
    await call("PUT", url, service("orders"));
    const revision = await store.revision();
    const other = service("orders", {}, { selector: { app: "x" } });
    const replaced = await call("PUT", `${url}?dryRun=All`, other);
    t.equal(replaced.code, 200);
    t.match(replaced.body, {
      metadata: { generation: 2 },
      spec: { selector: { app: "x" } },
    });
    const created = await call(
      "POST",
      `${SHOP}/services?dryRun=All`,
      service("new"),
    );
    t.equal(created.code, 201);
    t.notOk("resourceVersion" in (created.body["metadata"] as object));
    const exists = await call("POST", `${SHOP}/services?dryRun=All`, other);
    t.equal(exists.code, 409);
    t.equal((await call("PUT", `${url}?dryRun=All`, {})).code, 422);
    t.equal((await call("PATCH", `${url}?dryRun=All`, {})).code, 200);
    t.equal((await call("DELETE", `${url}?dryRun=All`)).code, 200);
    t.equal(await store.revision(), revision);
    t.equal((await call("PUT", `${url}?dryRun=None`, other)).code, 400);
  },
);

void t.test(
  "a wrong resource is refused with the path of each field, and nothing changes",
  async (t) => {
    const { call, store } = await rig(t);
    const revision = await store.revision();
    const rows: readonly (readonly [string, unknown, string[]])[] = [
      ["unknown field", service("a", {}, { selektor: {} }), ["spec.selektor"]],
      [
        "wrong type",
        service("a", {}, { ports: [{ port: "80" }] }),
        ["spec.ports[0].port"],
      ],
      [
        "another namespace than the URL's",
        service("a", { namespace: "else" }),
        ["metadata.namespace"],
      ],
      ["another name than the URL's", service("b"), ["metadata.name"]],
      [
        "another kind than the URL's",
        { ...service("a"), kind: "Mesh" },
        ["kind"],
      ],
      ["no kind", { ...service("a"), kind: undefined }, ["kind"]],
      ["no object", [], [""]],
      ["null", null, [""]],
      ["no name", { ...service("a"), metadata: {} }, ["metadata.name"]],
      [
        "metadata that is null",
        { ...service("a"), metadata: null },
        ["metadata"],
      ],
      ["metadata that is none", { ...service("a"), metadata: 3 }, ["metadata"]],
    ];
    for (const [title, body, expected] of rows) {
      const answer = await call("PUT", `${SHOP}/services/a`, body);
      t.equal(answer.code, 422, title);
      t.match(answer.body, { kind: "Status", reason: "Invalid" });
      t.same(fields(answer), expected, title);
    }
    t.equal(await store.revision(), revision);
  },
);

void t.test(
  "a reference that cannot be is refused; one that may come is a warning",
  async (t) => {
    const { call, store } = await rig(t);
    const early = await call("PUT", `${ROUTES}/r`, route("r", "orders", 80));
    t.equal(early.code, 201);
    t.match(
      String(early.headers.warning),
      /299 - "spec.parentRefs\[0\].name: .*, 299 - /,
    );
    await call("PUT", `${SHOP}/services/orders`, service("orders"));
    const fine = await call("PUT", `${ROUTES}/r`, route("r", "orders", 80));
    t.equal(fine.headers.warning, undefined);
    const revision = await store.revision();
    const impossible = await call(
      "PUT",
      `${ROUTES}/r`,
      route("r", "orders", 81),
    );
    t.equal(impossible.code, 422);
    t.same(fields(impossible), ["spec.rules[0].backendRefs[0].port"]);
    t.equal(await store.revision(), revision);
  },
);

void t.test(
  "the Mesh cannot be deleted, nor given a trust domain that nobody issues for",
  async (t) => {
    const { call } = await rig(t);
    const mesh = {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Mesh",
      metadata: { name: "default" },
      spec: { authorization: { defaultAction: "ALLOW" } },
    };
    t.equal((await call("POST", `${OWN}/meshes`, mesh)).code, 201);
    t.equal((await call("DELETE", `${OWN}/meshes/default`)).code, 403);
    const moved = await call("PATCH", `${OWN}/meshes/default`, {
      spec: { trustDomain: "else.where" },
    });
    t.equal(moved.code, 422);
    t.same(fields(moved), ["spec.trustDomain"]);
  },
);

void t.test(
  "collections go across namespaces at the root, and by labels",
  async (t) => {
    const { call } = await rig(t);
    await call(
      "PUT",
      `${SHOP}/services/a`,
      service("a", { labels: { tier: "x" } }),
    );
    await call("PUT", `${OWN}/namespaces/infra/services/b`, service("b"));
    const names = async (url: string): Promise<string[]> =>
      ((await call("GET", url)).body["items"] as Resource[]).map(
        ({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`,
      );
    t.same(await names(`${OWN}/services`), ["infra/b", "shop/a"]);
    t.same(await names(`${OWN}/namespaces/infra/services`), ["infra/b"]);
    t.same(await names(`${OWN}/services?labelSelector=tier%3Dx`), ["shop/a"]);
    t.same(await names(`${OWN}/services?labelSelector=!tier`), ["infra/b"]);
    const wrong = await call("GET", `${OWN}/services?labelSelector=a%20b`);
    t.equal(wrong.code, 400);
    t.same(fields(wrong), ["labelSelector"]);
  },
);

void t.test("a name of 253 characters has a path", async (t) => {
  const { call } = await rig(t);
  const name = `${"a".repeat(62)}.`.repeat(4).slice(0, 251);
  const url = `${ROUTES}/${name}`;
  t.equal((await call("PUT", url, route(name, "orders", 80))).code, 201);
  t.equal((await call("GET", url)).code, 200);
});

void t.test(
  "a long list has the bytes that a short one would have",
  async (t) => {
    const { call, api, as } = await rig(t);
    for (let index = 0; index < 120; index += 1)
      await call("POST", `${SHOP}/services`, service(`s${index}`));
    const long = await call("GET", `${SHOP}/services`);
    const list = JSON.parse(long.text) as {
      items: { metadata: { name: string } }[];
    };
    t.equal(long.text, JSON.stringify(list));
    t.same(
      list.items.map(({ metadata }) => metadata.name),
      Array.from({ length: 120 }, (_, index) => `s${index}`).sort(),
    );
    t.match(long.headers["content-type"], /^application\/json/);
    const head = await api.inject({
      method: "HEAD",
      url: `${SHOP}/services`,
      headers: await as("viewer"),
    });
    t.same([head.statusCode, head.body], [200, ""]);
  },
);
