/** What a certificate's extensions say, read from the DER itself: node:crypto shows some only as text and others not at all. */
import type { X509Certificate } from "node:crypto";
import { isObject } from "../core/text/json.ts";
import {
  bitStringOctets,
  childrenOf,
  DerError,
  encodeOid,
  expectTag,
  readElement,
  Tag,
  type Element,
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
  NAME_CONSTRAINTS: "2.5.29.30",
  CERTIFICATE_POLICIES: "2.5.29.32",
  POLICY_MAPPINGS: "2.5.29.33",
  POLICY_CONSTRAINTS: "2.5.29.36",
  INHIBIT_ANY_POLICY: "2.5.29.54",
  /**
   * Ours: instance name and labels as JSON. The arcs are a UUID in seven parts beneath the root that Microsoft gives to those without an arc
   * of their own. Each is below 2^31: Go and others refuse a whole certificate for one larger arc.
   */
  BINDING:
    "1.2.840.113556.1.8000.2554.47597.4260.32092.40160.43315.4283413.13152663",
  /** The same UUID as one arc (X.667), in leaves of older builds: still read, never written. */
  OLD_BINDING: "2.25.247138091126452089637751022409361174935",
} as const;

/** Bits of KeyUsage by their number in RFC 5280 4.2.1.3. */
export const KeyUsage = {
  DIGITAL_SIGNATURE: 0,
  KEY_CERT_SIGN: 5,
  CRL_SIGN: 6,
} as const;

/** GeneralName's [6] IMPLICIT IA5String, and its [0] IMPLICIT OtherName. */
const URI_NAME = 0x86;
const OTHER_NAME = 0xa0;
const EXPLICIT = 0xa0;
const UTF8_STRING = 0x0c;
/** otherName, rfc822Name, dNSName, x400Address, directoryName, ediPartyName, URI, iPAddress, registeredID (RFC 5280 4.2.1.6). */
const GENERAL_NAMES: ReadonlySet<number> = new Set([
  OTHER_NAME,
  0x81,
  0x82,
  0xa3,
  0xa4,
  0xa5,
  URI_NAME,
  0x87,
  0x88,
]);
const OUR_LONGEST_BINDING = 8192;

/** The workload instance that the authority bound to a certificate: selectors match by these labels alone. */
export interface Binding {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Addresses, as CIDR, that the instance may register besides its own; absent: none. */
  readonly addresses?: readonly string[];
}

export interface Extension {
  readonly critical: boolean;
  /** Contents of its OCTET STRING. */
  readonly value: Buffer;
}

/** By the bytes of the OID in hexadecimal. */
type Extensions = ReadonlyMap<string, Extension>;

const known = new WeakMap<X509Certificate, Extensions>();
const encoded = new Map<string, string>();

/** All extensions of a version 3 certificate. Throws DerError where the version is another, one stands there twice, or one is malformed. */
export function extensionsOf(certificate: X509Certificate): Extensions {
  let extensions = known.get(certificate);
  if (extensions === undefined) {
    extensions = readExtensions(certificate);
    known.set(certificate, extensions);
  }
  return extensions;
}

/** Contents of the extension's OCTET STRING; undefined where the certificate has none. Throws DerError as `extensionsOf` does. */
export function extensionValue(
  certificate: X509Certificate,
  oid: string,
): Buffer | undefined {
  return extensionsOf(certificate).get(keyOfOid(oid))?.value;
}

/** Key of an extension in what `extensionsOf` returns. */
export function keyOfOid(oid: string): string {
  let key = encoded.get(oid);
  if (key === undefined) {
    key = encodeOid(oid).toString("hex");
    encoded.set(oid, key);
  }
  return key;
}

