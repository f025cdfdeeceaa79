/** Judges the certificate of a peer: its identity, or why it has none for us (SPIFFE X.509-SVID, 4 and 5). */
import type { X509Certificate } from "node:crypto";
import { timestamp } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { WallMs } from "../core/units.ts";
import { nameOf, untimelyChainFault } from "./chain.ts";
import { uriNames } from "./extensions.ts";
import { readCertificates } from "./pem.ts";
import { leafFault, signingFault } from "./profile.ts";
import { proofOf } from "./revoked.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe.ts";
import type { Trust } from "./trust.ts";

/** What one handshake left behind. */
export interface PeerEvidence {
  readonly leaf: X509Certificate | undefined;
  /** What else the peer presented, in its order. */
  readonly issuers: readonly X509Certificate[];
  /** True only where OpenSSL verified the leaf up to a root of our bundle. */
  readonly authorized: boolean;
  /** OpenSSL's word for why not: "CERT_HAS_EXPIRED". */
  readonly authorizationError: string | undefined;
}

/** Certificates between a leaf and its root that a peer may present: more is an attack on our time. */
export const DEEPEST = 8;
/** Characters of a peer's URI in a message. */
const LONGEST_SHOWN = 256;

export type JudgementReason =
  | "no certificate"
  | "expired"
  | "not yet valid"
  | "untrusted issuer"
  | "no URI SAN"
  | "several URI SANs"
  | "not a SPIFFE ID"
  | "foreign trust domain"
  | "CA certificate"
  | "key usage"
  | "malformed certificate"
  | "revoked";

export type Judgement =
  | { readonly ok: true; readonly id: SpiffeId; readonly uri: string }
  | {
      readonly ok: false;
      readonly reason: JudgementReason;
      readonly detail: string;
    };

/** OpenSSL's verdicts that have a name of their own with us; every other one is an untrusted issuer. */
const REASON_OF: ReadonlyMap<string, JudgementReason> = new Map([
  ["CERT_HAS_EXPIRED", "expired"],
  ["CERT_NOT_YET_VALID", "not yet valid"],
  ["INVALID_PURPOSE", "key usage"],
  ["ERROR_IN_CERT_NOT_BEFORE_FIELD", "malformed certificate"],
  ["ERROR_IN_CERT_NOT_AFTER_FIELD", "malformed certificate"],
]);

/** Refusals for a certificate's dates. */
export const UNTIMELY: ReadonlySet<JudgementReason | undefined> = new Set([
  "expired",
  "not yet valid",
] as const);

/**
 * `trustDomains` undefined: any, which only a caller may say that has pinned the root. Everything that is not provably right is refused.
 * OpenSSL goes by this machine's clock alone: what it refuses for its dates is verified here, at the other times that count.
 */
export function judgePeer(
  evidence: PeerEvidence,
  trustDomains: readonly string[] | undefined,
  trust: Trust,
): Judgement {
  const { leaf, issuers, authorized } = evidence;
  if (leaf === undefined)
    return refuse("no certificate", "the peer presented no certificate");
  try {
    if (!authorized && !isVerified(leaf, evidence, trust))
      return refuseUnverified(leaf, evidence, trust.times[0]);
    return judgeIssuers(issuers) ?? judgeLeaf(leaf, trustDomains, trust);
  } catch (error) {
    return refuse(
      "malformed certificate",
      `the peer's certificate cannot be read: ${messageOf(error)}`,
    );
  }
}

/** Whether OpenSSL's objection to the dates does not hold at one of the times, and it is the only one there is. */
function isVerified(
  leaf: X509Certificate,
  { issuers, authorizationError = "" }: PeerEvidence,
  { trustBundle, times }: Trust,
): boolean {
  if (!UNTIMELY.has(REASON_OF.get(authorizationError))) return false;
  const roots = readCertificates(trustBundle, "trust bundle");
  return times.some(
    (time) => untimelyChainFault([leaf, ...issuers], roots, time) === undefined,
  );
}

