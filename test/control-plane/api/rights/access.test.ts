/** Who may do what: the table of roles, verbs and places, and that every path but the open ones asks for a token (trap 17). */
import t from "tap";
import {
  exportRefusal,
  refusal,
} from "../../../../src/control-plane/api/rights/access.ts";
import type { Principal } from "../../../../src/control-plane/tokens.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import {
  OWN,
  rig,
  route,
  ROUTES,
  service,
  SHOP,
} from "../../../support/control-plane/api.ts";

const ROOT = `${OWN}/namespaces/wherry-system`;

void t.test("the table of who may do what", (t) => {
  const admin: Principal = { tokenId: "a", role: "admin" };
  const editor: Principal = { tokenId: "e", role: "editor" };
  const viewer: Principal = { tokenId: "v", role: "viewer" };
  const only = (principal: Principal): Principal => ({
    ...principal,
    namespaces: ["shop"],
  });
  // principal, verb, namespace ("" = of the mesh, undefined = over all), allowed
  const rows: readonly (readonly [
    Principal,
    "read" | "write",
    string | undefined,
    boolean,
  ])[] = [
    [admin, "write", "", true],
    [admin, "write", "wherry-system", true],
    [admin, "write", "shop", true],
    [admin, "read", undefined, true],
    [editor, "write", "shop", true],
    [editor, "write", "wherry-system", false],
    [editor, "write", "", false],
    [editor, "read", undefined, true],
    [viewer, "write", "shop", false],
    [viewer, "read", "shop", true],
    [viewer, "read", "", true],
    [only(editor), "write", "shop", true],
    [only(editor), "write", "infra", false],
    [only(editor), "read", "infra", false],
    [only(editor), "read", undefined, false],
    [only(editor), "read", "wherry-system", true],
    [only(editor), "read", "", true],
    [only(viewer), "read", "shop", true],
    [only(viewer), "read", "infra", false],
    [only(admin), "write", "shop", true],
    [only(admin), "write", "", false],
    [only(admin), "write", "wherry-system", false],
    [only(admin), "read", undefined, false],
  ];
  for (const [principal, verb, namespace, allowed] of rows)
    t.equal(
      refusal(principal, verb, namespace) === undefined,
      allowed,
      `${principal.role} ${principal.namespaces?.join() ?? "everywhere"} ${verb} ${namespace ?? "all"}`,
    );
  t.end();
});

void t.test(
  "without a token nothing but health and the documentation answers",
  async (t) => {
    const { api, call } = await rig(t);
    for (const [method, url] of [
      ["GET", `${SHOP}/services`],
      ["PUT", `${SHOP}/services/a`],
      ["GET", "/status"],
      ["GET", "/store"],
      ["POST", "/store/accept"],
      ["GET", "/tokens"],
      ["POST", "/tokens/api"],
      ["GET", "/no/such/path"],
      ["OPTIONS", `${SHOP}/services`],
    ] as const) {
      const answer = await api.inject({ method, url, payload: "{{{" });
      t.equal(answer.statusCode, 401, `${method} ${url}`);
      t.equal(answer.headers["www-authenticate"], 'Bearer realm="wherry"');
      t.match(answer.json(), {
        kind: "Status",
        reason: "Unauthorized",
        message: /admin.token/,
      });
    }
    for (const url of ["/livez", "/readyz", "/openapi.json"])
      t.equal((await api.inject(url)).statusCode, 200, url);
    for (const authorization of [
      "Bearer nonsense",
      "Basic YTpi",
      "Bearer",
      "Bearer a b",
    ]) {
      const answer = await call("GET", "/status", undefined, { authorization });
      t.equal(answer.code, 401, authorization);
      t.match(answer.body, { message: /revoked or expired/ });
    }
  },
);

