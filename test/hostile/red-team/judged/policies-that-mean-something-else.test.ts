/** An ALLOW that was only to be tried, and a DENY for the whole mesh in Istio's root namespace: whoever applies them believes to be safe. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { lookAt } from "../../../../src/agent/files/look.ts";
import { readResources } from "../../../../src/agent/files/read-resources.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { runCli } from "../../../support/control-plane/cli.ts";
import { withLiveMesh } from "../../../support/meshes/live-mesh.ts";
import { resource, withPair } from "../../../support/meshes/pair.ts";

const TRIED = resource(
  "AuthorizationPolicy",
  "let-all-in-to-try",
  { selector: { matchLabels: { app: "orders" } }, rules: [{}] },
  { annotations: { "istio.io/dry-run": "True" } },
);
const FOR_ALL = resource(
  "AuthorizationPolicy",
  "nobody-deletes",
  { action: "DENY", rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }] },
  { namespace: "istio-system" },
);
const STRICT = resource(
  "PeerAuthentication",
  "strict",
  { mtls: { mode: "STRICT" } },
  { namespace: "istio-system" },
);
const CLOSED = resource("AuthorizationPolicy", "nobody", {
  selector: { matchLabels: { app: "orders" } },
});

const CASES = [
  {
    policy: TRIED,
    says: /istio\.io\/dry-run.*expected \\?"true\\?" or \\?"false\\?"/,
    beside: [CLOSED],
    method: "GET",
    opened: "a caller that no policy lets in",
  },
  {
    policy: FOR_ALL,
    says: /the root namespace is wherry-system; move it there/,
    beside: [],
    method: "DELETE",
    opened: "a DELETE that the DENY was to stop",
  },
  {
    policy: STRICT,
    says: /the root namespace is wherry-system; move it there/,
    beside: [],
    method: "GET",
    opened: undefined,
  },
] as const;

for (const { policy, says, beside, method, opened } of CASES)
  void t.test(
    `${policy.kind} ${policy.metadata.namespace ?? ""}/${policy.metadata.name} is refused with what to do`,
    async (t) => {
      const directory = await mkdtemp(join(tmpdir(), "wherry-b8-"));
      const file = join(directory, "policy.json");
      await writeFile(file, JSON.stringify(policy));
      await withLiveMesh(async (mesh) => {
        const put = await mesh.admin.put(policy);
        t.equal(put.status, 422, "the API refuses it");
        t.match(put.text, says);
        const { resources } = await mesh.store.list("AuthorizationPolicy");
        if (opened !== undefined)
          await withPair({ resources: [...beside] }, async (pair) => {
            // What the store holds is in force beside the application.
            const inForce: Resource[] = [...beside, ...resources];
            pair.apply(inForce);
            const { status } = await pair.call({ method });
            t.comment(
              `what is in force answers ${opened} with ${status}; the API said ${put.status}`,
            );
            if (beside.length > 0) t.equal(status, 403, "nobody else gets in");
          });
        const { code, err } = await runCli([
          ...["apply", "-f", file, "--server", mesh.apiUrl],
          ...["--token-file", mesh.adminTokenFile],
        ]);
        t.equal(code, 1, "apply refuses it");
        t.match(err, says);
      });
      const linted = await runCli(["lint", file]);
      t.equal(linted.code, 1, "lint refuses it");
      t.match(linted.out + linted.err, says);
      const read = await readResources({
        path: file,
        signature: (await lookAt(() => Promise.resolve([file]))).signature,
        maxBytes: 1 << 20,
        wall: systemClock.wall(),
        inForce: new Map(),
      });
      t.match(
        read,
        { kind: "unusable", reason: says },
        "a static sidecar refuses it",
      );
      await rm(directory, { recursive: true, force: true });
    },
  );
