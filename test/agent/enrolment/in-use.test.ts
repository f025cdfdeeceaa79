/** What a rotation of the root means where the new certificate is not valid by this machine's clock, which is behind. */
import t from "tap";
import { startCertificates } from "../../../src/agent/enrolment/certificates.ts";
import { chooseInUse } from "../../../src/agent/enrolment/in-use.ts";
import { writeCredentials } from "../../../src/agent/enrolment/kept-credentials.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { watchSource } from "../../../src/core/watch.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { fingerprintOf, readCertificates } from "../../../src/identity/pem.ts";
import { signBundle } from "../../../src/identity/trust-bundle.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";

const WALL = Date.UTC(2026, 0, 1);
const HOUR = 3_600_000;
const before = fakeAuthority({ now: WALL });
const after = fakeAuthority({ now: WALL });

void t.test("which one is shown, and under which roots", (t) => {
  const both = `${after.bundle}${before.bundle}`;
  const rows: readonly (readonly [
    what: string,
    held: string,
    roots: string,
    shown: "present" | "newest",
  ])[] = [
    ["both roots are trusted, and known", both, both, "present"],
    ["they came with the new certificate", before.bundle, both, "present"],
    ["the old one is retired", both, after.bundle, "newest"],
    ["at once", before.bundle, after.bundle, "newest"],
  ];
  for (const [what, held, trustBundle, shown] of rows) {
    const present: Credentials = {
      ...before.credentials("web"),
      trustBundle: held,
      notBefore: WALL - 12 * HOUR,
      notAfter: WALL + 12 * HOUR,
    };
    const newest: Credentials = {
      ...after.credentials("web"),
      trustBundle,
      bundle: { serial: 2, issuer: "x", renewWithin: 0 },
      notBefore: WALL + HOUR,
      notAfter: WALL + 25 * HOUR,
      meshTime: { wall: WALL + 2 * HOUR, at: 0 },
    };
    const clock = fakeClock({ wall: WALL });
    const { credentials } = chooseInUse(present, newest, clock);
    const { generation } = shown === "present" ? present : newest;
    t.match(credentials, { generation, trustBundle }, what);
    t.same(credentials?.meshTime, newest.meshTime, what);
  }
  t.end();
});

void t.test("the root is retired while the old one is shown", async (t) => {
  const clock = fakeClock({ wall: WALL });
  const directory = await openStateDirectory(await temporaryDirectory(t));
  const both = `${after.bundle}${before.bundle}`;
  const held = {
    ...after.credentials("web", {
      notBefore: WALL + HOUR,
      notAfter: WALL + 25 * HOUR,
    }),
    trustBundle: both,
  };
  await writeCredentials(directory, {
    held: { credentials: held, since: WALL },
    inUse: { ...before.credentials("web"), trustBundle: both },
  });
  const certificates = await startCertificates({
    ...{ address: "127.0.0.1:1", token: undefined, name: "" },
    ...{ directory, clock, logger: silentLogger },
    rotateAt: () => 0.5,
    turn: watchSource(false),
  });
  const rootOf = (): string | undefined => {
    const { value } = certificates.credentials;
    const chain = value && readCertificates(value.certificateChain, "chain");
    return [before, after].find(
      ({ issuing }) => chain?.[1]?.raw.equals(issuing.certificate.raw) === true,
    )?.bundle;
  };
  t.equal(rootOf(), before.bundle);
  const { certificate, privateKey } = after.issuing;
  const signed = signBundle(
    {
      ...{ trustDomain: after.trustDomain, serial: 1, roots: after.bundle },
      ...{ issuer: fingerprintOf(after.root), renewWithin: 0 },
    },
    { signers: certificate.toString(), privateKey },
  );
  t.equal(await certificates.trust(signed), undefined);
  t.equal(rootOf(), undefined, "nobody takes the old one");
  clock.advance(HOUR);
  t.equal(rootOf(), after.bundle);
  await certificates.close();
});
