/** Makes certificates: ASN.1 by node-forge, which knows no elliptic curves; keys and signatures by node:crypto. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  randomBytes,
  sign,
  type KeyObject,
  type X509Certificate,
} from "node:crypto";
import forge from "node-forge";
import { timestamp } from "../core/clock.ts";
import { UserError } from "../core/errors.ts";
import type { WallMs } from "../core/units.ts";
import { childrenOf, encodeOid, expectTag, readElement, Tag } from "./der.ts";
import {
  encodeBinding,
  KeyUsage,
  Oid,
  publicKeyOctets,
  subjectKeyId,
  type Binding,
} from "./extensions.ts";
import { toPem } from "./to-pem.ts";

const { Class, Type } = forge.asn1;
const CONTEXT: forge.asn1.Class = Class.CONTEXT_SPECIFIC;

/** Context-specific tag numbers; node-forge knows numbers only by the name of the universal type that has the same. */
const Numbered = {
  VERSION: Type.NONE, // [0]
  ATTRIBUTES: Type.NONE, // [0]
  KEY_ID: Type.NONE, // [0]
  EXTENSIONS: Type.BITSTRING, // [3]
  URI: Type.OID, // [6]
} as const;

export interface Issuer {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
}

export interface WorkloadProfile {
  readonly kind: "workload";
  readonly uris: readonly string[];
  readonly binding?: Binding;
  /** Bits of `KeyUsage`; digitalSignature unless given. */
  readonly keyUsage?: readonly number[];
}

export interface CertificateTemplate {
  /** Common name of the subject; without it the subject is empty and the SubjectAltName is critical (RFC 5280 4.2.1.6). */
  readonly commonName?: string;
  readonly organization?: string;
  readonly publicKey: KeyObject;
  /** Wall-clock milliseconds; certificates count in whole seconds, fractions are cut off. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly profile:
    | { readonly kind: "authority"; readonly pathLength?: number }
    | WorkloadProfile;
  /** The signer; a bare private key makes a self-signed root. */
  readonly issuer: Issuer | { readonly selfSignedWith: KeyObject };
}

/** How each kind of key signs: the algorithm identifier and the hash. */
interface Signer {
  readonly oid: string;
  readonly hash: string;
  /** RFC 4055 wants NULL parameters for RSA, RFC 5758 none for ECDSA. */
  readonly nullParameters: boolean;
}

const P256: Signer = {
  oid: "1.2.840.10045.4.3.2",
  hash: "sha256",
  nullParameters: false,
};
const P384: Signer = {
  oid: "1.2.840.10045.4.3.3",
  hash: "sha384",
  nullParameters: false,
};
const RSA: Signer = {
  oid: "1.2.840.113549.1.1.11",
  hash: "sha256",
  nullParameters: true,
};

/** Signs a certificate and gives it as PEM. Throws UserError where the issuer's key is of a kind that the mesh does not use. */
export function issueCertificate(template: CertificateTemplate): string {
  const { issuer, profile } = template;
  const selfSigned = "selfSignedWith" in issuer;
  const key = selfSigned ? issuer.selfSignedWith : issuer.privateKey;
  const algorithm = algorithmIdentifier(signerOf(key));
  const info = template.publicKey.export({ type: "spki", format: "der" });
  const subject = distinguishedName(template);
  const keyId = createKeyId(info);
  const issuerKeyId = selfSigned
    ? keyId
    : (subjectKeyId(issuer.certificate) ??
      createKeyId(
        issuer.certificate.publicKey.export({ type: "spki", format: "der" }),
      ));
  const extensions = [
    extension(Oid.SUBJECT_KEY_ID, false, octetString(keyId)),
    extension(
      Oid.AUTHORITY_KEY_ID,
      false,
      sequence([primitive(Numbered.KEY_ID, issuerKeyId, CONTEXT)]),
    ),
    ...(profile.kind === "authority"
      ? authorityExtensions(profile.pathLength)
      : workloadExtensions(profile, template.commonName === undefined)),
  ];
  const body = sequence([
    constructed(Numbered.VERSION, [integer(Buffer.from([2]))], CONTEXT),
    integer(serialNumber()),
    algorithm,
    selfSigned ? subject : verbatim(subjectOf(issuer.certificate)),
    sequence([time(template.notBefore), time(template.notAfter)]),
    subject,
    verbatim(info),
    constructed(Numbered.EXTENSIONS, [sequence(extensions)], CONTEXT),
  ]);
  return toPem("CERTIFICATE", signed(body, algorithm, key));
}

