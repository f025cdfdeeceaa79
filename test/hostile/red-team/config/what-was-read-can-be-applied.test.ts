/** What `get -o yaml` prints can be applied again after the resource was deleted, and never over what somebody else has written since. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { runCli, type Ran } from "../../../support/control-plane/cli.ts";
import { withLiveMesh } from "../../../support/meshes/live-mesh.ts";
import { resource } from "../../../support/meshes/pair.ts";

const ORDERS = resource("Service", "orders", {
  ports: [{ name: "http", port: 80 }],
  selector: { app: "orders" },
});
const POLICY = resource("TrafficPolicy", "orders", {
  targetRefs: [{ kind: "Service", name: "orders" }],
});

void t.test("get -o yaml | delete | apply", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "wherry-e-"));
  await withLiveMesh(async (mesh) => {
    const cli = (...argv: string[]): Promise<Ran> =>
      runCli([
        ...argv,
        ...["--server", mesh.apiUrl, "--token-file", mesh.adminTokenFile],
      ]);
    const file = join(directory, "kept.yaml");
    const keep = async (): Promise<void> => {
      const got = await cli("get", "services", "-n", "shop", "-o", "yaml");
      const more = await cli(
        "get",
        "trafficpolicies",
        "-n",
        "shop",
        "-o",
        "yaml",
      );
      await writeFile(file, `${got.out}---\n${more.out}`);
    };
    await mesh.admin.put(ORDERS);
    await mesh.admin.put(POLICY);
    await keep();
    const before = JSON.parse((await mesh.admin.get(ORDERS)).text) as Resource;
    t.match(await cli("delete", "-f", file), { code: 0 });
    const dry = await cli("apply", "-f", file, "--dry-run");
    t.match(dry, { code: 0, out: /service\/orders created \(dry run\)/ });
    const applied = await cli("apply", "-f", file);
    t.comment(
      `apply of what was read and deleted: ${applied.code} ${applied.err.trim()}`,
    );
    t.match(applied, {
      code: 0,
      out: /service\/orders created\ntrafficpolicy\/orders created/,
    });
    const after = JSON.parse((await mesh.admin.get(ORDERS)).text) as Resource;
    t.same(after.spec, before.spec);
    t.not(after.metadata.uid, before.metadata.uid, "it is another one");
    t.ok(
      Date.parse(after.metadata.creationTimestamp ?? "") >=
        Date.parse(before.metadata.creationTimestamp ?? ""),
      "and as old as the store says",
    );

    // The version in the file is the deleted one's: the new one is not overwritten by it.
    const stale = await cli("apply", "-f", file);
    t.equal(stale.code, 1);
    t.match(stale.err, /is at resourceVersion \d+, but the write expected/);

    await keep();
    t.match(await cli("apply", "-f", file), {
      code: 0,
      out: /service\/orders unchanged/,
    });
    const changed = {
      ...ORDERS,
      metadata: { ...ORDERS.metadata, labels: { a: "b" } },
    };
    await mesh.admin.put(changed);
    t.match(
      await cli("apply", "-f", file),
      { code: 1, err: /resourceVersion/ },
      "what another has written since is not overwritten",
    );
    t.equal(
      (
        await mesh.admin.put({
          ...before,
          metadata: { ...before.metadata, name: "gone" },
        })
      ).status,
      409,
      "a PUT that names a version is of what was read, and makes nothing anew",
    );
  });
  await rm(directory, { recursive: true, force: true });
});
