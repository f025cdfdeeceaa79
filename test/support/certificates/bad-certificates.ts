/** Certificates at both ends of the link: right ones, and wrong ones with the reason for which they are refused (SPIFFE-ID 2, X.509-SVID 2 to 5, RFC 5280 4 and 6). */
import { generateKeyPairSync } from "node:crypto";
import { KeyUsage, Oid } from "../../../src/identity/extensions.ts";
import type { JudgementReason } from "../../../src/identity/svid.ts";
import { fakeAuthority } from "./certificate-authority.ts";
import {
  constraints,
  generalized,
  ia5,
  keyUsage,
  namesOf,
  purposes,
  tlv,
  uris,
  utc,
} from "./odd-certificates.ts";
import {
  beneath,
  deep,
  fromLeaf,
  leaf,
  mesh,
  named,
  nameConstraint,
  unknown,
  web,
  type Presented,
} from "./presented.ts";

type Row = readonly [string, Presented];

const { DIGITAL_SIGNATURE, KEY_CERT_SIGN, CRL_SIGN } = KeyUsage;
const KEY_AGREEMENT = 4;
const CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
const ANY_PURPOSE = "2.5.29.37.0";
const NUMBER = tlv(0x02, Buffer.from([0]));
const LAST_YEAR = [utc("240101000000Z"), utc("250101000000Z")] as const;
const NEXT_CENTURY = [
  generalized("21000101000000Z"),
  generalized("21010101000000Z"),
] as const;
const impostor = fakeAuthority();

function presenting({
  certificateChain: chain,
  privateKey: key,
}: ReturnType<typeof mesh.issue>): Presented {
  return { chain, key };
}

function ownOf(issuer: typeof mesh.issuing): Presented {
  const key = issuer.privateKey.export({ type: "pkcs8", format: "pem" });
  return { chain: issuer.certificate.toString(), key };
}

function flip(der: Buffer, at: number): void {
  der.writeUInt8(der.readUInt8(at) ^ 1, at);
}

export const RIGHT: readonly Row[] = [
  ["what is right", leaf({})],
  [
    "no basic constraints and no purposes",
    leaf({ constraints: undefined, purposes: undefined }),
  ],
  [
    "a DNS name beside the URI",
    leaf({ name: namesOf(ia5(0x82, "web.shop"), ia5(0x86, web)) }),
  ],
  [
    "an unknown extension that is not critical",
    leaf({ more: { ...unknown, critical: false } }),
  ],
  [
    "a signing certificate with the trust domain's SPIFFE ID",
    beneath({ name: uris("spiffe://cluster.local") }),
  ],
  [
    "a signing certificate held to our trust domain",
    beneath({ limit: nameConstraint("cluster.local") }),
  ],
  ["eight signing certificates", deep(8, mesh.rootIssuer)],
  [
    "a validity to the end of time",
    leaf(
      {},
      {
        validity: [
          generalized("20250101000000Z"),
          generalized("99991231235959Z"),
        ],
      },
    ),
  ],
];

/** The name: SPIFFE-ID 2, X.509-SVID 2. */
const NAMES: Partial<Record<JudgementReason, readonly Row[]>> = {
  "no URI SAN": [
    ["no subject alternative name", leaf({ name: undefined })],
    ["one that is empty", leaf({ name: namesOf() })],
    ["the SPIFFE ID as a DNS name", leaf({ name: namesOf(ia5(0x82, web)) })],
    ["as an e-mail address", leaf({ name: namesOf(ia5(0x81, web)) })],
    [
      "as the common name alone",
      leaf({ name: undefined }, { commonName: web }),
    ],
  ],
  "several URI SANs": [
    ["two URIs", named(web, "https://example.test/")],
    ["two SPIFFE IDs", named(web, mesh.id("admin"))],
    ["the same one twice", named(web, web)],
  ],
  "not a SPIFFE ID": [
    ["the trust domain's SPIFFE ID alone", named("spiffe://cluster.local")],
    ["a SPIFFE ID that ends in a slash", named(`${web}/`)],
    ["one of another shape", named("spiffe://cluster.local/shop/web")],
    ["one with a segment more", named(`${web}/x`)],
    ["one with an empty segment", named(web.replace("/shop", "/"))],
    ["one with a dot as a segment", named(web.replace("shop", "."))],
    ["one with two dots as a segment", named(web.replace("shop", ".."))],
    ["another scheme", named(web.replace("spiffe", "https"))],
    ["the scheme in capitals", named(web.replace("spiffe", "SPIFFE"))],
    ["the trust domain in capitals", named(web.replace("cluster", "CLUSTER"))],
    ["no trust domain", named(web.replace("cluster.local", ""))],
    ["a port", named(web.replace("local", "local:443"))],
    ["a user", named(web.replace("//", "//root@"))],
    ["a query", named(`${web}?role=admin`)],
    ["a fragment", named(`${web}#admin`)],
    ["percent encoding", named(web.replace("web", "w%65b"))],
    ["a space", named(`${web} `)],
    ["a zero byte", named(`${web}\0.example`)],
    ["a line break", named(`${web}\n`)],
    ["a byte that is not ASCII", named(web.replace("web", "w\u00ebb"))],
    ["an empty URI", named("")],
    ["more than 2,048 bytes", named(web.replace("shop", "s".repeat(2048)))],
  ],
  "foreign trust domain": [
    ["another trust domain", named(web.replace("cluster.local", "b.test"))],
    ["a domain below ours", named(web.replace("cluster", "x.cluster"))],
    ["a domain that begins as ours", named(web.replace("local", "local.b"))],
    ["ours with a dot", named(web.replace("local", "local."))],
  ],
};

