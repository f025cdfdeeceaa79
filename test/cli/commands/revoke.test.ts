/** `wherry revoke`: what it writes, lists and takes back; and the deletion of a Workload, which revokes. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { RevocationSpec } from "../../../src/resources/revocation/schema.ts";
import { REGISTERED_BY } from "../../../src/resources/workload/schema.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { runCli, withControlPlane } from "../../support/control-plane/cli.ts";

const WEB = "spiffe://cluster.local/ns/shop/sa/web";

async function specsIn(store: Store): Promise<readonly RevocationSpec[]> {
  const { resources } = await store.list("Revocation");
  return resources.map(({ spec }) => spec as RevocationSpec);
}

void t.test("written, listed, and taken back", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const { store } = controlPlane;
  const rows: readonly (readonly [
    readonly string[],
    RevocationSpec,
    readonly string[],
  ])[] = [
    [
      ["--instance", "shop/web-1", "--reason", "stolen"],
      { instance: "shop/web-1", reason: "stolen" },
      ["--instance", "shop/web-1"],
    ],
    [["--identity", WEB], { identity: WEB }, ["--identity", WEB]],
    [
      ["--serial", "4f:3a:91", "--until", "2036-12-24T00:00:00Z"],
      { serial: "4f:3a:91", until: "2036-12-24T00:00:00Z" },
      // Another way to write it.
      ["--serial", "00:4F3A91"],
    ],
  ];
  for (const [argv, spec, undo] of rows) {
    const what = argv.join(" ");
    const made = await cli("revoke", ...argv);
    t.equal(made.code, 0, made.err);
    t.match(made.out, / is revoked \(revocation\/[a-z0-9-]+\)\n$/, what);
    t.strictSame(await specsIn(store), [spec], what);
    t.equal((await cli("revoke", ...argv)).code, 0, "a second time");
    t.equal((await specsIn(store)).length, 1, "is the same one");
    const { out } = await cli("revoke", "list");
    t.match(out, /^REVOKED +SINCE +UNTIL +REASON +NAME\n/);
    t.ok(out.includes(spec.instance ?? spec.identity ?? "serial 4f:3a:91"));
    const json = JSON.parse(
      (await cli("revoke", "list", "-o", "json")).out,
    ) as readonly Resource[];
    t.match(json, [{ kind: "Revocation", spec }]);
    t.match(
      (await cli("revoke", ...undo, "--undo")).out,
      /is not revoked any more/,
    );
    t.strictSame(await specsIn(store), [], `${what}: undone`);
    const again = await cli("revoke", ...undo, "--undo");
    t.equal(again.code, 1);
    t.match(again.err, /is not revoked/);
  }
});

void t.test("what it refuses", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const rows: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /specify one of --identity, --instance and --serial/],
    [
      ["--instance", "shop/web-1", "--serial", "a1"],
      /specify one of --identity, --instance and --serial/,
    ],
    [["--instance", "web-1"], /spec\.instance.*NAMESPACE\/NAME/],
    [["--identity", "web"], /spec\.identity.*SPIFFE ID/],
    [["--serial", "x"], /spec\.serial.*hexadecimal/],
    [
      [
        "--identity",
        "spiffe://cluster.local/ns/wherry-system/sa/control-plane",
      ],
      /control plane's own/,
    ],
    [["--instance", "wherry-system/control-plane"], /control plane's own/],
    [["--serial", "a1", "--until", "soon"], /invalid --until "soon"/],
  ];
  for (const [argv, expected] of rows) {
    const { code, err } = await cli("revoke", ...argv);
    t.not(code, 0, argv.join(" "));
    t.match(err, expected, argv.join(" "));
  }
  t.strictSame(await specsIn(controlPlane.store), []);
  const token = JSON.parse(
    (
      await cli(
        ...["token", "create", "--role", "editor", "--for-namespace", "shop"],
        ...["-o", "json"],
      )
    ).out,
  ) as { token: string };
  const { code, err } = await runCli(
    [
      ...["revoke", "--instance", "shop/web-1"],
      ...["--server", controlPlane.apiUrl],
    ],
    { environment: { WHERRY_TOKEN: token.token } },
  );
  t.equal(code, 1);
  t.match(err, /may not|needs|not allowed/i, "an editor of a namespace");
});

void t.test("a Workload that a sidecar registered", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const { store } = controlPlane;
  const directory = await mkdtemp(join(tmpdir(), "wherry-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "workload.json");
  const workload = (registered: boolean): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: {
      name: "web-1",
      namespace: "shop",
      ...(registered ? { annotations: { [REGISTERED_BY]: WEB } } : {}),
    },
    spec: { address: "10.0.0.1", ports: { http: 80 }, serviceAccount: "web" },
  });
  await writeFile(file, JSON.stringify(workload(false)));
  const named = ["delete", "workload", "web-1", "-n", "shop"];
  const rows: readonly (readonly [string, string[], boolean, number])[] = [
    ["by name", named, true, 1],
    ["by name, a person's", named, false, 0],
    ["by name, only deregistered", [...named, "--deregister-only"], true, 0],
    ["by name, on trial", [...named, "--dry-run"], true, 0],
    ["in a list", ["delete", "-f", file], true, 1],
    ["in a list, a person's", ["delete", "-f", file], false, 0],
    ["in a list, on trial", ["delete", "-f", file, "--dry-run"], true, 0],
  ];
  for (const [what, argv, registered, revoked] of rows) {
    await store.put(workload(registered), undefined);
    const { code, err } = await cli(...argv);
    t.equal(code, 0, `${what}: ${err}`);
    const specs = await specsIn(store);
    t.equal(specs.length, revoked, what);
    if (revoked > 0)
      t.match(specs, [{ instance: "shop/web-1", beginsUpTo: /^20/ }], what);
    await store.remove({ kind: "Workload", namespace: "shop", name: "web-1" });
    await store.remove({
      kind: "Revocation",
      namespace: "",
      name: "deleted.shop.web-1",
    });
  }
  const other = await cli(
    ...["delete", "service", "web", "-n", "shop", "--deregister-only"],
  );
  t.match(other.err, /--deregister-only is for workloads/);
});
