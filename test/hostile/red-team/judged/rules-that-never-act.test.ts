/** DENY rules that can never act, and routes that nobody reaches: whoever applies them is told, before a caller finds out. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { runCli } from "../../../support/control-plane/cli.ts";
import { withLiveMesh } from "../../../support/meshes/live-mesh.ts";
import { resource, withPair } from "../../../support/meshes/pair.ts";

function deny(name: string, rule: object, more: object = {}): Resource {
  return resource("AuthorizationPolicy", name, {
    action: "DENY",
    rules: [rule],
    ...more,
  });
}

const to = (operation: object): object => ({ to: [{ operation }] });
const from = (source: object): object => ({ from: [{ source }] });

/** What can never match, whatever the mesh holds. */
const NEVER: readonly Resource[] = [
  deny("final-dot", to({ hosts: ["orders.shop."] })),
  deny("empty-label", to({ hosts: ["orders..shop"] })),
  deny("suffix-dot", to({ hosts: ["*.shop."] })),
  deny("lower-method", to({ methods: ["delete"] })),
  deny("no-method", to({ methods: ["REMOVE"] })),
  deny("query", to({ paths: ["/admin?x"] })),
  deny("fragment", to({ paths: ["/admin#x"] })),
  deny("letters", to({ paths: ["/caf\u00e9"] })),
  deny("empty", to({ paths: [""] })),
  deny("scheme", from({ principals: ["spiffe://cluster.local/ns/a/sa/b"] })),
  deny("domain", from({ principals: ["other.domain/ns/shop/sa/web"] })),
  deny("cut", from({ principals: ["cluster.local/ns/shop/web*"] })),
  deny("selector", {}, { selector: { matchLabels: {} } }),
];

/** What matches nothing now, and the words for it. */
const NOT_NOW: readonly (readonly [Resource, RegExp])[] = [
  [
    deny("service-port", to({ ports: ["80"] }), {
      selector: { matchLabels: { app: "orders" } },
    }),
    /ports are the workload's, and port 80 of the Service leads to 8080/,
  ],
  [
    deny("label", {}, { selector: { matchLabels: { app: "order" } } }),
    /spec\.selector: selects nothing that there is now/,
  ],
  [
    deny("namespace", from({ namespaces: ["shopp"] })),
    /no Service and no Workload in namespace shopp/,
  ],
  [
    deny("slashes", to({ paths: ["/admin//x"] })),
    /must not contain "\/\/" where paths are normalised/,
  ],
  [
    resource("HTTPRoute", "expression", {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
      ],
      rules: [
        { backendRefs: [{ name: "orders", port: 80 }] },
        {
          matches: [{ path: { type: "RegularExpression", value: "/v1.*" } }],
          backendRefs: [{ name: "orders", port: 80 }],
        },
      ],
    }),
    /rule 1 of HTTPRoute shop\/expression is never reached .*: rule 0 of HTTPRoute shop\/expression takes every path/,
  ],
];

const ORDERS = resource("Service", "orders", {
  ports: [{ name: "http", port: 80, targetPort: 8080 }],
  selector: { app: "orders" },
});

void t.test("what can never match is refused", async (t) => {
  let silent = 0;
  await withLiveMesh(async (mesh) => {
    await mesh.admin.put(ORDERS);
    for (const policy of NEVER) {
      const { status, text } = await mesh.admin.put(policy);
      if (status < 300) silent += 1;
      t.equal(status, 422, `${policy.metadata.name}: ${text.slice(0, 200)}`);
    }
    // What was taken is in force, and stops nobody.
    const { resources } = await mesh.store.list("AuthorizationPolicy");
    await withPair({}, async (pair) => {
      if (resources.length > 0) pair.apply(resources);
      const { status } = await pair.call({ method: "DELETE" });
      t.comment(
        `${silent} of ${NEVER.length} rules that can never act were taken; a DELETE to orders.shop beside them: ${status}`,
      );
    });
  });
  t.equal(silent, 0);
});

void t.test(
  "what matches nothing now is told by lint, apply and status",
  async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "wherry-b9-"));
    await withLiveMesh(async (mesh) => {
      await mesh.admin.put(ORDERS);
      for (const [policy, words] of NOT_NOW) {
        const { name } = policy.metadata;
        const file = join(directory, `${name}.yaml`);
        await writeFile(
          file,
          [ORDERS, policy].map((each) => JSON.stringify(each)).join("\n---\n"),
        );
        if (name !== "namespace") {
          const linted = await runCli(["lint", file]);
          t.equal(linted.code, 0, `${name}: a warning is no error`);
          t.match(linted.out + linted.err, words, `lint tells of ${name}`);
        }
        const { code, err } = await runCli([
          ...["apply", "-f", file, "--server", mesh.apiUrl],
          ...["--token-file", mesh.adminTokenFile],
        ]);
        t.equal(code, 0, name);
        t.match(err, words, `apply tells of ${name}`);
        const { conditions } = await mesh.admin.get(policy);
        t.match(
          conditions,
          { Accepted: { status: "True", message: words } },
          `the condition tells of ${name}`,
        );
      }
    });
    await rm(directory, { recursive: true, force: true });
  },
);
