/** The roots of the mesh with an external issuer: when it issues, how its roots move, and that nothing is left on which sidecars stand. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ExternalIssuer } from "../../../src/control-plane/issuer/external-issuer.ts";
import {
  LOOK_AT_ROOTS,
  openIssuerRoots,
  type IssuerRoots,
} from "../../../src/control-plane/issuer/issuer-roots.ts";
import type { Asked } from "../../../src/control-plane/issuer/issued-chain.ts";
import { signedBy } from "../../../src/control-plane/issuer/signed-by.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import {
  openTrust,
  type Trust,
} from "../../../src/control-plane/trust/trust.ts";
import { makeLogger, silentLogger } from "../../../src/core/log.ts";
import { rootAbove } from "../../../src/identity/chain.ts";
import { encodeBinding, Oid } from "../../../src/identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../../src/identity/pem.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { openBundle } from "../../../src/identity/trust-bundle.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { leafExtensions } from "../../support/certificates/odd-certificates.ts";
import { leafFor } from "../../support/certificates/signing-server.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  temporaryDirectory,
  TRUST_DOMAIN,
} from "../../support/control-plane/push-control-plane.ts";

const now = Math.floor(Date.now() / 1000) * 1000;
const ours = fakeAuthority({ now });
const second = fakeAuthority({ now });
const third = fakeAuthority({ now });
const print = ({ root }: typeof ours): string => fingerprintOf(root);

const BY = signedBy("http", new URL("https://u:p@pki.example/sign?key=1"));

type Mode = "none" | "roots" | "signs";

interface World {
  readonly clock: FakeClock;
  readonly directory: string;
  readonly store: Store;
  /** Which of them signs. */
  by: typeof ours;
  readonly file: (...of: (typeof ours)[]) => Promise<void>;
  /** As a control plane that is started. */
  readonly open: (mode: Mode) => Promise<Trust>;
  /** Of the one that was started last. */
  followed: IssuerRoots | undefined;
  /** What follows from the file. */
  following: Promise<unknown>;
}

async function world(t: Test): Promise<World> {
  const clock = fakeClock({ wall: now });
  const directory = await temporaryDirectory(t);
  const store = openMemoryStore({ clock });
  const file = join(directory, "roots.pem");
  const logger = silentLogger;
  const rig: World = {
    ...{ clock, directory, store, by: ours },
    ...{ followed: undefined, following: Promise.resolve() },
    file: (...of) => writeFile(file, of.map(({ bundle }) => bundle).join("")),
    async open(mode) {
      const options = {
        ...{ directory: join(directory, "authority"), store, clock, logger },
        trustDomain: TRUST_DOMAIN,
      };
      if (mode === "none") return openTrust(options);
      const followed = await openIssuerRoots({ file, clock, logger });
      t.teardown(() => followed.close());
      rig.followed = followed;
      const { roots } = followed;
      const sign = (asked: Asked): Promise<string> =>
        Promise.resolve(signed(asked, rig.by));
      const issuer = new ExternalIssuer({
        ...{ roots, clock },
        ...(mode === "signs" ? { signer: { sign }, signedBy: BY } : {}),
      });
      const trust = await openTrust({ ...options, issuer });
      roots.subscribe(() => {
        rig.following = trust.followIssuer();
      });
      return trust;
    },
  };
  await rig.file(ours);
  return rig;
}

function signed(asked: Asked, { issuing }: typeof ours): string {
  const { csr, spiffeId, binding, notBefore: from, notAfter: to } = asked;
  const bound = { oid: Oid.BINDING, value: encodeBinding(binding) };
  const extensions = { ...leafExtensions(spiffeId), bound };
  const leaf = leafFor(csr, issuing, { from, to, extensions });
  return leaf + issuing.certificate.toString();
}

/** Fingerprint of the root that a certificate is issued under. */
async function issuedUnder(trust: Trust): Promise<string | undefined> {
  const { certificateChain } = await trust.sign(
    createCsr(generatePrivateKey()),
    {
      spiffeId: ours.id("web"),
      name: "web-1",
      labels: { app: "web" },
      ttlMs: 3_600_000,
    },
    new AbortController().signal,
  );
  const root = rootAbove(
    readCertificates(certificateChain, "chain"),
    readCertificates(trust.trustBundle, "roots"),
  );
  return root === undefined ? undefined : fingerprintOf(root);
}

function facts(trust: Trust): object {
  return {
    roots: readCertificates(trust.trustBundle, "roots").map(fingerprintOf),
    issues: trust.issuerRoot,
  };
}

/** The file is looked at once. */
async function look(rig: World): Promise<void> {
  rig.clock.advance(LOOK_AT_ROOTS);
  await rig.followed?.latestLook;
  await rig.following;
}

/** The notes of the audit log, the first one first. */
async function recorded({ store }: World): Promise<readonly unknown[]> {
  const query = { readable: "all", kind: "Trust", limit: 100 } as const;
  const { entries } = await store.audited(query);
  return entries.map(({ note }) => note).reverse();
}

/** As often as it takes for what it has to count. */
async function looked(rig: World): Promise<void> {
  await look(rig);
  await look(rig);
}

