/** What a certificate's extensions say, read from the DER itself: node:crypto shows some only as text and others not at all. */
import type { X509Certificate } from "node:crypto";
import {
  bitStringOctets,
  childrenOf,
  DerError,
  encodeOid,
  expectTag,
  readElement,
  Tag,
} from "./der.ts";

export const Oid = {
  SUBJECT_KEY_ID: "2.5.29.14",
  KEY_USAGE: "2.5.29.15",
  SUBJECT_ALT_NAME: "2.5.29.17",
  BASIC_CONSTRAINTS: "2.5.29.19",
  AUTHORITY_KEY_ID: "2.5.29.35",
  EXTENDED_KEY_USAGE: "2.5.29.37",
  SERVER_AUTH: "1.3.6.1.5.5.7.3.1",
  CLIENT_AUTH: "1.3.6.1.5.5.7.3.2",
  /** Ours, from a UUID (X.667): instance name and labels as JSON. */
  BINDING: "2.25.247138091126452089637751022409361174935",
} as const;

/** Bits of KeyUsage by their number in RFC 5280 4.2.1.3. */
export const KeyUsage = {
  DIGITAL_SIGNATURE: 0,
  KEY_CERT_SIGN: 5,
  CRL_SIGN: 6,
} as const;

/** GeneralName's [6] IMPLICIT IA5String. */
const URI_NAME = 0x86;
const OUR_LONGEST_BINDING = 8192;

/** The workload instance that the authority bound to a certificate: selectors match by these labels alone. */
export interface Binding {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Contents of the extension's OCTET STRING; undefined where the certificate has none. Throws DerError where it has two, or is malformed. */
export function extensionValue(
  certificate: X509Certificate,
  oid: string,
): Buffer | undefined {
  const wanted = encodeOid(oid);
  const [body] = childrenOf(
    expectTag(readElement(certificate.raw), Tag.SEQUENCE),
  );
  // TBSCertificate ends with extensions [3] EXPLICIT.
  const wrapper = childrenOf(expectTag(body, Tag.SEQUENCE)).find(
    ({ tag }) => tag === 0xa3,
  );
  if (wrapper === undefined) return undefined;
  let found: Buffer | undefined;
  const list = childrenOf(expectTag(readElement(wrapper.value), Tag.SEQUENCE));
  for (const extension of list) {
    const parts = childrenOf(expectTag(extension, Tag.SEQUENCE));
    if (!expectTag(parts[0], Tag.OID).value.equals(wanted)) continue;
    if (found !== undefined)
      throw new DerError(`the extension ${oid} stands twice`);
    found = expectTag(parts.at(-1), Tag.OCTET_STRING).value;
  }
  return found;
}

/** The URI names of the SubjectAltName, as they are: never parsed out of a printed form, where a quote could forge one. */
export function uriNames(certificate: X509Certificate): string[] {
  const value = extensionValue(certificate, Oid.SUBJECT_ALT_NAME);
  if (value === undefined) return [];
  return childrenOf(expectTag(readElement(value), Tag.SEQUENCE))
    .filter(({ tag }) => tag === URI_NAME)
    .map((name) => name.value.toString("latin1"));
}

/** Numbers of the KeyUsage bits that are set; undefined where the extension is absent. */
export function keyUsages(
  certificate: X509Certificate,
): ReadonlySet<number> | undefined {
  const value = extensionValue(certificate, Oid.KEY_USAGE);
  if (value === undefined) return undefined;
  const bits = expectTag(readElement(value), Tag.BIT_STRING).value;
  const set = new Set<number>();
  // The first octet counts the unused bits at the end.
  for (let bit = 0; bit < (bits.length - 1) * 8; bit += 1)
    if (((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) set.add(bit);
  return set;
}

/** The pathLenConstraint of BasicConstraints; undefined where there is none. */
export function pathLength(certificate: X509Certificate): number | undefined {
  const value = extensionValue(certificate, Oid.BASIC_CONSTRAINTS);
  if (value === undefined) return undefined;
  const length = childrenOf(expectTag(readElement(value), Tag.SEQUENCE)).find(
    ({ tag }) => tag === Tag.INTEGER,
  );
  if (length === undefined) return undefined;
  if (length.value.length !== 1)
    throw new DerError("a pathLenConstraint that makes no sense");
  return length.value[0];
}

/** The key identifier that certificates signed by this one carry in their AuthorityKeyIdentifier. */
export function subjectKeyId(certificate: X509Certificate): Buffer | undefined {
  const value = extensionValue(certificate, Oid.SUBJECT_KEY_ID);
  return value === undefined
    ? undefined
    : expectTag(readElement(value), Tag.OCTET_STRING).value;
}

/** What the authority bound to the certificate; undefined where there is nothing, or nothing that can be read. */
export function readBinding(certificate: X509Certificate): Binding | undefined {
  try {
    const value = extensionValue(certificate, Oid.BINDING);
    if (value === undefined || value.length > OUR_LONGEST_BINDING)
      return undefined;
    const parsed: unknown = JSON.parse(value.toString("utf8"));
    if (!isRecord(parsed)) return undefined;
    const { name, labels } = parsed;
    if (typeof name !== "string" || !isRecord(labels)) return undefined;
    const entries: [string, string][] = [];
    for (const [key, label] of Object.entries(labels)) {
      if (typeof label !== "string") return undefined;
      entries.push([key, label]);
    }
    return { name, labels: Object.fromEntries(entries) };
  } catch {
    return undefined;
  }
}

/** The octets of the extension that `readBinding` reads. Throws RangeError where they would be too many. */
export function encodeBinding(binding: Binding): Buffer {
  const text = Buffer.from(
    JSON.stringify({ name: binding.name, labels: binding.labels }),
  );
  if (text.length > OUR_LONGEST_BINDING)
    throw new RangeError(
      `instance name and labels take ${text.length} octets as JSON; a certificate carries at most ${OUR_LONGEST_BINDING}: use fewer or shorter labels`,
    );
  return text;
}

/** The octets of the public key within SubjectPublicKeyInfo: what a key identifier is the hash of. */
export function publicKeyOctets(subjectPublicKeyInfo: Buffer): Buffer {
  const [, key] = childrenOf(
    expectTag(readElement(subjectPublicKeyInfo), Tag.SEQUENCE),
  );
  return bitStringOctets(expectTag(key, Tag.BIT_STRING));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
