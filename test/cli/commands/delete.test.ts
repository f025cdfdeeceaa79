/** delete of files goes in one request: what is not there, what may not go, dry runs, and lists that need several requests. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { MOST_ITEMS } from "../../../src/control-plane/api/bodies.ts";
import { withControlPlane } from "../../support/control-plane/cli.ts";

const service = (namespace: string, name: string): string =>
  `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec: { ports: [{ port: 80 }], selector: { app: ${name} } }
`;
const MESH = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec: { authorization: { defaultAction: ALLOW } }
`;

void t.test("files, what is missing, and what may not go", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const { store } = controlPlane;
  const file = join(t.testdir(), "all.yaml");
  writeFileSync(
    file,
    ["a", "b"].map((name) => service("shop", name)).join("---\n"),
  );
  t.equal((await cli("apply", "-f", file)).code, 0);
  writeFileSync(
    file,
    [MESH, ...["a", "b", "c"].map((name) => service("shop", name))].join(
      "---\n",
    ),
  );
  const revision = await store.revision();
  const refusal = `error: ${file}:1:1: Mesh default holds the settings of the whole mesh: change it instead\nnothing was changed in the whole mesh\n`;
  t.strictSame(await cli("delete", "-f", file, "--dry-run"), {
    code: 1,
    out: "service/b deleted (dry run)\nservice/a deleted (dry run)\n",
    err: `service/c is not there\n${refusal}`,
  });
  t.equal(await store.revision(), revision);
  t.strictSame(await cli("delete", "-f", file), {
    code: 1,
    out: "service/b deleted\nservice/a deleted\n",
    err: `service/c is not there\n${refusal}`,
  });
  t.equal(await store.revision(), revision + 2);
  t.same((await store.list("Service")).resources, []);
  t.equal((await store.list("Mesh")).resources.length, 1);
});

void t.test("a dry run by name", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const file = join(t.testdir({ "a.yaml": service("shop", "a") }), "a.yaml");
  await cli("apply", "-f", file);
  t.strictSame(await cli("delete", "svc", "a", "-n", "shop", "--dry-run"), {
    code: 0,
    out: "service/a deleted (dry run)\n",
    err: "",
  });
  t.equal(
    (await controlPlane.store.list("Service")).resources.length,
    1,
    "it is there",
  );
});

void t.test("a long list goes in several requests", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const count = MOST_ITEMS + 2;
  const file = join(t.testdir(), "long.json");
  const items = Array.from({ length: count }, (_, index) => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: `s${index}`, namespace: "shop" },
    spec: { ports: [{ port: 80 }], selector: { app: `s${index}` } },
  }));
  writeFileSync(
    file,
    JSON.stringify({ kind: "List", apiVersion: "v1", items }),
  );
  t.equal((await cli("apply", "-f", file)).code, 0);
  const { code, out, err } = await cli("delete", "-f", file);
  t.equal(code, 0);
  t.equal(err, "");
  t.match(out, new RegExp(`^service/s${count - 1} deleted\n`));
  t.equal(out.match(/ deleted\n/g)?.length, count);
  t.same((await controlPlane.store.list("Service")).resources, []);
});
