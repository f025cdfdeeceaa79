/** Two clocks judge a certificate, and OpenSSL's objection to its dates hides no other objection. */
import t from "tap";
import { Oid } from "../../src/identity/extensions.ts";
import { readCertificates } from "../../src/identity/pem.ts";
import { Revoked } from "../../src/identity/revoked.ts";
import { judgePeer } from "../../src/identity/svid.ts";
import { timesOf, trustOf, validFor } from "../../src/identity/trust.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  authorityExtensions,
  leafExtensions,
  oddCertificate,
  purposes,
  tlv,
  utc,
  utcText,
  type OddExtension,
} from "../support/certificates/odd-certificates.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 5, 1);
const mesh = fakeAuthority({ now: NOW });

void t.test("the mesh's time goes on by the monotonic clock alone", (t) => {
  const clock = fakeClock({ wall: NOW });
  t.same(timesOf(undefined, clock), [NOW]);
  const meshTime = { wall: NOW + HOUR, at: 0 };
  t.same(timesOf(meshTime, clock), [NOW, NOW + HOUR]);
  clock.advance(1000);
  clock.jump(-25 * HOUR);
  t.same(trustOf({ trustBundle: "roots", meshTime }, clock), {
    trustBundle: "roots",
    revoked: Revoked.NONE,
    times: [NOW + 1000 - 25 * HOUR, NOW + HOUR + 1000],
  });
  t.end();
});

void t.test("a certificate lasts as long as the kinder clock says", (t) => {
  const dates = { notBefore: NOW, notAfter: NOW + 10 };
  t.equal(validFor(dates, [NOW + 4]), 6);
  t.equal(validFor(dates, [NOW + 4, NOW + 1]), 9);
  t.equal(validFor(dates, [NOW + 40, NOW + 1]), 9);
  t.equal(validFor(dates, [NOW - 1]), 0, "it has not begun");
  t.ok(validFor(dates, [NOW + 10, NOW + 11]) <= 0, "it is over for both");
  t.end();
});

void t.test("who is taken although OpenSSL objects to the dates", (t) => {
  const good = mesh.issue();
  const foreign = fakeAuthority({ now: NOW }).issue();
  const judge = (
    { certificateChain }: { certificateChain: string },
    times: readonly [number, ...number[]],
    authorizationError = "CERT_HAS_EXPIRED",
  ): string => {
    const [leaf, ...issuers] = readCertificates(certificateChain, "chain");
    const judgement = judgePeer(
      { leaf, issuers, authorized: false, authorizationError },
      ["cluster.local"],
      { trustBundle: mesh.bundle, revoked: Revoked.NONE, times },
    );
    return judgement.ok ? "taken" : judgement.reason;
  };
  const late = NOW + 25 * HOUR;
  const early = NOW - 25 * HOUR;
  const rows: readonly (readonly [string, string, string])[] = [
    ["valid by the mesh's time", judge(good, [late, NOW]), "taken"],
    [
      "valid by it, and not yet by this machine's",
      judge(good, [early, NOW], "CERT_NOT_YET_VALID"),
      "taken",
    ],
    ["expired by both", judge(good, [late, late]), "expired"],
    ["expired, and there is no other time", judge(good, [late]), "expired"],
    [
      "too early by both",
      judge(good, [early, early], "CERT_NOT_YET_VALID"),
      "not yet valid",
    ],
    ["of another authority", judge(foreign, [late, NOW]), "expired"],
    [
      "of another authority, with our issuing certificate beside it",
      judge(
        {
          certificateChain:
            foreign.certificateChain +
            good.certificateChain.slice(
              good.certificateChain.indexOf("-----BEGIN", 10),
            ),
        },
        [late, NOW],
      ),
      "expired",
    ],
    [
      "OpenSSL's objection is another",
      judge(good, [late, NOW], "CERT_SIGNATURE_FAILURE"),
      "untrusted issuer",
    ],
    ["an authority beneath the root", judge(under(), [late, NOW]), "taken"],
    [
      "one with constraints on names, which OpenSSL alone judges",
      judge(under({ oid: Oid.NAME_CONSTRAINTS, value: tlv(0x30) }), [
        late,
        NOW,
      ]),
      "expired",
    ],
    [
      "one for certain purposes",
      judge(under(purposes(Oid.SERVER_AUTH)), [late, NOW]),
      "expired",
    ],
    [
      "a certificate authority's own",
      judge(mesh.issue({ ca: true }), [late, NOW]),
      "CA certificate",
    ],
    [
      "another trust domain",
      judge(mesh.issue({ id: "spiffe://other.test/ns/shop/sa/web" }), [
        late,
        NOW,
      ]),
      "foreign trust domain",
    ],
  ];
  for (const [what, found, wanted] of rows) t.equal(found, wanted, what);
  t.end();
});

/** A leaf of an authority that the root signed, which has one extension more. */
function under(more?: OddExtension): { certificateChain: string } {
  const validity = [
    utc(utcText(NOW - HOUR)),
    utc(utcText(NOW + HOUR)),
  ] as const;
  const authority = oddCertificate({
    issuer: mesh.rootIssuer,
    extensions: [
      ...Object.values(authorityExtensions()),
      ...(more === undefined ? [] : [more]),
    ],
    commonName: "an authority between",
    validity,
  });
  const [certificate] = readCertificates(authority.pem, "authority");
  if (certificate === undefined) throw new Error("no authority");
  const leaf = oddCertificate({
    issuer: { certificate, privateKey: authority.privateKey },
    extensions: Object.values(leafExtensions(mesh.id("web"))),
    validity,
  });
  return { certificateChain: leaf.pem + authority.pem };
}
