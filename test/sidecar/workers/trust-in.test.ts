/** What a worker's connections are judged by, as credentials and config change. */
import t from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { Revoked } from "../../../src/identity/revoked.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import { MESH_DEFAULTS } from "../../../src/resources/mesh/schema.ts";
import { trustIn } from "../../../src/sidecar/workers/trust-in.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";

void t.test("roots, revocations and trust domains, each as it is now", (t) => {
  const mesh = fakeAuthority();
  const own = mesh.credentials("web");
  const credentials = watchSource<Credentials | undefined>(undefined);
  type Config = Pick<Snapshot, "revoked" | "mesh">;
  const snapshot = watchSource<Config | undefined>(undefined);
  const trust = trustIn(credentials, snapshot);
  let changes = 0;
  t.teardown(trust.subscribe(() => (changes += 1)));
  const config = (...trustDomainAliases: readonly string[]): void =>
    snapshot.set({
      revoked: Revoked.NONE,
      mesh: { ...MESH_DEFAULTS, trustDomainAliases },
    });
  config("old.example");
  t.equal(trust.value, undefined, "nothing without credentials");
  credentials.set(own);
  const { trustBundle } = own;
  t.match(trust.value, { trustBundle, revoked: Revoked.NONE });
  t.same(trust.value?.trustDomains, ["cluster.local", "old.example"]);
  config("old.example");
  t.equal(changes, 1, "a config that says the same changes nothing");
  config();
  t.same(trust.value?.trustDomains, ["cluster.local"]);
  const revoked = new Revoked([{ name: "r", identity: mesh.id("pay") }]);
  snapshot.set({ revoked, mesh: MESH_DEFAULTS });
  t.equal(trust.value?.revoked, revoked);
  credentials.set({ ...own, trustBundle: fakeAuthority().bundle });
  t.not(trust.value?.trustBundle, trustBundle);
  t.equal(changes, 4);
  t.end();
});
