/** An issuer's response goes on where it is the certificate that was asked for, and nowhere else. */
import {
  createPrivateKey,
  createPublicKey,
  X509Certificate,
} from "node:crypto";
import t from "tap";
import {
  judgeIssued,
  type Asked,
} from "../../../src/control-plane/issuer/issued-chain.ts";
import {
  encodeBinding,
  KeyUsage,
  Oid,
  readBinding,
  type Binding,
} from "../../../src/identity/extensions.ts";
import { readCertificates } from "../../../src/identity/pem.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr, type Issuer } from "../../../src/identity/x509.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  authorityExtensions,
  constraints,
  ia5,
  keyUsage,
  leafExtensions,
  namesOf,
  oddCertificate,
  otherName,
  purposes,
  uris,
  utc,
  utcText,
  type OddExtension,
} from "../../support/certificates/odd-certificates.ts";
import { leafFor } from "../../support/certificates/signing-server.ts";

const HOUR = 3_600_000;
const now = Math.floor(Date.now() / 1000) * 1000;
const ours = fakeAuthority({ now });
const foreign = fakeAuthority({ now });
const ID = ours.id("web");
const BINDING: Binding = { name: "web-1", labels: { app: "web" } };
const key = generatePrivateKey();
const asked: Asked = {
  csr: createCsr(key),
  publicKey: createPublicKey(createPrivateKey(key)),
  spiffeId: ID,
  binding: BINDING,
  notBefore: now - HOUR,
  notAfter: now + 24 * HOUR,
  seconds: 24 * 3600,
};
const issuing = ours.issuing.certificate.toString();

interface Change {
  readonly csr?: string;
  readonly from?: number;
  readonly to?: number;
  readonly binding?: Binding | null;
  readonly issuer?: typeof ours.issuing;
  readonly extensions?: Readonly<Record<string, OddExtension>>;
  readonly digest?: "sha1";
}

function leaf(change: Change = {}): string {
  const { csr = asked.csr, binding = BINDING, issuer = ours.issuing } = change;
  return leafFor(csr, issuer, {
    ...(change.digest === undefined ? {} : { digest: change.digest }),
    from: change.from ?? asked.notBefore,
    to: change.to ?? asked.notAfter,
    extensions: {
      ...leafExtensions(ID),
      ...(binding === null
        ? {}
        : { bound: { oid: Oid.BINDING, value: encodeBinding(binding) } }),
      ...change.extensions,
    },
  });
}

/** The names of a leaf with the binding among them. */
function named(text: string, ...more: Buffer[]): Change {
  return {
    binding: null,
    extensions: {
      name: namesOf(otherName(Oid.BINDING, text), ia5(0x86, ID), ...more),
    },
  };
}

/** An issuing certificate with hardly a life. */
function endingIssuer(): { readonly pem: string; readonly issuer: Issuer } {
  const { pem, privateKey } = oddCertificate({
    issuer: ours.rootIssuer,
    commonName: "ends",
    extensions: Object.values(authorityExtensions()),
    validity: [utc(utcText(now - HOUR)), utc(utcText(now + 59_000))],
  });
  return { pem, issuer: { certificate: new X509Certificate(pem), privateKey } };
}

const ending = endingIssuer();
const bound = encodeBinding(BINDING).toString("base64url");
const roots = [ours.root, foreign.root];

const GOOD: Readonly<Record<string, string>> = {
  "as it was asked for": leaf() + issuing,
  "with the root": leaf() + issuing + ours.bundle,
  "the binding as another name": leaf(named(bound)) + issuing,
  shorter: leaf({ to: now + HOUR }) + issuing,
  "a little earlier": leaf({ from: asked.notBefore - 60_000 }) + issuing,
  "by a clock a little ahead": leaf({ to: asked.notAfter + 60_000 }) + issuing,
  "of the root itself": leaf({ issuer: ours.rootIssuer }),
};

