/** What ends a connection to the control plane, and that nothing which follows puts it off. */
import t, { type Test } from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import { endWithTrust } from "../../../src/agent/connections/end-with-trust.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { Revoked } from "../../../src/identity/revoked.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const mesh = fakeAuthority();
const next = fakeAuthority();
const own: Credentials = {
  ...mesh.credentials("web"),
  trustBundle: mesh.bundle + next.bundle,
};
const uri = mesh.id("control-plane");

function bed(t: Test) {
  const clock = fakeClock({ random: () => 0.99 });
  const credentials = watchSource<Credentials | undefined>(own);
  const revoked = watchSource(Revoked.NONE);
  const over = new AbortController();
  const by = { uri, instance: undefined, certificate: undefined };
  const options = { clock, credentials, revoked };
  const leave = endWithTrust(options, own, { by }, over);
  t.teardown(leave);
  const why = (): unknown =>
    over.signal.aborted ? String(over.signal.reason) : undefined;
  return { clock, credentials, revoked, leave, why };
}

void t.test("a revocation ends it, however many follow", (t) => {
  const { clock, revoked, why } = bed(t);
  revoked.set(new Revoked([{ name: "other", identity: mesh.id("pay") }]));
  clock.advance(5000);
  t.equal(why(), undefined, "another's is nothing to it");
  for (let more = 0; more < 10; more += 1) {
    const others = Array.from({ length: more }, (_, index) => ({
      ...{ name: `r${index}`, identity: mesh.id(`s${index}`) },
    }));
    revoked.set(new Revoked([{ name: "cp", identity: uri }, ...others]));
    clock.advance(200);
  }
  t.match(why(), /of the control plane: .* revoked by the Revocation cp/);
  t.end();
});

void t.test("a root that goes ends it, however often others change", (t) => {
  const { clock, credentials, why } = bed(t);
  for (let change = 0; change < 10; change += 1) {
    credentials.set({ ...own, trustBundle: next.bundle });
    clock.advance(200);
  }
  t.match(why(), /a root is not trusted any more/);
  t.end();
});

void t.test("a renewed certificate ends it at once", (t) => {
  const { credentials, why } = bed(t);
  credentials.set({ ...own, trustBundle: own.trustBundle + next.bundle });
  t.equal(why(), undefined);
  credentials.set({ ...own, generation: own.generation + 1 });
  t.match(why(), /the certificate was renewed/);
  t.end();
});

void t.test("one that has ended leaves nothing behind", (t) => {
  const { clock, revoked, leave, why } = bed(t);
  revoked.set(new Revoked([{ name: "cp", identity: uri }]));
  leave();
  t.equal(clock.pending, 0);
  revoked.set(new Revoked([{ name: "again", identity: uri }]));
  t.equal(clock.pending, 0);
  t.equal(why(), undefined);
  t.end();
});
