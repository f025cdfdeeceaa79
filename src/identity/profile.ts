/** The form that SPIFFE X.509-SVID 3 and 4 asks of a workload's certificate and of a signing one: OpenSSL is laxer, and this is for both ends of every connection. */
import type { X509Certificate } from "node:crypto";
import {
  basicConstraints,
  extendedKeyUsages,
  extensionsOf,
  keyOfOid,
  KeyUsage,
  keyUsages,
  Oid,
  uriNames,
} from "./extensions.ts";

export type LeafFault =
  | "CA certificate"
  | "key usage"
  | "malformed certificate";

/** Bytes of DER: our own leaf takes at most about 9 KiB, with the largest binding there may be. */
const LARGEST = 65_536;
/** Characters of a URI in a message. */
const LONGEST_SHOWN = 256;

/** Critical extensions that are understood here or by OpenSSL; with any other a certificate is not to be used (RFC 5280 4.2). */
const UNDERSTOOD_IN_LEAF: ReadonlySet<string> = new Set(
  [
    Oid.KEY_USAGE,
    Oid.EXTENDED_KEY_USAGE,
    Oid.SUBJECT_ALT_NAME,
    Oid.BASIC_CONSTRAINTS,
    Oid.CERTIFICATE_POLICIES,
  ].map(keyOfOid),
);
/** What restricts an authority in ways that OpenSSL alone judges. */
const RESTRICTIONS: readonly string[] = [
  Oid.NAME_CONSTRAINTS,
  Oid.POLICY_CONSTRAINTS,
  Oid.POLICY_MAPPINGS,
  Oid.INHIBIT_ANY_POLICY,
  Oid.EXTENDED_KEY_USAGE,
].map(keyOfOid);
/** Signatures that anybody can forge, or will. */
const WEAK = /md[245]|sha1(?!\d)/i;
/** Bits of an RSA key that OpenSSL asks for. */
const LEAST_RSA = 2048;
/** The same, and the exponent, of a key whose signatures are verified for a stranger: a larger one costs 15 ms each time. */
const LARGEST_RSA = 8192;
const LARGEST_EXPONENT = 2n ** 32n;

const UNDERSTOOD_IN_AUTHORITY: ReadonlySet<string> = new Set([
  ...UNDERSTOOD_IN_LEAF,
  ...[
    Oid.NAME_CONSTRAINTS,
    Oid.POLICY_CONSTRAINTS,
    Oid.POLICY_MAPPINGS,
    Oid.INHIBIT_ANY_POLICY,
  ].map(keyOfOid),
]);

/** Why `leaf` cannot stand for a workload, whatever signed it; names and validity are judged apart. Throws DerError where it cannot be read. */
export function leafFault(
  leaf: X509Certificate,
): { readonly reason: LeafFault; readonly detail: string } | undefined {
  if (leaf.raw.length > LARGEST)
    return malformed(`it has more than ${LARGEST} bytes`);
  if (basicConstraints(leaf)?.ca === true)
    return {
      reason: "CA certificate",
      detail: "a certificate authority's certificate is not a workload's",
    };
  const usages = keyUsages(leaf);
  if (
    usages?.has(KeyUsage.DIGITAL_SIGNATURE) !== true ||
    usages.has(KeyUsage.KEY_CERT_SIGN) ||
    usages.has(KeyUsage.CRL_SIGN)
  )
    return keyUsage(
      "an SVID has the key usage digitalSignature and may not sign certificates or CRLs",
    );
  const extensions = extensionsOf(leaf);
  if (extensions.get(keyOfOid(Oid.KEY_USAGE))?.critical !== true)
    return keyUsage("an SVID marks its key usage as critical");
  const purposes = extendedKeyUsages(leaf);
  if (
    purposes !== undefined &&
    !(
      purposes.has(keyOfOid(Oid.SERVER_AUTH)) &&
      purposes.has(keyOfOid(Oid.CLIENT_AUTH))
    )
  )
    return keyUsage(
      "an SVID that has extended key usages has serverAuth and clientAuth",
    );
  const unknown = unknownCritical(leaf, UNDERSTOOD_IN_LEAF);
  if (unknown !== undefined) return malformed(unknown);
  // Node prints an empty subject as undefined, whatever its type says.
  const subject: unknown = leaf.subject;
  const san = extensions.get(keyOfOid(Oid.SUBJECT_ALT_NAME));
  if (subject === undefined && san?.critical === false)
    return malformed(
      "without a subject, the subject alternative name must be critical",
    );
  return undefined;
}