function readExtensions(certificate: X509Certificate): Extensions {
  const [body] = childrenOf(
    expectTag(readElement(certificate.raw), Tag.SEQUENCE),
  );
  const fields = childrenOf(expectTag(body, Tag.SEQUENCE));
  const [version] = fields;
  // [0] EXPLICIT INTEGER 2 is version 3; version 1 has no such field, and neither has extensions.
  if (version?.tag !== 0xa0 || version.value.toString("hex") !== "020102")
    throw new DerError("it is not of version 3");
  // TBSCertificate ends with extensions [3] EXPLICIT.
  const wrapper = fields.find(({ tag }) => tag === 0xa3);
  const extensions = new Map<string, Extension>();
  if (wrapper === undefined) return extensions;
  const list = childrenOf(expectTag(readElement(wrapper.value), Tag.SEQUENCE));
  for (const element of list) {
    const [id, ...rest] = childrenOf(expectTag(element, Tag.SEQUENCE));
    const key = expectTag(id, Tag.OID).value.toString("hex");
    if (extensions.has(key))
      throw new DerError(`the extension with the OID 0x${key} is there twice`);
    const critical = rest.length === 2 && isTrue(rest[0]);
    if (rest.length > 2)
      throw new DerError("an extension of more than three parts");
    const { value } = expectTag(rest.at(-1), Tag.OCTET_STRING);
    extensions.set(key, { critical, value });
  }
  return extensions;
}

/** DER knows one byte for TRUE; an explicit FALSE where that is the default is not DER, and harmless. */
function isTrue(element: Element | undefined): boolean {
  const { value } = expectTag(element, Tag.BOOLEAN);
  const [octet] = value;
  if (value.length !== 1 || (octet !== 0xff && octet !== 0))
    throw new DerError("a truth value that is neither TRUE nor FALSE");
  return octet === 0xff;
}

/** The elements of the SubjectAltName. Throws DerError. */
function namesOf(certificate: X509Certificate): readonly Element[] {
  const value = extensionValue(certificate, Oid.SUBJECT_ALT_NAME);
  if (value === undefined) return [];
  const names = childrenOf(expectTag(readElement(value), Tag.SEQUENCE));
  // A name in another form of the same type would be a URI to one reader and none to the next.
  if (names.some(({ tag }) => !GENERAL_NAMES.has(tag)))
    throw new DerError("a subject alternative name of no known type");
  return names;
}

/** The URI names of the SubjectAltName, as they are: never parsed out of a printed form, where a quote could forge one. */
export function uriNames(certificate: X509Certificate): string[] {
  return namesOf(certificate)
    .filter(({ tag }) => tag === URI_NAME)
    .map((name) => name.value.toString("latin1"));
}

/** How many names there are that are neither URIs nor the binding. Throws DerError. */
export function countOtherNames(certificate: X509Certificate): number {
  return namesOf(certificate).filter(
    (name) => name.tag !== URI_NAME && boundText(name) === undefined,
  ).length;
}

/** The text of an otherName with the OID of the binding: SEQUENCE { OID, [0] EXPLICIT UTF8String }, the outer tag replaced by [0]. */
function boundText({ tag, whole }: Element): Buffer | undefined {
  if (tag !== OTHER_NAME) return undefined;
  const [type, wrapped] = childrenOf(readElement(whole));
  if (expectTag(type, Tag.OID).value.toString("hex") !== keyOfOid(Oid.BINDING))
    return undefined;
  const { value } = expectTag(wrapped, EXPLICIT);
  return expectTag(readElement(value), UTF8_STRING).value;
}

