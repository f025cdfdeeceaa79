import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { trustField } from "../../../src/control-plane/push/push-messages.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import {
  openTrust,
  type Trust,
} from "../../../src/control-plane/trust/trust.ts";
import {
  readNote,
  TRUST_NOTE,
} from "../../../src/control-plane/trust/trust-note.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { nextTurn } from "../../../src/core/slices.ts";
import { rootAbove } from "../../../src/identity/chain.ts";
import { fingerprintOf, readCertificates } from "../../../src/identity/pem.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { openBundle } from "../../../src/identity/trust-bundle.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  temporaryDirectory,
  TRUST_DOMAIN,
  type Scope,
} from "../../support/control-plane/push-control-plane.ts";

interface World {
  readonly directory: string;
  readonly store: Store;
  readonly clock: ReturnType<typeof fakeClock>;
  /** As a control plane that is started. */
  readonly open: (store?: Store) => Promise<Trust>;
}

async function world(t: Scope): Promise<World> {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const directory = join(await temporaryDirectory(t), "authority");
  return {
    ...{ directory, store, clock },
    open: (from = store) =>
      openTrust({
        ...{ directory, store: from, clock, logger: silentLogger },
        trustDomain: TRUST_DOMAIN,
      }),
  };
}

/** Fingerprint of the root that a certificate is issued under now. */
async function issuedUnder(trust: Trust): Promise<string> {
  const { certificateChain } = await trust.sign(
    createCsr(generatePrivateKey()),
    {
      spiffeId: `spiffe://${TRUST_DOMAIN}/ns/shop/sa/web`,
      name: "web-1",
      labels: {},
      ttlMs: 3_600_000,
    },
    new AbortController().signal,
  );
  return rootOf(certificateChain, trust);
}

function rootOf(chain: string, { trustBundle }: Trust): string {
  const root = rootAbove(
    readCertificates(chain, "chain"),
    readCertificates(trustBundle, "roots"),
  );
  return root === undefined ? "none" : fingerprintOf(root);
}

const DAY = 86_400_000;
const ID = `spiffe://${TRUST_DOMAIN}/ns/wherry-system/sa/control-plane`;

/** What a control plane would do at this point. */
async function facts(trust: Trust): Promise<object> {
  const { rotation, offer, trustBundle, fingerprint } = trust;
  return {
    phase: rotation?.phase,
    serial: offer.value.serial,
    roots: readCertificates(trustBundle, "roots").map(fingerprintOf),
    issues: await issuedUnder(trust),
    own: rootOf(trust.own(ID).certificateChain, trust),
    fingerprint,
    next: trust.nextFingerprint,
  };
}

void t.test(
  "a rotation, step by step, and each survives a crash",
  async (t) => {
    const { open, directory, clock } = await world(t);
    let trust = await open();
    const old = trust.fingerprint;
    const start = await facts(trust);
    t.match(
      start,
      { phase: undefined, roots: [old], issues: old, own: old },
      new AbortController().signal,
    );
    t.same(await facts((trust = await open())), start, "nothing is said anew");

    const steps: readonly (readonly [string, () => Promise<void>, object])[] = [
      ["add", () => trust.begin(), { issues: old, own: old, fingerprint: old }],
      ["reissue", () => trust.reissue(100), { own: old, fingerprint: old }],
      ["retire", () => trust.retire(), {}],
    ];
    let serial = trust.offer.value.serial;
    let next = "";
    for (const [phase, step, expected] of steps) {
      clock.advance(1000);
      // By the roots before it: a sidecar that has these takes it.
      const trustBundle = trust.trustBundle;
      await step();
      next = trust.rotation?.to ?? "";
      const now = await facts(trust);
      t.match(now, {
        phase,
        roots: phase === "retire" ? [next] : [old, next],
        issues: next,
        own: next,
        fingerprint: next,
        ...expected,
      });
      t.ok(trust.offer.value.serial > serial);
      serial = trust.offer.value.serial;
      t.match(
        openBundle(trust.signed, {
          trustBundle,
          trustDomain: TRUST_DOMAIN,
          times: [clock.wall()],
        }),
        { serial, renewWithin: phase === "add" ? 0 : 2000 },
      );
      clock.advance(1000);
      t.match(
        await facts((trust = await open())),
        { ...now, serial: trust.offer.value.serial },
        `${phase}, after a crash`,
      );
      t.ok(trust.offer.value.serial > serial, "it is said anew");
      serial = trust.offer.value.serial;
    }
    await trust.finish();
    t.match(trust, { rotation: undefined, last: { from: old, to: next } });
    t.equal(trust.offer.value.serial, serial, "nothing is left to say");
    trust = await open();
    t.match(await facts(trust), { roots: [next], issues: next, own: next });
    t.notOk(existsSync(join(directory, "next")));
    t.notOk(existsSync(join(directory, "promoted")));
  },
);