void t.test(
  "a new mesh is issued from outside from the start; the control plane proves itself and the roots as before",
  async (t) => {
    const rig = await world(t);
    const trust = await rig.open("signs");
    const own = trust.fingerprint;
    t.same(facts(trust), { roots: [own, print(ours)], issues: print(ours) });
    t.equal(await issuedUnder(trust), print(ours));
    const { certificateChain } = trust.own(ours.id("control-plane"));
    const roots = readCertificates(trust.trustBundle, "roots");
    const chain = readCertificates(certificateChain, "own");
    const above = rootAbove(chain, roots);
    t.equal(above === undefined ? "" : fingerprintOf(above), own);
    // By what an enrolment token pins.
    const [pinned] = roots;
    t.match(
      openBundle(trust.signed, {
        trustBundle: pinned?.toString() ?? "",
        trustDomain: TRUST_DOMAIN,
        times: [rig.clock.wall()],
      }),
      { issuer: print(ours), roots: trust.trustBundle },
    );
    await t.rejects(trust.begin(), { message: /rotate its root there/ });
    t.equal(trust.rotation, undefined);
  },
);

void t.test(
  "a mesh that there is gets the roots first, and can go back",
  async (t) => {
    const rig = await world(t);
    const own = (await rig.open("none")).fingerprint;
    await t.rejects(rig.open("signs"), {
      message:
        /no sidecar has the root of the external issuer yet: start with --issuer-roots/,
    });
    const both = { roots: [own, print(ours)] };
    let trust = await rig.open("roots");
    t.same(facts(trust), { ...both, issues: own });
    t.equal(await issuedUnder(trust), own);
    const { serial } = trust.offer.value;
    rig.clock.advance(1000);
    trust = await rig.open("signs");
    t.same(facts(trust), { ...both, issues: print(ours) });
    t.ok(trust.offer.value.serial > serial, "sidecars hear of it");
    await t.rejects(rig.open("none"), {
      message: /start with --issuer-roots that has it/,
    });
    await rig.file(second);
    await t.rejects(rig.open("signs"), {
      message: /start with --issuer-roots that has it/,
    });
    await rig.file(ours);
    trust = await rig.open("roots");
    t.same(facts(trust), { ...both, issues: own });
    t.equal(await issuedUnder(trust), own);
    t.same(facts(await rig.open("none")), { roots: [own], issues: own });
  },
);

void t.test(
  "no rotation of the own root, and no change in the midst of one",
  async (t) => {
    const rig = await world(t);
    const trust = await rig.open("roots");
    await trust.begin();
    t.match(facts(trust), { roots: { length: 3 } });
    await t.rejects(rig.open("signs"), {
      message: /a rotation of the root is in progress/,
    });
    await trust.reissue(1);
    await rig.file(ours, second);
    await looked(rig);
    t.match(facts(trust), {
      roots: { length: 4 },
      issues: trust.nextFingerprint,
    });
  },
);

void t.test("the root outside is rotated by its file", async (t) => {
  const rig = await world(t);
  const trust = await rig.open("signs");
  const own = trust.fingerprint;
  const is = (
    message: string,
    roots: (typeof ours)[],
    issues: typeof ours,
  ): void => {
    const expected = {
      roots: [own, ...roots.map(print)],
      issues: print(issues),
    };
    t.same(facts(trust), expected, message);
  };

  await rig.file(second, ours);
  await looked(rig);
  is("a new one does not issue at once", [ours], ours);
  await rig.file(ours, second);
  await look(rig);
  is("not before it has stayed the same", [ours], ours);
  await looked(rig);
  is("added", [ours, second], ours);
  rig.by = second;
  await t.rejects(issuedUnder(trust), {
    message: /another root than the first/,
  });
  await rig.file(second, ours);
  await looked(rig);
  is("it issues", [second, ours], second);
  t.equal(await issuedUnder(trust), print(second));
  await writeFile(join(rig.directory, "roots.pem"), "");
  await looked(rig);
  is("an empty file takes nothing away", [second, ours], second);
  await rig.file(second);
  await looked(rig);
  is("the old one is gone", [second], second);
  await rig.file(third, second);
  await looked(rig);
  is("the next one has to come last again", [second], second);
  t.same(
    await recorded(rig),
    [[ours], [ours, second], [second, ours], [second]].map(
      (roots) =>
        `roots of an external issuer: ${roots.map(print).join(", ")}, which http https://pki.example/sign signs under`,
    ),
    "each change is in the audit log, and what was not taken is not",
  );
});

void t.test(
  "the audit log hears of roots that come and go at a start",
  async (t) => {
    const rig = await world(t);
    for (const mode of ["none", "roots", "roots", "none"] as const)
      await rig.open(mode);
    t.same(await recorded(rig), [
      `roots of an external issuer: ${print(ours)}`,
      "roots of an external issuer: none",
    ]);
    rig.store.record = () => Promise.reject(new Error("no room"));
    await t.rejects(rig.open("roots"), { message: "no room" });
    t.notMatch(await rig.store.note("trust"), print(ours));
  },
);

void t.test(
  "what is no root of an issuer is not taken at the start",
  async (t) => {
    const clock = fakeClock({ wall: now });
    const directory = await temporaryDirectory(t);
    const file = join(directory, "roots.pem");
    const logger = makeLogger({ level: "silent", bindings: {} });
    const rows: Readonly<Record<string, readonly [string, RegExp]>> = {
      nothing: ["", /no certificate found/],
      "a workload": [
        ours.issue().certificateChain,
        /is not a certificate authority/,
      ],
      "one between": [
        ours.issuing.certificate.toString(),
        /not self-signed: give the root/,
      ],
      "too many": [ours.bundle.repeat(9), /at most 8 roots/],
    };
    for (const [what, [text, message]] of Object.entries(rows)) {
      await writeFile(file, text);
      await t.rejects(
        openIssuerRoots({ file, clock, logger }),
        { message },
        what,
      );
    }
    await t.rejects(openIssuerRoots({ file: `${file}.none`, clock, logger }), {
      message: /--issuer-roots .*ENOENT/,
    });
    t.equal(clock.pending, 0);
  },
);