/** Why a certificate cannot sign others, as the end of a sentence that begins with its name. Throws DerError where it cannot be read. */
export function signingFault(certificate: X509Certificate): string | undefined {
  if (certificate.raw.length > LARGEST) return `has more than ${LARGEST} bytes`;
  if (basicConstraints(certificate)?.ca !== true)
    return "is not a certificate authority";
  if (keyUsages(certificate)?.has(KeyUsage.KEY_CERT_SIGN) !== true)
    return "may not sign certificates (key usage keyCertSign is missing)";
  const unknown = unknownCritical(certificate, UNDERSTOOD_IN_AUTHORITY);
  if (unknown !== undefined) return `cannot be used: ${unknown}`;
  const spiffe = uriNames(certificate).filter((uri) =>
    uri.startsWith("spiffe:"),
  );
  if (spiffe.length > 1) return "has several SPIFFE IDs";
  // A signing certificate that names a workload could pass for it with a laxer reader.
  if (spiffe[0] !== undefined && !/^spiffe:\/\/[^/]+$/.test(spiffe[0]))
    return `has the SPIFFE ID of a workload (${spiffe[0].slice(0, LONGEST_SHOWN)}); a signing certificate's has no path`;
  return undefined;
}

/**
 * Why a chain with this certificate in it cannot be judged without OpenSSL: it is restricted in ways that are not read here, is
 * weaker than OpenSSL takes, or costs more than a stranger may ask for. Throws DerError where it cannot be read.
 */
export function opensslAloneFault(
  certificate: X509Certificate,
): string | undefined {
  const extensions = extensionsOf(certificate);
  if (
    basicConstraints(certificate)?.ca === true &&
    RESTRICTIONS.some((key) => extensions.has(key))
  )
    return "it restricts what it signs";
  const weak = weakness(certificate);
  if (weak !== undefined) return weak;
  const { modulusLength = LEAST_RSA, publicExponent = 3n } =
    certificate.publicKey.asymmetricKeyDetails ?? {};
  return modulusLength > LARGEST_RSA || publicExponent > LARGEST_EXPONENT
    ? "its key is too large"
    : undefined;
}

/** Why no connection takes a certificate, whatever has signed it. */
export function weakness({
  signatureAlgorithm = "md5",
  publicKey: { asymmetricKeyType, asymmetricKeyDetails },
}: X509Certificate): string | undefined {
  if (WEAK.test(signatureAlgorithm)) return "its signature is weak";
  if (asymmetricKeyType === "dsa") return "its key is a DSA key";
  const { modulusLength = LEAST_RSA } = asymmetricKeyDetails ?? {};
  return modulusLength < LEAST_RSA ? "its key is weak" : undefined;
}

function unknownCritical(
  certificate: X509Certificate,
  understood: ReadonlySet<string>,
): string | undefined {
  for (const [key, { critical }] of extensionsOf(certificate))
    if (critical && !understood.has(key))
      return `the critical extension with the OID 0x${key} is not understood`;
  return undefined;
}

function malformed(detail: string): {
  reason: "malformed certificate";
  detail: string;
} {
  return { reason: "malformed certificate", detail };
}

function keyUsage(detail: string): { reason: "key usage"; detail: string } {
  return { reason: "key usage", detail };
}