/**
 * Says which certificate OpenSSL's verdict is about, and since when, where the peer presented it. OpenSSL calls much that is wrong with a
 * certificate itself an issuer that it cannot find.
 */
function refuseUnverified(
  leaf: X509Certificate,
  { issuers, authorizationError }: PeerEvidence,
  now: WallMs,
): Judgement {
  const code = authorizationError ?? "not verified";
  const reason = REASON_OF.get(code) ?? "untrusted issuer";
  const said = `the peer's certificate was not verified: ${code}`;
  if (!UNTIMELY.has(reason)) {
    const unfit = leafFault(leaf);
    if (unfit !== undefined) return refuse(unfit.reason, unfit.detail);
    return judgeIssuers(issuers) ?? refuse(reason, said);
  }
  const at = [leaf, ...issuers].find(
    (certificate) => ageFault(certificate, now) !== undefined,
  );
  return refuse(
    reason,
    at === undefined
      ? `${said}; by this machine's clock (${timestamp(now)}) what the peer presented is valid: look at the roots of the trust bundle`
      : `the certificate ${nameOf(at)} ${ageFault(at, now) ?? ""}; by this machine's clock it is ${timestamp(now)}`,
  );
}

/** OpenSSL verified their signatures; it takes signing certificates that SPIFFE does not. */
function judgeIssuers(
  issuers: readonly X509Certificate[],
): Judgement | undefined {
  if (issuers.length > DEEPEST)
    return refuse(
      "malformed certificate",
      `the peer presented more than ${DEEPEST} certificates besides its own`,
    );
  for (const issuer of issuers) {
    const fault = signingFault(issuer);
    if (fault !== undefined)
      return refuse(
        "untrusted issuer",
        `the signing certificate ${nameOf(issuer)} ${fault}`,
      );
  }
  return undefined;
}

function ageFault(
  certificate: X509Certificate,
  now: WallMs,
): string | undefined {
  const from = certificate.validFromDate.getTime();
  const to = certificate.validToDate.getTime();
  if (now > to) return `expired at ${timestamp(to)}`;
  if (now < from) return `is not valid before ${timestamp(from)}`;
  return undefined;
}

function judgeLeaf(
  leaf: X509Certificate,
  trustDomains: readonly string[] | undefined,
  { times, revoked }: Trust,
): Judgement {
  // The dates of the whole chain were looked at, by OpenSSL or here; the leaf is held to our clocks in any case.
  const from = leaf.validFromDate.getTime();
  const to = leaf.validToDate.getTime();
  if (Number.isNaN(from) || Number.isNaN(to))
    return refuse(
      "malformed certificate",
      "the certificate's validity is not in a valid form",
    );
  const [now] = times;
  const age = times.every((time) => ageFault(leaf, time) !== undefined)
    ? ageFault(leaf, now)
    : undefined;
  if (age !== undefined)
    return refuse(now > to ? "expired" : "not yet valid", age);
  const unfit = leafFault(leaf);
  if (unfit !== undefined) return refuse(unfit.reason, unfit.detail);
  const [uri, ...more] = uriNames(leaf);
  if (uri === undefined)
    return refuse("no URI SAN", "the certificate names no URI");
  if (more.length > 0)
    return refuse(
      "several URI SANs",
      `the certificate names ${more.length + 1} URIs`,
    );
  const id = parseSpiffeId(uri);
  if (id === undefined)
    return refuse(
      "not a SPIFFE ID",
      `"${uri.slice(0, LONGEST_SHOWN)}" is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`,
    );
  if (trustDomains?.includes(id.trustDomain) === false)
    return refuse(
      "foreign trust domain",
      `${uri} is not of ${trustDomains.join(", ")}`,
    );
  const fault =
    revoked.size === 0
      ? undefined
      : revoked.faultOf(proofOf(leaf, uri, id), times);
  return fault === undefined ? { ok: true, id, uri } : refuse("revoked", fault);
}

function refuse(reason: JudgementReason, detail: string): Judgement {
  return { ok: false, reason, detail };
}