/** Numbers of the KeyUsage bits that are set; undefined where the extension is absent. */
export function keyUsages(
  certificate: X509Certificate,
): ReadonlySet<number> | undefined {
  const value = extensionValue(certificate, Oid.KEY_USAGE);
  if (value === undefined) return undefined;
  const bits = expectTag(readElement(value), Tag.BIT_STRING).value;
  const set = new Set<number>();
  // The first byte counts the unused bits at the end.
  for (let bit = 0; bit < (bits.length - 1) * 8; bit += 1)
    if (((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) set.add(bit);
  return set;
}

export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

/**
 * What BasicConstraints says by itself; undefined where the extension is absent. OpenSSL's word on it (`certificate.ca`) is another: it calls
 * a certificate with cA TRUE and without keyCertSign no authority, and one with keyCertSign alone an authority.
 */
export function basicConstraints(
  certificate: X509Certificate,
): BasicConstraints | undefined {
  const value = extensionValue(certificate, Oid.BASIC_CONSTRAINTS);
  if (value === undefined) return undefined;
  const parts = childrenOf(expectTag(readElement(value), Tag.SEQUENCE));
  const ca = parts[0]?.tag === Tag.BOOLEAN && isTrue(parts.shift());
  const length = parts.shift();
  if (parts.length > 0)
    throw new DerError("basic constraints of more than two parts");
  if (length === undefined) return { ca, pathLength: undefined };
  const [pathLength = 0, ...more] = expectTag(length, Tag.INTEGER).value;
  if (more.length > 0 || pathLength > 127)
    throw new DerError("a pathLenConstraint that makes no sense");
  return { ca, pathLength };
}

/** OIDs of the ExtendedKeyUsage, each as `keyOfOid` gives it; undefined where the extension is absent. */
export function extendedKeyUsages(
  certificate: X509Certificate,
): ReadonlySet<string> | undefined {
  const value = extensionValue(certificate, Oid.EXTENDED_KEY_USAGE);
  if (value === undefined) return undefined;
  const list = childrenOf(expectTag(readElement(value), Tag.SEQUENCE));
  return new Set(
    list.map((oid) => expectTag(oid, Tag.OID).value.toString("hex")),
  );
}

/** The key identifier that certificates signed by this one carry in their AuthorityKeyIdentifier. */
export function subjectKeyId(certificate: X509Certificate): Buffer | undefined {
  const value = extensionValue(certificate, Oid.SUBJECT_KEY_ID);
  return value === undefined
    ? undefined
    : expectTag(readElement(value), Tag.OCTET_STRING).value;
}

/**
 * The bytes of the binding; the extension goes first. An authority that adds no extension of others can carry it as an otherName, in
 * base64url: such a text has none of the characters by which an interface takes its parts apart. Throws DerError.
 */
function boundOctets(certificate: X509Certificate): Buffer | undefined {
  const value =
    extensionValue(certificate, Oid.BINDING) ??
    extensionValue(certificate, Oid.OLD_BINDING);
  if (value !== undefined) return value;
  const texts = namesOf(certificate).flatMap((name) => boundText(name) ?? []);
  const [text] = texts;
  if (text === undefined || texts.length > 1) return undefined;
  return text.length > 2 * OUR_LONGEST_BINDING
    ? undefined
    : Buffer.from(text.toString("latin1"), "base64url");
}

/** What the authority bound to the certificate; undefined where there is nothing, or nothing that can be read. */
export function readBinding(certificate: X509Certificate): Binding | undefined {
  try {
    const value = boundOctets(certificate);
    if (value === undefined || value.length > OUR_LONGEST_BINDING)
      return undefined;
    const parsed: unknown = JSON.parse(value.toString("utf8"));
    if (!isObject(parsed)) return undefined;
    const { name, labels } = parsed;
    if (typeof name !== "string" || !isObject(labels)) return undefined;
    const entries: [string, string][] = [];
    for (const [key, label] of Object.entries(labels)) {
      if (typeof label !== "string") return undefined;
      entries.push([key, label]);
    }
    const { addresses } = parsed;
    if (addresses === undefined)
      return { name, labels: Object.fromEntries(entries) };
    if (!isTextList(addresses)) return undefined;
    return { name, labels: Object.fromEntries(entries), addresses };
  } catch {
    return undefined;
  }
}

/** The bytes of the extension that `readBinding` reads. Throws RangeError where they would be too many. */
export function encodeBinding(binding: Binding): Buffer {
  const text = Buffer.from(
    JSON.stringify({
      name: binding.name,
      labels: binding.labels,
      ...(binding.addresses === undefined || binding.addresses.length === 0
        ? {}
        : { addresses: binding.addresses }),
    }),
  );
  if (text.length > OUR_LONGEST_BINDING)
    throw new RangeError(
      `instance name and labels take ${text.length} bytes as JSON; a certificate carries at most ${OUR_LONGEST_BINDING}: use fewer or shorter labels`,
    );
  return text;
}

/** The bytes of the public key within SubjectPublicKeyInfo: what a key identifier is the hash of. */
export function publicKeyOctets(subjectPublicKeyInfo: Buffer): Buffer {
  const [, key] = childrenOf(
    expectTag(readElement(subjectPublicKeyInfo), Tag.SEQUENCE),
  );
  return bitStringOctets(expectTag(key, Tag.BIT_STRING));
}

function isTextList(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) && value.every((entry) => typeof entry === "string")
  );
}