const BAD: Readonly<Record<string, readonly [string, RegExp]>> = {
  "no certificate": ["garbage", /no certificate found/],
  "a certificate that is none": [
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    /cannot be read/,
  ],
  "too many": [leaf() + issuing.repeat(8), /more than 8 certificates/],
  "another key": [
    leaf({ csr: createCsr(generatePrivateKey()) }) + issuing,
    /for another key/,
  ],
  "the issuer first": [issuing + leaf(), /for another key/],
  "another ID": [
    leaf({ extensions: { name: uris(ours.id("admin")) } }) + issuing,
    /as its one URI name, found .*admin/,
  ],
  "an ID more": [
    leaf({ extensions: { name: uris(ID, ours.id("admin")) } }) + issuing,
    /as its one URI name/,
  ],
  "no ID": [
    leaf({ extensions: { name: namesOf(ia5(0x82, "web")) } }) + issuing,
    /found none/,
  ],
  "a DNS name besides": [
    leaf({
      extensions: { name: namesOf(ia5(0x86, ID), ia5(0x82, "x.test")) },
    }) + issuing,
    /names besides its SPIFFE ID/,
  ],
  "another kind of other name": [
    leaf(named(bound, otherName("1.2.3.4", "admin"))) + issuing,
    /names besides its SPIFFE ID/,
  ],
  "a CA": [
    leaf({ extensions: { constraints: constraints(true) } }) + issuing,
    /CA certificate/,
  ],
  "a key that signs certificates": [
    leaf({
      extensions: {
        usage: keyUsage([KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_CERT_SIGN]),
      },
    }) + issuing,
    /key usage/,
  ],
  "a purpose missing": [
    leaf({ extensions: { purposes: purposes(Oid.SERVER_AUTH) } }) + issuing,
    /key usage/,
  ],
  "no binding": [leaf({ binding: null }) + issuing, /does not carry/],
  "other labels": [
    leaf({ binding: { ...BINDING, labels: { app: "admin" } } }) + issuing,
    /does not carry/,
  ],
  "an address more": [
    leaf({ binding: { ...BINDING, addresses: ["10.0.0.0/8"] } }) + issuing,
    /does not carry/,
  ],
  "the binding twice": [
    leaf(named(bound, otherName(Oid.BINDING, bound))) + issuing,
    /does not carry/,
  ],
  "a binding that is none": [leaf(named("!!")) + issuing, /does not carry/],
  "not yet valid": [leaf({ from: now + 1000 }) + issuing, /begins at/],
  "a begin that revocation would miss": [
    leaf({ from: asked.notBefore + 1000 }) + issuing,
    /begins at .* expected/,
  ],
  "a begin too early": [
    leaf({ from: asked.notBefore - 61_000 }) + issuing,
    /begins at/,
  ],
  "too long a life": [
    leaf({ to: asked.notAfter + 61_000 }) + issuing,
    /ends at .* or earlier/,
  ],
  "hardly a life": [leaf({ to: now + 59_000 }) + issuing, /less than a minute/],
  "an issuer that ends": [
    leaf({ issuer: ending.issuer }) + ending.pem,
    /that of its issuer, ends at .* less than a minute/,
  ],
  "a signature that no peer takes": [
    leaf({ digest: "sha1" }) + issuing,
    /its signature is weak/,
  ],
  "no issuer": [leaf(), /signed by none of the trusted roots/],
  "a root that nobody trusts": [
    leaf({ issuer: fakeAuthority({ now }).rootIssuer }),
    /signed by none of the trusted roots/,
  ],
  "a root that is not the first": [
    leaf({ issuer: foreign.issuing }) + foreign.issuing.certificate.toString(),
    /another root than the first of --issuer-roots/,
  ],
  "a certificate that leads nowhere": [
    leaf() + issuing + foreign.issuing.certificate.toString(),
    /do not lead to the root/,
  ],
};

void t.test("what is right goes on, without its root", (t) => {
  for (const [what, pem] of Object.entries(GOOD)) {
    const chain = judgeIssued(pem, asked, roots, now);
    const [first, ...above] = readCertificates(chain, what);
    t.same(first === undefined ? undefined : readBinding(first), BINDING, what);
    t.ok(
      above.length <= 1 &&
        !above.some((each) => each.raw.equals(ours.root.raw)),
    );
  }
  t.end();
});

void t.test("what is not is refused with the reason", (t) => {
  for (const [what, [pem, message]] of Object.entries(BAD))
    t.throws(
      () => judgeIssued(pem, asked, roots, now),
      { name: "UserError", message },
      what,
    );
  t.throws(() => judgeIssued(leaf() + issuing, asked, [], now), {
    message: /no root of the issuer is known/,
  });
  t.throws(
    () => judgeIssued(leaf() + issuing, asked, roots, now + 300 * HOUR),
    { message: /less than a minute|expired/ },
  );
  t.end();
});
