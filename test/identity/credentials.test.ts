/** Credentials are taken whole and sound, or not at all, with the part at fault named. */
import t from "tap";
import { UserError } from "../../src/core/errors.ts";
import { chainFault, pinnedRoot } from "../../src/identity/chain.ts";
import {
  loadCredentials,
  type CredentialPems,
} from "../../src/identity/credentials.ts";
import { fingerprintOf, readCertificates } from "../../src/identity/pem.ts";
import { generatePrivateKey } from "../../src/identity/private-key.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";

const now = Date.UTC(2026, 5, 1);
const DAY = 24 * 3_600_000;
const mesh = fakeAuthority({ now });
const good = mesh.issue();

void t.test("sound credentials tell who they are and how long", (t) => {
  const first = loadCredentials(good, now);
  t.match(first, {
    id: "spiffe://cluster.local/ns/shop/sa/web",
    spiffeId: {
      trustDomain: "cluster.local",
      namespace: "shop",
      serviceAccount: "web",
    },
    notBefore: now - 60_000,
    notAfter: now + 3_600_000,
    certificateChain: good.certificateChain,
  });
  const second = loadCredentials(good, now);
  t.not(
    second.generation,
    first.generation,
    "each loading is its own generation",
  );
  t.end();
});

void t.test(
  "an expired leaf is loaded, since its holder may still renew with it",
  (t) => {
    t.equal(loadCredentials(good, now + DAY).notAfter, now + 3_600_000);
    t.end();
  },
);

void t.test("unsound credentials are refused, with the part at fault", (t) => {
  const other = fakeAuthority({ now });
  const authority = mesh.issue({ ca: true });
  const [leaf, issuing] = good.certificateChain.split(
    /(?<=-----END CERTIFICATE-----\n)/,
  );
  const rows: [string, Partial<CredentialPems>, RegExp][] = [
    [
      "no certificate",
      { certificateChain: "" },
      /^certificate: no certificate/,
    ],
    ["no key", { privateKey: "" }, /^private key: cannot be read/],
    [
      "another's key",
      { privateKey: generatePrivateKey() },
      /^private key: .*does not belong/,
    ],
    ["no bundle", { trustBundle: "" }, /^trust bundle: no certificate/],
    [
      "another mesh's bundle",
      { trustBundle: other.bundle },
      /none of the trusted roots/,
    ],
    [
      "a leaf as bundle",
      { trustBundle: leaf ?? "" },
      /^trust bundle: .*not a certificate authority/,
    ],
    [
      "the issuing certificate missing",
      { certificateChain: leaf ?? "" },
      /none of the trusted roots/,
    ],
    [
      "the chain upside down",
      { certificateChain: `${issuing}${leaf}` },
      /leaf first/,
    ],
    ["an authority", authority, /exactly one URI name.*found none/],
    ["no URI", mesh.issue({ id: null }), /exactly one URI name.*found none/],
    [
      "two URIs",
      mesh.issue({ id: [mesh.id("a"), mesh.id("b")] }),
      /sa\/a, spiffe.*sa\/b/,
    ],
    ["no SPIFFE ID", mesh.issue({ id: "https://web" }), /found https/],
  ];
  for (const [what, change, message] of rows)
    t.throws(
      () => loadCredentials({ ...good, ...change }, now),
      { name: "UserError", message },
      what,
    );
  t.throws(
    () => loadCredentials({ ...good, trustBundle: "x" }, now),
    UserError,
  );
  t.end();
});

void t.test("a chain leads to a root or says where it does not", (t) => {
  const chain = readCertificates(good.certificateChain, "chain");
  const [leaf, issuing] = chain;
  if (leaf === undefined || issuing === undefined)
    throw new Error("unreachable");
  const roots = [mesh.root];
  t.equal(chainFault(chain, roots, now), undefined);
  t.equal(chainFault([...chain, mesh.root], roots, now), undefined);
  t.equal(
    chainFault([issuing], roots, now),
    undefined,
    "an authority's own chain",
  );
  t.match(chainFault([], roots, now), "no certificate");
  t.match(chainFault([leaf], roots, now), "signed by none");
  t.match(chainFault(chain, [], now), "signed by none");
  t.match(chainFault(chain, roots, now + DAY), "expired");
  t.match(chainFault(chain, roots, now - DAY), "not valid before");
  t.match(
    chainFault(
      Array.from({ length: 9 }, () => leaf),
      roots,
      now,
    ),
    "more than 8",
  );
  t.match(chainFault(chain, [leaf], now), "signed by none");
  t.match(
    chainFault(chain, [fakeAuthority({ now }).root], now),
    "signed by none",
  );
  t.end();
});

void t.test("a root is found by its fingerprint alone", (t) => {
  const chain = [
    ...readCertificates(good.certificateChain, "chain"),
    mesh.root,
  ];
  t.equal(pinnedRoot(chain, fingerprintOf(mesh.root)), mesh.root);
  t.equal(pinnedRoot(chain, fingerprintOf(mesh.root).toUpperCase()), mesh.root);
  t.equal(pinnedRoot(chain, "00".repeat(32)), undefined);
  t.end();
});