/** The form of the leaf: X.509-SVID 4, RFC 5280 4. */
const FORMS: Partial<Record<JudgementReason, readonly Row[]>> = {
  "CA certificate": [
    ["cA TRUE without keyCertSign", leaf({ constraints: constraints(true) })],
    [
      "cA TRUE without any key usage",
      leaf({ constraints: constraints(true), usage: undefined }),
    ],
    [
      "cA TRUE with keyCertSign",
      leaf({
        constraints: constraints(true),
        usage: keyUsage([DIGITAL_SIGNATURE, KEY_CERT_SIGN]),
      }),
    ],
    ["the issuing authority itself", ownOf(mesh.issuing)],
    ["the root itself", ownOf(mesh.rootIssuer)],
  ],
  "key usage": [
    ["no key usage", leaf({ usage: undefined })],
    ["a key usage of nothing", leaf({ usage: keyUsage([]) })],
    ["keyAgreement alone", leaf({ usage: keyUsage([KEY_AGREEMENT]) })],
    [
      "a key usage that is not critical",
      leaf({ usage: keyUsage([DIGITAL_SIGNATURE], false) }),
    ],
    [
      "keyCertSign",
      leaf({ usage: keyUsage([DIGITAL_SIGNATURE, KEY_CERT_SIGN]) }),
    ],
    ["cRLSign", leaf({ usage: keyUsage([DIGITAL_SIGNATURE, CRL_SIGN]) })],
    ["no digitalSignature", leaf({ usage: keyUsage([2]) })],
    [
      "the purpose of clients alone",
      leaf({ purposes: purposes(Oid.CLIENT_AUTH) }),
    ],
    [
      "the purpose of servers alone",
      leaf({ purposes: purposes(Oid.SERVER_AUTH) }),
    ],
    ["that of code signing alone", leaf({ purposes: purposes(CODE_SIGNING) })],
    [
      "any purpose, and neither of the two",
      leaf({ purposes: purposes(ANY_PURPOSE) }),
    ],
    ["no purpose at all", leaf({ purposes: purposes() })],
  ],
  "malformed certificate": [
    [
      "a URI in a constructed form beside the right one",
      leaf({
        name: namesOf(tlv(0xa6, ia5(0x16, mesh.id("admin"))), ia5(0x86, web)),
      }),
    ],
    [
      "a subject alternative name that is not critical, and no subject",
      leaf({ name: { ...uris(web), critical: false } }),
    ],
    ["a critical extension that nobody knows", leaf({ more: unknown })],
    [
      "a name constraint on a leaf",
      leaf({ more: nameConstraint("cluster.local") }),
    ],
    ["key usage twice", leaf({}, { twice: "usage" })],
    ["the name twice", leaf({}, { twice: "name" })],
    ["basic constraints twice", leaf({}, { twice: "constraints" })],
    ["purposes twice", leaf({}, { twice: "purposes" })],
    [
      "basic constraints of three parts",
      leaf({ constraints: constraints(false, NUMBER, NUMBER) }),
    ],
    ["version 1", leaf({}, { version: null })],
    ["version 2", leaf({}, { version: 1 })],
    ["an unknown version", leaf({}, { version: 3 })],
    [
      "a validity with a zone",
      leaf(
        {},
        { validity: [utc("250101000000+0100"), utc("350101000000+0100")] },
      ),
    ],
    [
      "a validity with fractions",
      leaf(
        {},
        {
          validity: [
            generalized("20250101000000.5Z"),
            generalized("20350101000000.5Z"),
          ],
        },
      ),
    ],
    [
      "a month that does not exist",
      leaf({}, { validity: [utc("251301000000Z"), utc("351301000000Z")] }),
    ],
  ],
};

