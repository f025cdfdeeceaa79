/** Certificates of any form, right or wrong, put together byte by byte: what an authority that is careless, old or hostile might sign. */
import {
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from "node:crypto";
import {
  childrenOf,
  encodeOid,
  readElement,
} from "../../../src/identity/der.ts";
import { KeyUsage, Oid } from "../../../src/identity/extensions.ts";
import { toPem } from "../../../src/identity/to-pem.ts";
import type { Issuer } from "../../../src/identity/x509.ts";

export interface OddExtension {
  readonly oid: string;
  readonly critical?: boolean;
  readonly value: Buffer;
}

export interface OddTemplate {
  readonly issuer: Issuer;
  readonly extensions: readonly OddExtension[];
  /** The number in the version field: 2 is version 3. Null leaves the field out. */
  readonly version?: number | null;
  readonly commonName?: string;
  /** The two times as they are to be encoded; a minute ago and in an hour unless given. */
  readonly validity?: readonly [Buffer, Buffer];
  /** Algorithm that the signature says of itself, by its OID; the one that it is of unless given. */
  readonly saysAlgorithm?: string;
  /** SHA-256 unless given. */
  readonly digest?: "sha256" | "sha1";
  /** Its own key; one of P-256 unless given. */
  readonly privateKey?: KeyObject;
  /** The key that it is for, where its holder keeps the private one. */
  readonly publicKey?: KeyObject;
  /** Changes what is signed already, without a change of its length. */
  readonly tamper?: (der: Buffer) => void;
}

export interface OddCertificate {
  readonly pem: string;
  readonly privateKey: KeyObject;
  /** PKCS #8 PEM. */
  readonly privateKeyPem: string;
}

export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  const head =
    length < 128
      ? [tag, length]
      : length < 256
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), value]);
}

export const ia5 = (tag: number, text: string): Buffer =>
  tlv(tag, Buffer.from(text, "latin1"));

/** UTCTime or GeneralizedTime, whatever is written. */
export const utc = (text: string): Buffer => ia5(0x17, text);
export const generalized = (text: string): Buffer => ia5(0x18, text);

const TRUE = tlv(0x01, Buffer.from([0xff]));
type Algorithms = Readonly<Record<"sha256" | "sha1", Buffer>>;
const algorithm = (oid: string): Buffer => tlv(0x30, tlv(0x06, encodeOid(oid)));
const ECDSA: Algorithms = {
  sha256: algorithm("1.2.840.10045.4.3.2"),
  sha1: algorithm("1.2.840.10045.4.1"),
};
const RSA: Algorithms = {
  sha256: algorithm("1.2.840.113549.1.1.11"),
  sha1: algorithm("1.2.840.113549.1.1.5"),
};

export function keyUsage(
  bits: readonly number[],
  critical = true,
): OddExtension {
  let octet = 0;
  for (const bit of bits) octet |= 0x80 >> bit;
  return {
    oid: Oid.KEY_USAGE,
    critical,
    value: tlv(0x03, Buffer.from([0, octet])),
  };
}

export function constraints(ca: boolean, ...more: Buffer[]): OddExtension {
  return {
    oid: Oid.BASIC_CONSTRAINTS,
    critical: true,
    value: tlv(0x30, ...(ca ? [TRUE] : []), ...more),
  };
}

export function purposes(...oids: string[]): OddExtension {
  return {
    oid: Oid.EXTENDED_KEY_USAGE,
    value: tlv(0x30, ...oids.map((oid) => tlv(0x06, encodeOid(oid)))),
  };
}

export function uris(...names: string[]): OddExtension {
  return namesOf(...names.map((name) => ia5(0x86, name)));
}

/** A subject alternative name of whatever elements. */
export function namesOf(...names: Buffer[]): OddExtension {
  return {
    oid: Oid.SUBJECT_ALT_NAME,
    critical: true,
    value: tlv(0x30, ...names),
  };
}

/** An otherName of the OID, with the text as UTF8String. */
export function otherName(oid: string, text: string): Buffer {
  const value = tlv(0xa0, tlv(0x0c, Buffer.from(text)));
  return tlv(0xa0, tlv(0x06, encodeOid(oid)), value);
}

/** What a right leaf has, so that a row of a table can replace one part of it. */
export function leafExtensions(uri: string): Record<string, OddExtension> {
  return {
    usage: keyUsage([KeyUsage.DIGITAL_SIGNATURE]),
    purposes: purposes(Oid.SERVER_AUTH, Oid.CLIENT_AUTH),
    constraints: constraints(false),
    name: uris(uri),
  };
}

/** What a right signing certificate has. */
export function authorityExtensions(): Record<string, OddExtension> {
  return {
    constraints: constraints(true),
    usage: keyUsage([KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN]),
  };
}

export function oddCertificate(template: OddTemplate): OddCertificate {
  const { issuer, extensions, version = 2, commonName } = template;
  const { digest = "sha256", saysAlgorithm } = template;
  const signing = issuer.privateKey.asymmetricKeyType === "rsa" ? RSA : ECDSA;
  const {
    privateKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
  } = template;
  const { publicKey = createPublicKey(privateKey) } = template;
  const info = publicKey.export({
    type: "spki",
    format: "der",
  });
  const [notBefore, notAfter] = template.validity ?? [
    utc(utcText(Date.now() - 60_000)),
    utc(utcText(Date.now() + 3_600_000)),
  ];
  const body = tlv(
    0x30,
    ...(version === null ? [] : [tlv(0xa0, tlv(0x02, Buffer.from([version])))]),
    tlv(
      0x02,
      Buffer.from([0x4d, ...crypto.getRandomValues(new Uint8Array(8))]),
    ),
    signing[digest],
    subjectOf(issuer),
    tlv(0x30, notBefore, notAfter),
    commonName === undefined ? tlv(0x30) : nameOf(commonName),
    info,
    ...(extensions.length === 0
      ? []
      : [tlv(0xa3, tlv(0x30, ...extensions.map(encode)))]),
  );
  const signature = sign(digest, body, issuer.privateKey);
  const said =
    saysAlgorithm === undefined ? signing[digest] : algorithm(saysAlgorithm);
  const der = tlv(0x30, body, said, tlv(0x03, Buffer.from([0]), signature));
  template.tamper?.(der);
  return {
    pem: toPem("CERTIFICATE", der),
    privateKey,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
  };
}

/** "YYMMDDhhmmssZ" */
export function utcText(wall: number): string {
  return `${new Date(wall).toISOString().slice(2, 19).replaceAll(/[-:T]/g, "")}Z`;
}

function encode({ oid, critical = false, value }: OddExtension): Buffer {
  return tlv(
    0x30,
    tlv(0x06, encodeOid(oid)),
    ...(critical ? [TRUE] : []),
    tlv(0x04, value),
  );
}

function nameOf(commonName: string): Buffer {
  return tlv(
    0x30,
    tlv(
      0x31,
      tlv(
        0x30,
        tlv(0x06, encodeOid("2.5.4.3")),
        tlv(0x0c, Buffer.from(commonName)),
      ),
    ),
  );
}

function subjectOf({ certificate }: Issuer): Buffer {
  const [body] = childrenOf(readElement(certificate.raw));
  const subject = body === undefined ? undefined : childrenOf(body)[5];
  if (subject === undefined) throw new Error("an issuer without a subject");
  return subject.whole;
}