/** A PKCS #10 request (RFC 2986) for the key: it names no subject, since the authority alone decides the identity. */
export function createCsr(privateKey: string): string {
  const key = createPrivateKey(privateKey);
  const info = createPublicKey(key).export({ type: "spki", format: "der" });
  const body = sequence([
    integer(Buffer.from([0])),
    sequence([]),
    verbatim(info),
    constructed(Numbered.ATTRIBUTES, [], CONTEXT),
  ]);
  return toPem(
    "CERTIFICATE REQUEST",
    signed(body, algorithmIdentifier(signerOf(key)), key),
  );
}

function authorityExtensions(length: number | undefined): forge.asn1.Asn1[] {
  return [
    extension(
      Oid.BASIC_CONSTRAINTS,
      true,
      sequence([
        primitive(Type.BOOLEAN, Buffer.from([0xff])),
        ...(length === undefined ? [] : [integer(Buffer.from([length]))]),
      ]),
    ),
    keyUsage([KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN]),
  ];
}

/** `critical`: whether the SPIFFE id must be understood, as where the subject is empty (RFC 5280, 4.2.1.6). */
function workloadExtensions(
  profile: WorkloadProfile,
  critical: boolean,
): forge.asn1.Asn1[] {
  const { uris, binding } = profile;
  const names = uris.map((uri) =>
    primitive(Numbered.URI, Buffer.from(uri, "latin1"), CONTEXT),
  );
  return [
    keyUsage(profile.keyUsage ?? [KeyUsage.DIGITAL_SIGNATURE]),
    extension(
      Oid.EXTENDED_KEY_USAGE,
      false,
      sequence([oid(Oid.SERVER_AUTH), oid(Oid.CLIENT_AUTH)]),
    ),
    extension(Oid.BASIC_CONSTRAINTS, true, sequence([])),
    ...(names.length === 0
      ? []
      : [extension(Oid.SUBJECT_ALT_NAME, critical, sequence(names))]),
    ...(binding === undefined
      ? []
      : [rawExtension(Oid.BINDING, false, encodeBinding(binding))]),
  ];
}

function signed(
  body: forge.asn1.Asn1,
  algorithm: forge.asn1.Asn1,
  key: KeyObject,
): Buffer {
  const signature = sign(signerOf(key).hash, toDer(body), key);
  return toDer(sequence([body, algorithm, bitString(signature)]));
}

function signerOf(key: KeyObject): Signer {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "ec") {
    if (details?.namedCurve === "prime256v1") return P256;
    if (details?.namedCurve === "secp384r1") return P384;
  }
  if (key.asymmetricKeyType === "rsa" && (details?.modulusLength ?? 0) >= 2048)
    return RSA;
  throw new UserError(
    `a signing key of type ${key.asymmetricKeyType ?? "unknown"} ${details?.namedCurve ?? ""} cannot be used; use P-256, P-384, or RSA with 2048 bits or more`,
  );
}

/** RFC 7093 method 1: the leftmost 160 bits of SHA-256. */
function createKeyId(info: Buffer): Buffer {
  return createHash("sha256")
    .update(publicKeyOctets(info))
    .digest()
    .subarray(0, 20);
}

/** 18 random bytes behind a non-zero one: positive, within the 20 bytes of RFC 5280 4.1.2.2, and past guessing. */
function serialNumber(): Buffer {
  return Buffer.concat([Buffer.from([0x4d]), randomBytes(18)]);
}

