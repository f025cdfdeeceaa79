/** apply of lists: what is refused at its place in the files, what is left alone, and lists that need several requests. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { MOST_ITEMS } from "../../../src/control-plane/api/bodies.ts";
import { withControlPlane } from "../../support/control-plane/cli.ts";

const service = (namespace: string, name: string, port = 80): string =>
  `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec: { ports: [{ port: ${port} }], selector: { app: ${name} } }
`;
const route = (namespace: string, to: string, port = 80): string =>
  `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${to}, namespace: ${namespace} }
spec:
  parentRefs: [{ kind: Service, name: ${to} }]
  rules:
    - backendRefs:
        - { name: ${to}, port: ${port} }
`;
/** Only the control plane knows that its authority issues for another. */
const MESH = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec: { trustDomain: other.example, authorization: { defaultAction: ALLOW } }
`;

void t.test(
  "a refused namespace is left alone, the others are applied",
  async (t) => {
    const { cli, controlPlane } = await withControlPlane(t);
    const { store } = controlPlane;
    const folder = t.testdir();
    const file = join(folder, "all.yaml");
    writeFileSync(
      file,
      [route("shop", "web"), service("shop", "web")].join("---\n"),
    );
    const first = await cli("apply", "-f", file);
    t.strictSame(first, {
      code: 0,
      out: "httproute/web created\nservice/web created\n",
      err: "",
    });
    // In the mesh the Service has one port, and the file does not hold the Service.
    const bad = join(folder, "bad.yaml");
    writeFileSync(
      bad,
      [
        service("else", "x"),
        service("shop", "y"),
        route("shop", "web", 81),
        MESH,
      ].join("---\n"),
    );
    const revision = await store.revision();
    const dry = await cli("apply", "-f", bad, "--dry-run");
    t.equal(dry.code, 1);
    t.equal(dry.out, "service/x created (dry run)\n");
    const atomic = await cli("apply", "-f", bad, "--atomic");
    t.equal(atomic.code, 1);
    t.equal(atomic.out, "");
    t.match(atomic.err, /nothing was changed\n$/);
    t.equal(await store.revision(), revision);

    const part = await cli("apply", "-f", bad);
    t.equal(part.code, 1);
    t.equal(part.out, "service/x created\n");
    const lines = part.err.trimEnd().split("\n");
    t.match(lines, [
      `error: ${bad}:18:30: spec.rules[0].backendRefs[0].port: Service shop/web has no port 81; it declares 80`,
      `${bad}:23:22: spec.trustDomain: is "other.example", but the certificate authority of this control plane issues for "cluster.local": start it with the other trust domain first`,
      "nothing was changed in namespace shop, the whole mesh",
    ]);
    t.equal(await store.revision(), revision + 1);
  },
);

void t.test("warnings are told at their field, of a dry run too", async (t) => {
  const { cli } = await withControlPlane(t);
  const file = join(t.testdir({ "r.yaml": route("shop", "none") }), "r.yaml");
  for (const more of [["--dry-run"], []]) {
    const { code, err } = await cli("apply", "-f", file, ...more);
    t.equal(code, 0);
    t.match(
      err,
      `warning: ${file}:5:39: spec.parentRefs[0].name: there is no Service shop/none yet`,
    );
  }
});

void t.test("a long list goes in several requests", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const count = MOST_ITEMS + 2;
  const folder = t.testdir();
  const file = join(folder, "long.json");
  // The routes of a namespace that does not fit come before what they need.
  const items = [
    { kind: "HTTPRoute", apiVersion: "gateway.networking.k8s.io/v1" },
    ...Array.from({ length: count - 1 }, () => undefined),
  ].map((head, index) => ({
    ...(head ?? { kind: "Service", apiVersion: "mesh.wherry.dev/v1alpha1" }),
    metadata: { name: `s${index}`, namespace: "shop" },
    spec:
      head === undefined
        ? { ports: [{ port: 80 }], selector: { app: `s${index}` } }
        : {
            parentRefs: [{ kind: "Service", name: `s${count - 1}` }],
            rules: [{ backendRefs: [{ name: `s${count - 1}`, port: 80 }] }],
          },
  }));
  writeFileSync(
    file,
    JSON.stringify({ kind: "List", apiVersion: "v1", items }),
  );
  const refused = await cli("apply", "-f", file, "--atomic");
  t.equal(refused.code, 1);
  t.match(
    refused.err,
    /--atomic needs one request, but 2002 resources need 2: a request has at most 2000 resources/,
  );
  const { code, out, err } = await cli("apply", "-f", file);
  t.equal(code, 0);
  t.equal(out.trimEnd().split("\n").length, count);
  t.equal(
    err,
    "2002 resources go in 2 requests: each applies what it has of a namespace as a whole, or not at all\n" +
      "2000 of 2002\n2002 of 2002\n",
  );
  const { resources } = await controlPlane.store.list("Service");
  t.equal(resources.length, count - 1);
  const again = await cli("apply", "-f", file);
  t.equal(again.out.match(/ unchanged\n/g)?.length, count);
});
