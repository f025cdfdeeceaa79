/** Judges the certificate that a peer proved itself with: who it is, or why it is nobody to us (SPIFFE X.509-SVID, 4 and 5). */
import type { X509Certificate } from "node:crypto";
import { messageOf } from "../core/errors.ts";
import { KeyUsage, keyUsages, uriNames } from "./extensions.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe.ts";

/** What one handshake left behind. */
export interface PeerEvidence {
  readonly leaf: X509Certificate | undefined;
  /** True only where OpenSSL verified the leaf up to a root of our bundle. */
  readonly authorized: boolean;
  /** OpenSSL's word for why not: "CERT_HAS_EXPIRED". */
  readonly authorizationError: string | undefined;
}

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
  | "malformed certificate";

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
]);

/** `now` in wall-clock milliseconds. Everything that is not provably right is refused. */
export function judgePeer(
  evidence: PeerEvidence,
  trustDomains: readonly string[],
  now: number,
): Judgement {
  const { leaf } = evidence;
  if (leaf === undefined)
    return refuse("no certificate", "the peer presented no certificate");
  if (!evidence.authorized) {
    const code = evidence.authorizationError ?? "not verified";
    // OpenSSL counts a certificate authority's own as one of the wrong purpose.
    const reason =
      code === "INVALID_PURPOSE" && leaf.ca
        ? "CA certificate"
        : (REASON_OF.get(code) ?? "untrusted issuer");
    return refuse(reason, `the peer's certificate was not verified: ${code}`);
  }
  try {
    return judgeLeaf(leaf, trustDomains, now);
  } catch (error) {
    return refuse(
      "malformed certificate",
      `the peer's certificate cannot be read: ${messageOf(error)}`,
    );
  }
}

function judgeLeaf(
  leaf: X509Certificate,
  trustDomains: readonly string[],
  now: number,
): Judgement {
  // OpenSSL has looked at the dates of the whole chain by the system's time; the leaf is held to our clock as well.
  if (now > leaf.validToDate.getTime())
    return refuse("expired", `expired at ${leaf.validTo}`);
  if (now < leaf.validFromDate.getTime())
    return refuse("not yet valid", `not valid before ${leaf.validFrom}`);
  if (leaf.ca)
    return refuse(
      "CA certificate",
      "a certificate authority's certificate is no workload's",
    );
  const usages = keyUsages(leaf);
  if (
    usages?.has(KeyUsage.DIGITAL_SIGNATURE) !== true ||
    usages.has(KeyUsage.KEY_CERT_SIGN) ||
    usages.has(KeyUsage.CRL_SIGN)
  )
    return refuse(
      "key usage",
      "an SVID has the key usage digitalSignature and may not sign certificates or CRLs",
    );
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
      `"${uri}" is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`,
    );
  if (!trustDomains.includes(id.trustDomain))
    return refuse(
      "foreign trust domain",
      `${uri} is not of ${trustDomains.join(", ")}`,
    );
  return { ok: true, id, uri };
}

function refuse(reason: JudgementReason, detail: string): Judgement {
  return { ok: false, reason, detail };
}