void t.test(
  "a role that is too small gets 403 and is told what is missing",
  async (t) => {
    const { call, as, store } = await rig(t);
    const editor = await as("editor");
    const viewer = await as("viewer");
    const shopper = await as("editor", ["shop"]);
    const mesh = { spec: { authorization: { defaultAction: "ALLOW" } } };
    const revision = await store.revision();
    for (const [method, url, body, headers, message] of [
      ["PUT", `${SHOP}/services/a`, service("a"), viewer, /only reads/],
      ["PATCH", `${OWN}/meshes/default`, mesh, editor, /whole mesh/],
      ["PUT", `${ROOT}/services/a`, service("a"), editor, /wherry-system/],
      ["DELETE", `${ROOT}/services/a`, undefined, editor, /wherry-system/],
      [
        "PUT",
        `${OWN}/namespaces/infra/services/a`,
        service("a"),
        shopper,
        /not for infra/,
      ],
      ["GET", `${OWN}/services`, undefined, shopper, /namespaces\/NAME/],
      [
        "GET",
        `${OWN}/services?watch=1`,
        undefined,
        shopper,
        /namespaces\/NAME/,
      ],
      ["POST", "/tokens/api", { role: "admin" }, editor, /role admin/],
      ["GET", "/tokens", undefined, viewer, /role admin/],
      ["DELETE", "/tokens/api/x", undefined, viewer, /role admin/],
      ["POST", "/store/accept", { id: "x" }, editor, /role admin/],
    ] as const) {
      const answer = await call(method, url, body, headers);
      t.equal(answer.code, 403, `${method} ${url}`);
      t.match(answer.body, { reason: "Forbidden", message });
    }
    t.equal(await store.revision(), revision);
    const mayDo = await call(
      "PUT",
      `${SHOP}/services/a`,
      service("a"),
      shopper,
    );
    t.equal(mayDo.code, 201);
    const mayRead = await call("GET", `${OWN}/meshes`, undefined, shopper);
    t.equal(mayRead.code, 200);
    t.equal(
      (await call("PUT", `${ROUTES}/r`, route("r", "a", 80), editor)).code,
      201,
    );
  },
);

void t.test(
  "a workload under a lease is its sidecar's; an administrator may still mend it",
  async (t) => {
    const { call, as, world } = await rig(t);
    const editor = await as("editor");
    const url = `${SHOP}/workloads/web-1`;
    const workload = (annotations = {}): unknown => ({
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "web-1", annotations },
      spec: { address: "10.0.0.1", ports: { http: 8080 } },
    });
    const forged = await call(
      "PUT",
      url,
      workload({ "mesh.wherry.dev/registered-by": "spiffe://x/ns/y/sa/z" }),
      editor,
    );
    t.equal(forged.code, 403);
    t.equal((await call("PUT", url, workload())).code, 201);
    world.leased.add("shop/web-1");
    const patch = { spec: { weight: 2 } };
    for (const [method, body] of [
      ["PUT", workload()],
      ["PATCH", patch],
      ["DELETE", undefined],
    ] as const) {
      const answer = await call(method, url, body, editor);
      t.equal(answer.code, 403, method);
      t.match(answer.body, { message: /under a lease/ });
    }
    t.equal((await call("PATCH", url, patch)).code, 200);
    t.equal((await call("DELETE", url)).code, 200);
  },
);

void t.test(
  "who may export the hosts of an external Service, and where",
  (t) => {
    const admin: Principal = { tokenId: "a", role: "admin" };
    const editor: Principal = { tokenId: "e", role: "editor" };
    const both: Principal = { ...editor, namespaces: ["shop", "infra"] };
    const one: Principal = { ...editor, namespaces: ["shop"] };
    const oneAdmin: Principal = { ...admin, namespaces: ["shop"] };
    const rows: readonly (readonly [
      Principal,
      readonly string[] | undefined,
      boolean,
    ])[] = [
      [admin, undefined, true],
      [admin, ["*"], true],
      [editor, undefined, false],
      [editor, ["*"], false],
      [editor, ["infra"], true],
      [editor, ["wherry-system"], false],
      [both, ["."], true],
      [both, ["shop"], true],
      [both, ["infra", "."], true],
      [both, ["infra", "*"], false],
      [both, ["infra", "other"], false],
      [one, ["."], true],
      [one, ["infra"], false],
      [one, undefined, false],
      [oneAdmin, undefined, false],
      [oneAdmin, ["."], true],
    ];
    for (const [principal, exportTo, allowed] of rows) {
      const external = service(
        "partner",
        { namespace: "shop" },
        {
          location: "MESH_EXTERNAL",
          hosts: ["api.partner.example"],
          ...(exportTo === undefined ? {} : { exportTo }),
        },
      ) as unknown as Resource;
      const why = exportRefusal(principal, external);
      t.equal(
        why === undefined,
        allowed,
        `${JSON.stringify(principal)} to ${JSON.stringify(exportTo)}: ${why ?? "may"}`,
      );
    }
    t.equal(
      exportRefusal(
        one,
        service("own", { namespace: "shop" }) as unknown as Resource,
      ),
      undefined,
      "names of the mesh's own Services are their namespace's",
    );
    t.end();
  },
);