/** The issuer's subject, byte for byte: a re-encoded name would not match. */
function subjectOf(certificate: X509Certificate): Buffer {
  const [body] = childrenOf(
    expectTag(readElement(certificate.raw), Tag.SEQUENCE),
  );
  const fields = childrenOf(expectTag(body, Tag.SEQUENCE));
  // version [0] is always there in a certificate with extensions: serial, signature, issuer, validity, subject follow.
  return expectTag(fields[fields[0]?.tag === 0xa0 ? 5 : 4], Tag.SEQUENCE).whole;
}

function distinguishedName(template: CertificateTemplate): forge.asn1.Asn1 {
  const parts: [string, string][] = [];
  if (template.organization !== undefined)
    parts.push(["2.5.4.10", template.organization]);
  if (template.commonName !== undefined)
    parts.push(["2.5.4.3", template.commonName]);
  return sequence(
    parts.map(([type, value]) =>
      constructed(Type.SET, [
        sequence([oid(type), primitive(Type.UTF8, Buffer.from(value, "utf8"))]),
      ]),
    ),
  );
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 4.1.2.5). */
function time(wall: WallMs): forge.asn1.Asn1 {
  const digits = `${timestamp(wall).slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
  return digits < "2050"
    ? primitive(Type.UTCTIME, Buffer.from(digits.slice(2)))
    : primitive(Type.GENERALIZEDTIME, Buffer.from(digits));
}

function keyUsage(bits: readonly number[]): forge.asn1.Asn1 {
  let octet = 0;
  for (const bit of bits) octet |= 0x80 >> bit;
  // DER wants the unused bits counted exactly: those after the last that is set.
  const unused = octet === 0 ? 0 : 31 - Math.clz32(octet & -octet);
  const octets = octet === 0 ? [0] : [unused, octet];
  return extension(
    Oid.KEY_USAGE,
    true,
    primitive(Type.BITSTRING, Buffer.from(octets)),
  );
}

function algorithmIdentifier(signer: Signer): forge.asn1.Asn1 {
  return sequence([
    oid(signer.oid),
    ...(signer.nullParameters ? [primitive(Type.NULL, Buffer.alloc(0))] : []),
  ]);
}

function extension(
  id: string,
  critical: boolean,
  value: forge.asn1.Asn1,
): forge.asn1.Asn1 {
  return rawExtension(id, critical, toDer(value));
}

function rawExtension(
  id: string,
  critical: boolean,
  value: Buffer,
): forge.asn1.Asn1 {
  return sequence([
    oid(id),
    ...(critical ? [primitive(Type.BOOLEAN, Buffer.from([0xff]))] : []),
    octetString(value),
  ]);
}

function sequence(children: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return constructed(Type.SEQUENCE, children);
}

function octetString(value: Buffer): forge.asn1.Asn1 {
  return primitive(Type.OCTETSTRING, value);
}

function bitString(value: Buffer): forge.asn1.Asn1 {
  return primitive(Type.BITSTRING, Buffer.concat([Buffer.from([0]), value]));
}

function integer(value: Buffer): forge.asn1.Asn1 {
  return primitive(Type.INTEGER, value);
}

function oid(dotted: string): forge.asn1.Asn1 {
  return primitive(Type.OID, encodeOid(dotted));
}

/** An element that exists as DER already. */
function verbatim(der: Buffer): forge.asn1.Asn1 {
  return forge.asn1.fromDer(der.toString("latin1"));
}

function constructed(
  type: forge.asn1.Type,
  children: forge.asn1.Asn1[],
  tagClass: forge.asn1.Class = Class.UNIVERSAL,
): forge.asn1.Asn1 {
  return forge.asn1.create(tagClass, type, true, children);
}

function primitive(
  type: forge.asn1.Type,
  value: Buffer,
  tagClass: forge.asn1.Class = Class.UNIVERSAL,
): forge.asn1.Asn1 {
  return forge.asn1.create(tagClass, type, false, value.toString("latin1"));
}

function toDer(element: forge.asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(element).getBytes(), "latin1");
}
