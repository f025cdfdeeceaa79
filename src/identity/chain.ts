/** Checks that a chain of certificates leads to a root: for credentials before they are used, and for a first contact that knows the root's fingerprint alone. */
import type { X509Certificate } from "node:crypto";
import { messageOf } from "../core/errors.ts";
import type { WallMs } from "../core/units.ts";
import { basicConstraints } from "./extensions.ts";
import { fingerprintOf } from "./pem.ts";
import { opensslAloneFault, signingFault } from "./profile.ts";

/** Certificates between leaf and root: more is an attack on our time. */
const DEEPEST = 8;
/** Characters of a name in a message. */
const LONGEST_NAME = 256;

/**
 * Why `chain` (leaf first, without or with its root) does not lead to one of `roots` at `now` (wall-clock milliseconds);
 * undefined where it does. TLS connections are judged by OpenSSL besides; this is for what is not a connection.
 */
export function chainFault(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: WallMs,
): string | undefined {
  const [leaf, ...others] = chain;
  if (leaf === undefined) return "there is no certificate";
  if (chain.length > DEEPEST) return `more than ${DEEPEST} certificates`;
  try {
    // An authority counts towards the path lengths of those above it, a workload does not (RFC 5280 4.2.1.9).
    return climb(leaf, others, roots, now, isAuthority(leaf) ? 1 : 0);
  } catch (error) {
    return `a certificate cannot be read: ${messageOf(error)}`;
  }
}

/**
 * As `chainFault`, for a chain that OpenSSL has refused for its dates: it names its last objection alone, so that nothing is taken
 * for granted here. What it alone can judge is refused.
 */
export function untimelyChainFault(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  time: WallMs,
): string | undefined {
  return opensslAloneIn([...chain, ...roots]) ?? chainFault(chain, roots, time);
}

/** Why OpenSSL alone can judge a chain that these are in. Throws DerError where one cannot be read. */
export function opensslAloneIn(
  certificates: readonly X509Certificate[],
): string | undefined {
  for (const certificate of certificates) {
    const fault = opensslAloneFault(certificate);
    if (fault !== undefined) return `"${nameOf(certificate)}": ${fault}`;
  }
  return undefined;
}

/** The certificate of `chain` that has the fingerprint (SHA-256 of the DER, hexadecimal). */
export function pinnedRoot(
  chain: readonly X509Certificate[],
  fingerprint: string,
): X509Certificate | undefined {
  return chain.find(
    (certificate) => fingerprintOf(certificate) === fingerprint.toLowerCase(),
  );
}

/** The root that the chain (leaf first) leads to, whatever its dates; undefined where it leads to none of them. */
export function rootAbove(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): X509Certificate | undefined {
  let [present, ...others] = chain.slice(0, DEEPEST);
  while (present !== undefined) {
    const certificate: X509Certificate = present;
    const root = roots.find((candidate) => isSignedBy(certificate, candidate));
    if (root !== undefined) return root;
    present = others.find((candidate) => isSignedBy(certificate, candidate));
    others = others.filter((candidate) => candidate !== present);
  }
  return undefined;
}

/** True where the certificate is signed by `issuer`, by name, key identifier and signature. */
export function isSignedBy(
  certificate: X509Certificate,
  issuer: X509Certificate,
): boolean {
  return (
    certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  );
}

/** Why `certificate` may not sign others with `below` authorities beneath it. */
export function authorityFault(
  certificate: X509Certificate,
  below: number,
): string | undefined {
  const fault = signingFault(certificate);
  if (fault !== undefined) return `"${nameOf(certificate)}" ${fault}`;
  const limit = basicConstraints(certificate)?.pathLength;
  if (limit !== undefined && below > limit)
    return `"${nameOf(certificate)}" allows ${limit} authorities beneath it and has ${below}`;
  return undefined;
}

/** Why a certificate is not valid at `now`. */
export function validityFault(
  certificate: X509Certificate,
  now: WallMs,
): string | undefined {
  const from = certificate.validFromDate.getTime();
  const to = certificate.validToDate.getTime();
  // Neither can be compared where OpenSSL finds the time in a form that is not DER.
  if (Number.isNaN(from) || Number.isNaN(to))
    return `"${nameOf(certificate)}" has a validity that is not in a valid form`;
  if (now < from)
    return `"${nameOf(certificate)}" is not valid before ${certificate.validFrom}`;
  if (now > to)
    return `"${nameOf(certificate)}" expired at ${certificate.validTo}`;
  return undefined;
}

/** A one-line name for messages, cut: the holder of a certificate chooses what is in it. */
export function nameOf(certificate: X509Certificate): string {
  // Undefined for an empty subject, whatever its type says.
  const subject: unknown = certificate.subject;
  const name =
    typeof subject === "string" && subject !== ""
      ? subject.replaceAll("\n", ", ")
      : (certificate.subjectAltName ?? "unnamed");
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name;
}

function isAuthority(certificate: X509Certificate): boolean {
  return basicConstraints(certificate)?.ca === true;
}

function climb(
  certificate: X509Certificate,
  others: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: WallMs,
  depth: number,
): string | undefined {
  const invalid = validityFault(certificate, now);
  if (invalid !== undefined) return invalid;
  const root = roots.find((candidate) => isSignedBy(certificate, candidate));
  if (root !== undefined)
    return validityFault(root, now) ?? authorityFault(root, depth);
  const issuer = others.find(
    (candidate) =>
      candidate !== certificate && isSignedBy(certificate, candidate),
  );
  if (issuer === undefined)
    return `"${nameOf(certificate)}" is signed by none of the trusted roots`;
  const fault = authorityFault(issuer, depth);
  if (fault !== undefined) return fault;
  return climb(
    issuer,
    others.filter((candidate) => candidate !== issuer),
    roots,
    now,
    depth + 1,
  );
}