void t.test(
  "an editor neither makes, changes nor patches an exported external Service",
  async (t) => {
    const { call, as } = await rig(t);
    const editor = await as("editor", ["shop"]);
    const body = (spec = {}) =>
      service(
        "partner",
        {},
        {
          location: "MESH_EXTERNAL",
          hosts: ["api.partner.example"],
          selector: undefined,
          ...spec,
        },
      );
    const url = `${SHOP}/services/partner`;
    for (const dryRun of ["", "?dryRun=All"]) {
      const post = await call(
        "POST",
        `${SHOP}/services${dryRun}`,
        body(),
        editor,
      );
      t.match(post, { code: 403, text: /exportTo: \[\\"\.\\"\]/ });
      const put = await call("PUT", `${url}${dryRun}`, body(), editor);
      t.equal(put.code, 403);
    }
    t.equal(
      (await call("PUT", url, body())).code,
      201,
      "an administrator does",
    );
    const hijack = { spec: { hosts: ["api.other.example"] } };
    t.equal((await call("PATCH", url, hijack, editor)).code, 403);
    t.equal(
      (await call("PATCH", url, { spec: { exportTo: ["."] } }, editor)).code,
      200,
      "to draw it back takes nothing from anybody",
    );
  },
);

void t.test(
  "the address of a Workload is an administrator's to write; the rest is the editor's",
  async (t) => {
    const { call, as } = await rig(t);
    const url = `${SHOP}/workloads/web-1`;
    const workload = (spec = {}, name = "web-1"): unknown => ({
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name },
      spec: { address: "10.0.0.1", ports: { http: 8080 }, ...spec },
    });
    for (const role of [
      await as("editor"),
      await as("editor", ["shop"]),
      await as("admin", ["shop"]),
    ]) {
      const made = await call("PUT", url, workload(), role);
      t.equal(made.code, 403);
      t.match(made.body, { message: /draws the calls of all namespaces/ });
    }
    t.equal((await call("PUT", url, workload())).code, 201);
    const editor = await as("editor", ["shop"]);
    t.equal(
      (await call("PATCH", url, { spec: { weight: 2 } }, editor)).code,
      200,
    );
    for (const spec of [
      { address: "10.0.0.2" },
      { ports: { http: 8081 } },
      { link: { port: 15008 } },
      { serviceAccount: "orders" },
    ])
      t.equal(
        (await call("PATCH", url, { spec }, editor)).code,
        403,
        JSON.stringify(spec),
      );
    t.equal(
      (await call("PATCH", url, { spec: { address: "10.0.0.2" } })).code,
      200,
    );
    const other = await call(
      "PUT",
      `${SHOP}/workloads/other`,
      workload({ address: "10.0.0.2", serviceAccount: "other" }, "other"),
    );
    t.equal(other.code, 422, "not even an administrator gives it away twice");
    t.match(other.body, {
      message: /10\.0\.0\.2:8080 belongs to Workload shop\/web-1/,
    });
  },
);

void t.test(
  "what an editor may write in place of a Workload is judged by the one that it replaces",
  async (t) => {
    const { call, as, store } = await rig(t);
    const url = `${SHOP}/workloads/web-1`;
    const key = { kind: "Workload", namespace: "shop", name: "web-1" };
    const workload = {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "web-1" },
      spec: { address: "10.0.0.1", ports: { http: 8080 } },
    };
    const weighted = { ...workload, spec: { ...workload.spec, weight: 2 } };
    const editor = await as("editor", ["shop"]);
    const get = store.get.bind(store);
    /** What an administrator does between the editor's look and the editor's write. */
    const meanwhile = (run: () => Promise<unknown>): void => {
      store.get = async (asked) => {
        const found = await get(asked);
        if (asked.kind !== key.kind) return found;
        store.get = get;
        await run();
        return found;
      };
    };

    await call("PUT", url, workload);
    meanwhile(() => store.remove(key));
    const gone = await call("PUT", url, weighted, editor);
    t.equal(gone.code, 403, gone.text);
    t.equal(await get(key), undefined, "it stays away");

    await call("PUT", url, workload);
    meanwhile(() => call("PATCH", url, { spec: { address: "10.0.0.2" } }));
    t.equal((await call("PUT", url, weighted, editor)).code, 403);
    t.match(await get(key), { spec: { address: "10.0.0.2" } });

    meanwhile(() => call("PATCH", url, { spec: { weight: 5 } }));
    const spec = { ...workload.spec, address: "10.0.0.2", weight: 2 };
    const put = await call("PUT", url, { ...workload, spec }, editor);
    t.equal(put.code, 200, "what it may write, it writes");
    t.match(await get(key), { spec: { weight: 2 } });
  },
);
