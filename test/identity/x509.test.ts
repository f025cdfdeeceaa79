/** Certificates and requests that we make are what RFC 5280, RFC 2986 and SPIFFE's X.509-SVID ask for, in OpenSSL's eyes too. */
import { spawnSync } from "node:child_process";
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import forge from "node-forge";
import t from "tap";
import { UserError } from "../../src/core/errors.ts";
import { readCsr } from "../../src/identity/csr.ts";
import {
  basicConstraints,
  encodeBinding,
  extensionValue,
  keyUsages,
  Oid,
  readBinding,
  uriNames,
} from "../../src/identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../src/identity/pem.ts";
import { toPem } from "../../src/identity/to-pem.ts";
import { generatePrivateKey } from "../../src/identity/private-key.ts";
import { createCsr, issueCertificate } from "../../src/identity/x509.ts";
import {
  childrenOf,
  DerError,
  readElement,
  Tag,
} from "../../src/identity/der.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import {
  leafExtensions,
  oddCertificate,
} from "../support/certificates/odd-certificates.ts";

const mesh = fakeAuthority();
const binding = {
  name: "web-1",
  labels: { app: "web", "wherry.dev/tier": 'front "é"' },
};

function leafOf(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

void t.test(
  "a leaf says who it is, what it may do, and what is bound to it",
  (t) => {
    const { certificateChain } = mesh.issue({ binding });
    const leaf = leafOf(certificateChain);
    t.equal(leaf.ca, false);
    t.notOk(leaf.subject);
    t.same(uriNames(leaf), [mesh.id("web")]);
    t.same([...(keyUsages(leaf) ?? [])], [0]);
    t.same(leaf.keyUsage, [Oid.SERVER_AUTH, Oid.CLIENT_AUTH]);
    t.same(readBinding(leaf), binding);
    t.ok(leaf.checkIssued(mesh.issuing.certificate));
    t.ok(leaf.verify(mesh.issuing.certificate.publicKey));
    t.equal(leaf.serialNumber.length, 38, "19 octets");
    t.not(
      leaf.serialNumber,
      leafOf(mesh.issue().certificateChain).serialNumber,
    );
    t.equal(readBinding(leafOf(mesh.issue().certificateChain)), undefined);
    t.end();
  },
);

void t.test("authorities say how deep they go", (t) => {
  t.equal(mesh.root.ca, true);
  t.same([...(keyUsages(mesh.root) ?? [])], [5, 6]);
  t.equal(basicConstraints(mesh.root)?.pathLength, undefined);
  t.equal(basicConstraints(mesh.issuing.certificate)?.pathLength, 0);
  t.end();
});

void t.test(
  "dates are UTCTime up to 2049 and GeneralizedTime after (RFC 5280 4.1.2.5)",
  (t) => {
    const rows = [
      [Date.UTC(2026, 0, 1, 12, 30, 15), Date.UTC(2049, 11, 31, 23, 59, 59)],
      [Date.UTC(1999, 11, 31), Date.UTC(2050, 0, 1)],
    ] as const;
    for (const [notBefore, notAfter] of rows) {
      const leaf = leafOf(mesh.issue({ notBefore, notAfter }).certificateChain);
      t.equal(leaf.validFromDate.getTime(), notBefore);
      t.equal(leaf.validToDate.getTime(), notAfter);
    }
    t.end();
  },
);

void t.test(
  "no arc of an object identifier takes more than 31 bits: Go refuses a whole certificate for one",
  (t) => {
    const { certificateChain } = mesh.issue({ binding });
    const texts = [
      mesh.bundle,
      certificateChain,
      createCsr(generatePrivateKey()),
    ];
    let seen = 0;
    for (const text of texts)
      for (const [, base64 = ""] of text.matchAll(/-----\n([^-]+)\n-----/g))
        for (const arc of arcsOf(Buffer.from(base64, "base64"))) {
          seen += 1;
          if (arc >= 2n ** 31n) t.fail(`the arc ${arc}`);
        }
    t.ok(seen > 100, `${seen} arcs`);
    t.same([...arcsOf(Buffer.from("0605abffffff7f", "hex"))], [0x2bfffffffn]);
    t.end();
  },
);

void t.test("the binding of older builds is read", (t) => {
  const old = oddCertificate({
    issuer: mesh.issuing,
    extensions: [
      ...Object.values(leafExtensions(mesh.id("web"))),
      { oid: Oid.OLD_BINDING, value: encodeBinding(binding) },
    ],
  });
  t.same(readBinding(leafOf(old.pem)), binding);
  t.end();
});

/** Arcs of every object identifier within a DER text, also within the octet strings of extensions; the first two as the one number that stands for them. */
function* arcsOf(der: Buffer): Generator<bigint> {
  const element = readElement(der);
  if (element.tag === Tag.OID) {
    let arc = 0n;
    for (const octet of element.value) {
      arc = (arc << 7n) | BigInt(octet & 0x7f);
      if (octet >= 0x80) continue;
      yield arc;
      arc = 0n;
    }
  } else if ((element.tag & 0x20) !== 0) {
    for (const child of childrenOf(element)) yield* arcsOf(child.whole);
  } else if (element.tag === Tag.OCTET_STRING) {
    // It may hold random bytes, which may begin like DER.
    try {
      yield* [...arcsOf(element.value)];
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
    }
  }
}

void t.test("an issuer of any kind of key and name can sign", (t) => {
  const rows: [
    string,
    () => { privateKey: KeyObject; publicKey: KeyObject },
  ][] = [
    ["P-256", () => generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" })],
    ["RSA", () => generateKeyPairSync("rsa", { modulusLength: 2048 })],
  ];
  for (const [what, generate] of rows) {
    const { privateKey, publicKey } = generate();
    const validity = {
      notBefore: Date.now() - 1000,
      notAfter: Date.now() + 60_000,
    };
    const [certificate] = readCertificates(
      issueCertificate({
        commonName: "Prüfstelle für «Boote»",
        organization: "例",
        publicKey,
        ...validity,
        profile: { kind: "authority", pathLength: 1 },
        issuer: { selfSignedWith: privateKey },
      }),
      what,
    );
    if (certificate === undefined) throw new Error("unreachable");
    t.ok(certificate.verify(publicKey), what);
    t.match(certificate.subject, "Prüfstelle für «Boote»");
    t.equal(basicConstraints(certificate)?.pathLength, 1);
    const leaf = leafOf(
      issueCertificate({
        publicKey: createPublicKey(createPrivateKey(generatePrivateKey())),
        ...validity,
        profile: { kind: "workload", uris: [mesh.id("web")] },
        issuer: { certificate, privateKey },
      }),
    );
    t.ok(leaf.checkIssued(certificate) && leaf.verify(publicKey), what);
  }
  const { privateKey, publicKey } = generateKeyPairSync("ec", {
    namedCurve: "secp256k1",
  });
  t.throws(
    () =>
      issueCertificate({
        publicKey,
        notBefore: 0,
        notAfter: 1,
        profile: { kind: "authority" },
        issuer: { selfSignedWith: privateKey },
      }),
    UserError,
  );
  t.end();
});

void t.test(
  "OpenSSL takes the chain in its strict mode, for clients and servers",
  {
    skip:
      spawnSync("openssl", ["version"]).status !== 0 &&
      "openssl is not installed",
  },
  (t) => {
    const directory = t.testdir();
    const { certificateChain } = mesh.issue({ binding });
    const root = join(directory, "root.pem");
    const chain = join(directory, "chain.pem");
    writeFileSync(root, mesh.bundle);
    writeFileSync(chain, certificateChain);
    for (const purpose of ["sslclient", "sslserver"]) {
      const { stdout, stderr } = spawnSync(
        "openssl",
        [
          "verify",
          "-x509_strict",
          "-purpose",
          purpose,
          "-CAfile",
          root,
          "-untrusted",
          chain,
          chain,
        ],
        { encoding: "utf8" },
      );
      t.match(stdout, "chain.pem: OK", stderr);
    }
    t.end();
  },
);

void t.test(
  "a request proves that its sender holds the key (RFC 2986)",
  (t) => {
    const privateKey = generatePrivateKey();
    const publicKey = readCsr(createCsr(privateKey));
    t.ok(publicKey.equals(createPublicKey(privateKey)));
    const rows: [string, string][] = [
      ["nothing", ""],
      ["no PEM", "hello"],
      ["a certificate", mesh.bundle],
      ["two requests", createCsr(privateKey) + createCsr(privateKey)],
      [
        "no DER",
        "-----BEGIN CERTIFICATE REQUEST-----\naGVsbG8=\n-----END CERTIFICATE REQUEST-----\n",
      ],
      ["a changed octet", changed(createCsr(privateKey))],
      ["too long", createCsr(privateKey) + " ".repeat(20_000)],
      ["another curve", request("P-384", "sha256", "2a8648ce3d040302")],
      ["another hash", request("P-256", "sha384", "2a8648ce3d040303")],
      ["RSA", request("RSA", "sha256", "2a864886f70d01010b")],
    ];
    for (const [what, pem] of rows)
      t.throws(() => readCsr(pem), UserError, what);
    t.end();
  },
);

void t.test(
  "labels that a certificate could not carry are refused when it is made",
  (t) => {
    t.throws(
      () =>
        mesh.issue({
          binding: { name: "web-1", labels: { x: "y".repeat(9000) } },
        }),
      RangeError,
    );
    t.end();
  },
);

void t.test(
  "a certificate has a fingerprint, and what is none is refused",
  (t) => {
    t.match(fingerprintOf(mesh.root), /^[0-9a-f]{64}$/);
    t.equal(
      fingerprintOf(mesh.root),
      mesh.root.fingerprint256.replaceAll(":", "").toLowerCase(),
    );
    t.throws(() => readCertificates("no certificate", "bundle"), UserError);
    t.throws(
      () =>
        readCertificates(
          "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
          "bundle",
        ),
      { message: /^bundle: certificate 1 cannot be read/ },
    );
    t.throws(
      () => readCertificates("x".repeat(2 ** 20 + 1), "bundle"),
      UserError,
    );
    t.equal(extensionValue(mesh.root, Oid.SUBJECT_ALT_NAME), undefined);
    t.end();
  },
);

/** A request with a key or signature that the mesh does not use. */
function request(kind: string, hash: string, algorithm: string): string {
  const { privateKey, publicKey } =
    kind === "RSA"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : generateKeyPairSync("ec", { namedCurve: kind });
  const { Class, Type, create, fromDer, toDer } = forge.asn1;
  const sequence = (children: forge.asn1.Asn1[]): forge.asn1.Asn1 =>
    create(Class.UNIVERSAL, Type.SEQUENCE, true, children);
  const body = sequence([
    create(Class.UNIVERSAL, Type.INTEGER, false, "\0"),
    sequence([]),
    fromDer(
      publicKey.export({ type: "spki", format: "der" }).toString("latin1"),
    ),
    create(Class.CONTEXT_SPECIFIC, Type.NONE, true, []),
  ]);
  const signature = sign(
    hash,
    Buffer.from(toDer(body).getBytes(), "latin1"),
    privateKey,
  );
  const whole = sequence([
    body,
    sequence([
      create(
        Class.UNIVERSAL,
        Type.OID,
        false,
        Buffer.from(algorithm, "hex").toString("latin1"),
      ),
    ]),
    create(
      Class.UNIVERSAL,
      Type.BITSTRING,
      false,
      `\0${signature.toString("latin1")}`,
    ),
  ]);
  return toPem(
    "CERTIFICATE REQUEST",
    Buffer.from(toDer(whole).getBytes(), "latin1"),
  );
}

/** The same request with another key in it. */
function changed(pem: string): string {
  const base64 = pem.replaceAll(/-----[^-]+-----|\s/g, "");
  const der = Buffer.from(base64, "base64");
  const at = der.length - 4;
  der[at] = (der[at] ?? 0) ^ 1;
  return toPem("CERTIFICATE REQUEST", der);
}