/** Who signed, and until when: RFC 5280 6. */
const CHAINS: Partial<Record<JudgementReason, readonly Row[]>> = {
  expired: [
    ["a leaf that has expired", leaf({}, { validity: LAST_YEAR })],
    [
      "a signing certificate that has expired",
      beneath({}, { validity: LAST_YEAR }),
    ],
    [
      "a validity that ends before it begins",
      leaf({}, { validity: [utc("350101000000Z"), utc("250101000000Z")] }),
    ],
  ],
  "not yet valid": [
    ["a leaf of later", leaf({}, { validity: NEXT_CENTURY })],
    ["a signing certificate of later", beneath({}, { validity: NEXT_CENTURY })],
  ],
  "malformed certificate": [
    ["a signing certificate of version 2", beneath({}, { version: 1 })],
    [
      "a signing certificate with its key usage twice",
      beneath({}, { twice: "usage" }),
    ],
    ["nine signing certificates", deep(9, mesh.rootIssuer)],
  ],
  "key usage": [
    [
      "a signing certificate for the purpose of code",
      beneath({ purposes: purposes(CODE_SIGNING) }),
    ],
  ],
  "untrusted issuer": [
    ["our name from another authority", presenting(impostor.issue())],
    ["a leaf without what signed it", leaf({}, {}, "")],
    [
      "a leaf with another's signing certificate",
      leaf({}, {}, impostor.issuing.certificate.toString()),
    ],
    [
      "our authority's name, and another's key",
      leaf(
        {},
        {
          issuer: {
            certificate: mesh.issuing.certificate,
            privateKey: impostor.issuing.privateKey,
          },
        },
      ),
    ],
    [
      "another's name, and our authority's key",
      leaf(
        {},
        {
          issuer: {
            certificate: mesh.root,
            privateKey: mesh.issuing.privateKey,
          },
        },
      ),
    ],
    [
      "a signature with a bit of it changed",
      leaf({}, { tamper: (der) => flip(der, der.length - 1) }),
    ],
    [
      "a name with a bit of it changed",
      leaf({}, { tamper: (der) => flip(der, der.lastIndexOf("web") + 2) }),
    ],
    [
      "another algorithm beside the signature than in what is signed",
      leaf({}, { saysAlgorithm: "1.2.840.10045.4.3.3" }),
    ],
    ["a signature over SHA-1", leaf({}, { digest: "sha1" })],
    [
      "a signing certificate with a signature over SHA-1",
      beneath({}, { digest: "sha1" }),
    ],
    [
      "a signing certificate with a short key",
      beneath({}, generateKeyPairSync("rsa", { modulusLength: 1024 })),
    ],
    [
      "a signing certificate without cA",
      beneath({ constraints: constraints(false) }),
    ],
    [
      "a signing certificate without basic constraints",
      beneath({ constraints: undefined }),
    ],
    ["a signing certificate without key usage", beneath({ usage: undefined })],
    [
      "a signing certificate without keyCertSign",
      beneath({ usage: keyUsage([CRL_SIGN]) }),
    ],
    [
      "a signing certificate with a workload's SPIFFE ID",
      beneath({ name: uris(mesh.id("authority")) }),
    ],
    [
      "a signing certificate with two SPIFFE IDs",
      beneath({ name: uris("spiffe://cluster.local", "spiffe://b.test") }),
    ],
    [
      "a signing certificate with a critical extension that nobody knows",
      beneath({ more: unknown }),
    ],
    [
      "a signing certificate held to another trust domain",
      beneath({ limit: nameConstraint("elsewhere.test") }),
    ],
    [
      "a signing certificate that may not sign for ours",
      beneath({ limit: nameConstraint("cluster.local", 1) }),
    ],
    ["a workload that signs for another", fromLeaf()],
    ["a signing certificate below one that allows none", deep(1, mesh.issuing)],
  ],
};

export const WRONG: readonly (readonly [JudgementReason, string, Presented])[] =
  [NAMES, FORMS, CHAINS].flatMap((table) =>
    Object.entries(table).flatMap(([reason, rows]) =>
      rows.map(
        ([what, presented]) =>
          [reason as JudgementReason, what, presented] as const,
      ),
    ),
  );