void t.test("a successor that sidecars have is not taken back", async (t) => {
  const { open, clock } = await world(t);
  let trust = await open();
  await trust.begin();
  await trust.reissue(1);
  const { rotation } = trust;
  const { serial } = trust.offer.value;
  clock.advance(1000);
  trust = await open(openMemoryStore({ clock }));
  t.match(
    trust.rotation,
    { phase: "add", from: rotation?.from, to: rotation?.to },
    "with its store lost it begins anew, and both roots are trusted",
  );
  t.ok(trust.offer.value.serial > serial, "sidecars take what it says");
  await t.rejects(trust.begin(), { message: /is in progress/ });
});

void t.test("a store of earlier says no less than sidecars have", async (t) => {
  const { open, store, clock } = await world(t);
  let trust = await open();
  await trust.begin();
  const backup = await store.note(TRUST_NOTE);
  clock.advance(1000);
  await trust.reissue(1);
  const { serial } = trust.offer.value;
  clock.advance(1000);
  await store.setNote(TRUST_NOTE, backup ?? "");
  trust = await open();
  t.match(trust.rotation, { phase: "add" });
  t.ok(trust.offer.value.serial > serial);
});

void t.test("a crash in the midst of the promotion", async (t) => {
  const { open, directory } = await world(t);
  let trust = await open();
  await trust.begin();
  await trust.reissue(1);
  const to = trust.rotation?.to;
  // As `promote` leaves it after its first file.
  renameSync(join(directory, "next"), join(directory, "promoted"));
  renameSync(
    join(directory, "promoted", "issuing.key"),
    join(directory, "issuing.key"),
  );
  trust = await open();
  t.match(await facts(trust), { phase: "retire", roots: [to], issues: to });
});

void t.test("a root of one's own, kept offline", async (t) => {
  const { open, directory } = await world(t);
  const ours = await world(t);
  const own = await ours.open();
  let trust = await open();
  renameSync(
    join(ours.directory, "root.key"),
    join(ours.directory, "..", "root.key"),
  );
  renameSync(ours.directory, join(directory, "prepared"));
  await trust.begin();
  t.equal(trust.rotation?.to, own.fingerprint);
  await trust.reissue(1);
  await trust.retire();
  trust = await open();
  t.equal(trust.fingerprint, own.fingerprint);
  t.notOk(
    existsSync(join(directory, "root.key")),
    "the old key does not stand beside the new root",
  );
});

void t.test("other roots of root.crt stay trusted", async (t) => {
  const { open, directory, store } = await world(t);
  const friend = await (await world(t)).open();
  await open();
  const { writeFileSync } = await import("node:fs");
  const path = join(directory, "root.crt");
  writeFileSync(path, readFileSync(path, "utf8") + friend.trustBundle);
  const trust = await open(store);
  await trust.begin();
  await trust.reissue(1);
  await trust.retire();
  t.same(readCertificates(trust.trustBundle, "roots").map(fingerprintOf), [
    trust.rotation?.to,
    friend.fingerprint,
  ]);
});

void t.test("nothing acts before the store has it", async (t) => {
  const { open, store, clock } = await world(t);
  const trust = await open({
    ...store,
    note: (name) => store.note(name),
    setNote: (name, value) =>
      value.includes("reissue")
        ? Promise.reject(new Error("disk full"))
        : store.setNote(name, value),
  });
  await trust.begin();
  const before = await facts(trust);
  clock.advance(1000);
  await t.rejects(trust.reissue(1), { message: "disk full" });
  t.same(await facts(trust), before);
});

