import { createPrivateKey, type KeyObject } from "node:crypto";
import t from "tap";
import { loadCredentials } from "../../src/identity/credentials.ts";
import { fingerprintOf } from "../../src/identity/pem.ts";
import {
  openBundle,
  signBundle,
  type SignedBundle,
  type TrustBundle,
} from "../../src/identity/trust-bundle.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";

const HOUR = 3_600_000;
const ours = fakeAuthority();
const other = fakeAuthority();
const now = Date.now();

const bundle: TrustBundle = {
  trustDomain: "cluster.local",
  serial: 7,
  roots: ours.bundle + other.bundle,
  issuer: fingerprintOf(ours.root),
  renewWithin: 1000,
};

const signedBy = (
  authority: typeof ours,
  said: object = bundle,
): SignedBundle =>
  signBundle(said as TrustBundle, {
    signers: authority.issuing.certificate.toString(),
    privateKey: authority.issuing.privateKey,
  });

const open = (
  signed: SignedBundle,
  trusted: Partial<Parameters<typeof openBundle>[1]> = {},
): TrustBundle =>
  openBundle(signed, {
    trustBundle: ours.bundle,
    trustDomain: "cluster.local",
    times: [now],
    ...trusted,
  });

void t.test("what an authority that is trusted has signed is taken", (t) => {
  t.same(open(signedBy(ours)), bundle);
  t.same(
    open(signedBy(ours), { times: [now + 9999 * HOUR, now] }),
    bundle,
    "its signer is valid by one of the clocks",
  );
  t.same(
    open(signedBy(ours), { trustDomain: undefined }),
    bundle,
    "at a first contact that knows the root alone",
  );
  t.end();
});

void t.test("whoever has the stream alone cannot make one", (t) => {
  const leaf = ours.credentials("control-plane", {
    id: "spiffe://cluster.local/ns/wherry-system/sa/control-plane",
  });
  const key = (pem: string): KeyObject => createPrivateKey(pem);
  const good = signedBy(ours);
  const rows: readonly (readonly [string, SignedBundle, RegExp])[] = [
    ["another authority", signedBy(other), /its signer is not trusted/],
    [
      "the control plane's own certificate",
      signBundle(bundle, {
        signers: leaf.certificateChain,
        privateKey: key(leaf.privateKey),
      }),
      /its signer is not trusted/,
    ],
    [
      "its key under the authority's certificate",
      signBundle(bundle, {
        signers: ours.issuing.certificate.toString(),
        privateKey: key(leaf.privateKey),
      }),
      /its signature is not its signer's/,
    ],
    [
      "another statement",
      {
        ...good,
        statement: signedBy(ours, { ...bundle, serial: 8 }).statement,
      },
      /its signature is not its signer's/,
    ],
    [
      "no signature",
      { ...good, signature: Buffer.alloc(0) },
      /its signature is not its signer's/,
    ],
    ["no signer", { ...good, signers: "" }, /no certificate found/],
    [
      "too long",
      { ...good, statement: Buffer.alloc(300_000) },
      /at most 262144 bytes/,
    ],
  ];
  for (const [what, signed, message] of rows)
    t.throws(() => open(signed), { message }, what);
  t.throws(
    () => open(good, { times: [now + 9999 * HOUR] }),
    { message: /expired/ },
    "a signer that has ended",
  );
  t.end();
});

void t.test("what is signed must make sense", (t) => {
  const leaf = ours.issue().certificateChain;
  for (const [what, change, message] of [
    ["a foreign trust domain", { trustDomain: "elsewhere" }, /trust domain/],
    ["no roots", { roots: "" }, /no certificate found/],
    ["a root that is no authority", { roots: leaf }, /invalid trust bundle/],
    [
      "a root that issues and is not trusted",
      { issuer: "ab" },
      /the root that it issues from is not in it/,
    ],
    ["too many roots", { roots: ours.bundle.repeat(17) }, /at most 16 roots/],
    ["no serial", { serial: undefined }, /lacks a part/],
    ["a serial that counts nothing", { serial: 1.5 }, /lacks a part/],
    ["a spread below zero", { renewWithin: -1 }, /lacks a part/],
  ] as const)
    t.throws(
      () => open(signedBy(ours, { ...bundle, ...change })),
      { message },
      what,
    );
  t.throws(() => open({ ...signedBy(ours), statement: Buffer.from("[]") }));
  t.end();
});

void t.test("credentials with two roots are sound", (t) => {
  const pems = ours.issue();
  t.equal(
    loadCredentials({ ...pems, trustBundle: bundle.roots }, now).trustBundle,
    bundle.roots,
  );
  t.end();
});
