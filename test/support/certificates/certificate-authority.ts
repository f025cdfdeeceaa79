/** An authority for tests, that issues whatever is asked for: right certificates, and wrong ones of every kind. */
import {
  createPrivateKey,
  createPublicKey,
  type X509Certificate,
} from "node:crypto";
import {
  loadCredentials,
  type CredentialPems,
  type Credentials,
} from "../../../src/identity/credentials.ts";
import type { Binding } from "../../../src/identity/extensions.ts";
import { readCertificates } from "../../../src/identity/pem.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { issueCertificate, type Issuer } from "../../../src/identity/x509.ts";

export interface IssueOptions {
  /** One SPIFFE URI, several, or none; web's of namespace shop unless given. */
  readonly id?: string | readonly string[] | null;
  /** Wall-clock milliseconds; a minute ago unless given. */
  readonly notBefore?: number;
  /** Wall-clock milliseconds; in an hour unless given. */
  readonly notAfter?: number;
  readonly binding?: Binding;
  /** Bits of `KeyUsage`. */
  readonly keyUsage?: readonly number[];
  /** Makes a certificate authority's certificate instead of a workload's. */
  readonly ca?: boolean;
}

export interface FakeAuthority {
  readonly trustDomain: string;
  /** PEM of the root. */
  readonly bundle: string;
  readonly root: X509Certificate;
  /** The root with its key. */
  readonly rootIssuer: Issuer;
  readonly issuing: Issuer;
  /** `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT` of this authority's trust domain. */
  id(serviceAccount: string, namespace?: string): string;
  issue(options?: IssueOptions): CredentialPems;
  /** Credentials of a workload in namespace shop, checked as the product checks them. */
  credentials(serviceAccount: string, options?: IssueOptions): Credentials;
}

const HOUR = 3_600_000;

/** `now` in wall-clock milliseconds; the real time unless given, since OpenSSL judges by that. */
export function fakeAuthority(
  options: { trustDomain?: string; now?: number } = {},
): FakeAuthority {
  const trustDomain = options.trustDomain ?? "cluster.local";
  const now = options.now ?? Date.now();
  const validity = { notBefore: now - 24 * HOUR, notAfter: now + 240 * HOUR };
  const rootKey = createPrivateKey(generatePrivateKey());
  const bundle = issueCertificate({
    commonName: "test root",
    publicKey: createPublicKey(rootKey),
    ...validity,
    profile: { kind: "authority" },
    issuer: { selfSignedWith: rootKey },
  });
  const root = only(bundle);
  const issuingKey = createPrivateKey(generatePrivateKey());
  const issuingPem = issueCertificate({
    commonName: "test issuing authority",
    publicKey: createPublicKey(issuingKey),
    ...validity,
    profile: { kind: "authority", pathLength: 0 },
    issuer: { certificate: root, privateKey: rootKey },
  });
  const issuing = { certificate: only(issuingPem), privateKey: issuingKey };
  const id = (serviceAccount: string, namespace = "shop"): string =>
    `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
  const issue = (wanted: IssueOptions = {}): CredentialPems => {
    const privateKey = generatePrivateKey();
    const uris = wanted.id === undefined ? id("web") : (wanted.id ?? []);
    const leaf = issueCertificate({
      ...(wanted.ca === true ? { commonName: "no workload" } : {}),
      publicKey: createPublicKey(privateKey),
      notBefore: wanted.notBefore ?? now - 60_000,
      notAfter: wanted.notAfter ?? now + HOUR,
      profile:
        wanted.ca === true
          ? { kind: "authority" }
          : {
              kind: "workload",
              uris: typeof uris === "string" ? [uris] : uris,
              ...(wanted.binding === undefined
                ? {}
                : { binding: wanted.binding }),
              ...(wanted.keyUsage === undefined
                ? {}
                : { keyUsage: wanted.keyUsage }),
            },
      // The issuing certificate may sign no other authority: such a one comes from the root.
      issuer:
        wanted.ca === true
          ? { certificate: root, privateKey: rootKey }
          : issuing,
    });
    return {
      certificateChain: wanted.ca === true ? leaf : leaf + issuingPem,
      privateKey,
      trustBundle: bundle,
    };
  };
  return {
    trustDomain,
    bundle,
    root,
    rootIssuer: { certificate: root, privateKey: rootKey },
    issuing,
    id,
    issue,
    credentials: (serviceAccount, wanted = {}) =>
      loadCredentials(issue({ id: id(serviceAccount), ...wanted }), now),
  };
}

function only(pem: string): X509Certificate {
  const [certificate] = readCertificates(pem, "test certificate");
  if (certificate === undefined) throw new Error("no certificate");
  return certificate;
}