void t.test(
  "the bundle is signed again once the issuing certificate is another",
  async (t) => {
    const { open, clock } = await world(t);
    const trust = await open();
    const { serial } = trust.offer.value;
    const opened = (): unknown =>
      openBundle(trust.signed, {
        trustBundle: trust.trustBundle,
        trustDomain: TRUST_DOMAIN,
        times: [clock.wall()],
      });
    for (const renew of [
      () => issuedUnder(trust),
      () => Promise.resolve(trust.own(ID)),
    ]) {
      const before = trust.signed;
      const first = trust.issuingNotAfter;
      await renew();
      t.equal(trust.signed, before, "one that goes on is signed once");
      clock.advance(first - clock.wall() - 80 * DAY);
      await renew();
      t.ok(trust.issuingNotAfter > first);
      clock.advance(100 * DAY);
      t.match(opened(), { serial });
      t.same(trust.offer.value, {
        serial,
        field: trustField(serial, trust.signed),
      });
    }
  },
);

void t.test("a promotion that failed goes on", async (t) => {
  const { open, directory } = await world(t);
  let trust = await open();
  await trust.begin();
  await trust.reissue(1);
  const to = trust.rotation?.to;
  const blocked = join(directory, "issuing.key");
  rmSync(blocked);
  mkdirSync(join(blocked, "full"), { recursive: true });
  await t.rejects(trust.retire(), { message: /cannot take the place/ });
  await t.rejects(trust.retire(), { message: /cannot take the place/ });
  rmSync(blocked, { recursive: true });
  await trust.retire();
  t.match(await facts(trust), { phase: "retire", roots: [to], issues: to });
  t.ok(existsSync(join(directory, "root.key")), "the new root has its key");
  trust = await open();
  t.match(await facts(trust), { phase: "retire", roots: [to], issues: to });
});

void t.test("a begin that the store did not take goes on", async (t) => {
  const { open, store, directory } = await world(t);
  let full = true;
  const trust = await open({
    ...store,
    note: (name) => store.note(name),
    setNote: (name, value) =>
      full && value.includes('"phase":"add"')
        ? Promise.reject(new Error("disk full"))
        : store.setNote(name, value),
  });
  await t.rejects(trust.begin(), { message: "disk full" });
  await t.rejects(trust.begin(), { message: "disk full" });
  full = false;
  const settled = await Promise.allSettled([trust.begin(), trust.begin()]);
  t.match(settled, [
    { status: "fulfilled" },
    { status: "rejected", reason: { message: /is in progress/ } },
  ]);
  t.match(trust.rotation, { phase: "add", to: trust.nextFingerprint });
  t.notOk(existsSync(join(directory, "prepared")));
});

void t.test(
  "a step and an operator's word at one time lose nothing of each other",
  async (t) => {
    const { open, store } = await world(t);
    const setNote = store.setNote.bind(store);
    store.setNote = async (...note) => {
      await nextTurn();
      await setNote(...note);
    };
    const trust = await open();
    const kept = async (): Promise<Trust["rotation"]> =>
      readNote(await store.note(TRUST_NOTE))?.rotation;
    await trust.begin();
    await Promise.all([trust.reissue(1), trust.abandon(["shop/a"])]);
    const abandoned = ["shop/a"];
    t.match(trust.rotation, { phase: "reissue", abandoned });
    t.match(await kept(), { phase: "reissue", abandoned });
    await Promise.all([trust.abandon(["shop/b"]), trust.retire()]);
    abandoned.push("shop/b");
    t.match(trust.rotation, { phase: "retire", abandoned });
    t.match(await kept(), { phase: "retire", abandoned });
    await Promise.all([trust.finish(), trust.abandon(["shop/c"])]);
    t.equal(trust.rotation, undefined);
    t.equal(await kept(), undefined, "a word does not bring it back");
  },
);

void t.test("a root that a clock ahead has made issues nothing", async (t) => {
  const { open, clock } = await world(t);
  const trust = await open();
  const old = trust.fingerprint;
  clock.jump(60 * DAY);
  await trust.begin();
  clock.jump(-60 * DAY);
  await t.rejects(trust.reissue(1), { message: /set the clock/ });
  t.match(await facts(trust), { phase: "add", issues: old, own: old });
  const again = await open();
  t.match(
    await facts(again),
    { phase: undefined, roots: [old], issues: old, own: old },
    "a restart does without it",
  );
  await t.rejects(again.begin(), { message: /next\/root\.crt: .*not valid/ });
  clock.jump(31 * DAY);
  const later = await open();
  t.match(await facts(later), { phase: "add", issues: old });
  await later.reissue(1);
  t.match(await facts(later), { phase: "reissue", own: old });
});
