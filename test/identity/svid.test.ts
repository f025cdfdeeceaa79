/** A peer is who its verified certificate says, and nobody where anything about that is not provably right. */
import type { X509Certificate } from "node:crypto";
import t from "tap";
import { KeyUsage } from "../../src/identity/extensions.ts";
import { readCertificates } from "../../src/identity/pem.ts";
import { Revoked } from "../../src/identity/revoked.ts";
import { judgePeer, type JudgementReason } from "../../src/identity/svid.ts";
import {
  fakeAuthority,
  type IssueOptions,
} from "../support/certificates/certificate-authority.ts";

const now = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;
const mesh = fakeAuthority({ now });

function leaf(options: IssueOptions = {}): X509Certificate {
  const [first] = readCertificates(
    mesh.issue(options).certificateChain,
    "leaf",
  );
  if (first === undefined) throw new Error("unreachable");
  return first;
}

function judge(
  certificate: X509Certificate | undefined,
  at = now,
  authorized = true,
  authorizationError?: string,
): ReturnType<typeof judgePeer> {
  return judgePeer(
    { leaf: certificate, issuers: [], authorized, authorizationError },
    ["other.test", "cluster.local"],
    { trustBundle: mesh.bundle, revoked: Revoked.NONE, times: [at] },
  );
}

void t.test(
  "a verified SVID of a trust domain of ours is its SPIFFE ID",
  (t) => {
    t.same(judge(leaf()), {
      ok: true,
      uri: "spiffe://cluster.local/ns/shop/sa/web",
      id: {
        trustDomain: "cluster.local",
        namespace: "shop",
        serviceAccount: "web",
      },
    });
    t.end();
  },
);

void t.test("everything else is refused with its reason", (t) => {
  const rows: [JudgementReason, ReturnType<typeof judge>][] = [
    ["no certificate", judge(undefined)],
    ["no certificate", judge(undefined, now, true)],
    ["untrusted issuer", judge(leaf(), now, false)],
    [
      "untrusted issuer",
      judge(leaf(), now, false, "SELF_SIGNED_CERT_IN_CHAIN"),
    ],
    ["untrusted issuer", judge(leaf(), now, false, "CRL_HAS_EXPIRED")],
    ["expired", judge(leaf(), now, false, "CERT_HAS_EXPIRED")],
    ["not yet valid", judge(leaf(), now, false, "CERT_NOT_YET_VALID")],
    ["key usage", judge(leaf(), now, false, "INVALID_PURPOSE")],
    [
      "CA certificate",
      judge(leaf({ ca: true }), now, false, "INVALID_PURPOSE"),
    ],
    ["CA certificate", judge(leaf({ ca: true }))],
    // By our clock, whatever OpenSSL's says.
    ["expired", judge(leaf(), now + HOUR + 1)],
    ["not yet valid", judge(leaf(), now - 60_001)],
    ["key usage", judge(leaf({ keyUsage: [] }))],
    [
      "key usage",
      judge(
        leaf({ keyUsage: [KeyUsage.DIGITAL_SIGNATURE, KeyUsage.CRL_SIGN] }),
      ),
    ],
    ["no URI SAN", judge(leaf({ id: null }))],
    ["several URI SANs", judge(leaf({ id: [mesh.id("web"), mesh.id("web")] }))],
    ["not a SPIFFE ID", judge(leaf({ id: "spiffe://cluster.local/web" }))],
    [
      "foreign trust domain",
      judge(leaf({ id: "spiffe://cluster.local.evil/ns/shop/sa/web" })),
    ],
  ];
  for (const [reason, judgement] of rows) {
    t.equal(judgement.ok ? "taken" : judgement.reason, reason);
    if (!judgement.ok) t.not(judgement.detail, "");
  }
  t.end();
});

void t.test(
  "what has expired is named, with since when; an issuer as well",
  (t) => {
    const issuing = mesh.issuing.certificate;
    const at = (
      when: number,
      bundle = mesh.bundle,
    ): ReturnType<typeof judgePeer> =>
      judgePeer(
        {
          leaf: leaf({ notAfter: now + 500 * HOUR }),
          issuers: [issuing],
          authorized: false,
          authorizationError: "CERT_HAS_EXPIRED",
        },
        ["cluster.local"],
        { trustBundle: bundle, revoked: Revoked.NONE, times: [when] },
      );
    t.match(judge(leaf(), now + 2 * HOUR, false, "CERT_HAS_EXPIRED"), {
      reason: "expired",
      detail:
        /the certificate .*sa\/web expired at 2026-06-01T01:00:00.*; by this machine's clock it is 2026-06-01T02:00:00/,
    });
    t.match(at(now + 400 * HOUR), {
      reason: "expired",
      detail: /the certificate CN=test issuing authority expired at 2026-06-11/,
    });
    t.match(at(now, fakeAuthority({ now: now - 900 * HOUR }).bundle), {
      reason: "expired",
      detail: /CERT_HAS_EXPIRED; .*look at the roots of the trust bundle/,
    });
    t.end();
  },
);

void t.test("what a peer put into its names does not fill the log", (t) => {
  const long = leaf({ id: `spiffe://cluster.local/${"x".repeat(40_000)}` });
  for (const judgement of [
    judge(long),
    judge(long, now + 2 * HOUR, false, "CERT_HAS_EXPIRED"),
  ])
    t.ok(!judgement.ok && judgement.detail.length < 600);
  t.end();
});

void t.test(
  "a name that tries to look like two in print is one that is no SPIFFE ID",
  (t) => {
    const sly = `spiffe://x/a, URI:${mesh.id("web")}`;
    t.match(judge(leaf({ id: sly })), { ok: false, reason: "not a SPIFFE ID" });
    t.end();
  },
);
