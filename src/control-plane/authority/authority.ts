/**
 * The mesh's certificate authority: a root that is kept, an issuing certificate beneath it that signs, and leaves that live for hours.
 *
 * ```
 *   root.crt (10 years, self-signed) → issuing.crt (1 year, signs leaves only) → leaf (24 hours, one SPIFFE ID)
 * ```
 */
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  type X509Certificate,
} from "node:crypto";
import { timestamp, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import {
  authorityFault,
  chainFault,
  isSignedBy,
  validityFault,
} from "../../identity/chain.ts";
import {
  loadCredentials,
  type Credentials,
} from "../../identity/credentials.ts";
import { readCsr } from "../../identity/csr.ts";
import type { Binding } from "../../identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";
import { parseSpiffeId } from "../../identity/spiffe.ts";
import {
  signBundle,
  type SignedBundle,
  type TrustBundle,
} from "../../identity/trust-bundle.ts";
import { generatePrivateKey } from "../../identity/private-key.ts";
import { issueCertificate } from "../../identity/x509.ts";
import {
  createAuthority,
  parseKey,
  readAuthority,
  replaceIssuingCertificate,
  type AuthorityFiles,
} from "./files.ts";

export interface AuthorityOptions {
  readonly directory: string;
  readonly trustDomain: string;
  readonly clock: Clock;
}

export interface SigningRequest {
  /** SPIFFE URI of the authority's trust domain. */
  readonly spiffeId: SpiffeUri;
  /** The instance and its labels, from the token or from the certificate that is renewed; never from the request. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** CIDR ranges of addresses that it may register besides its own; absent: none. */
  readonly addresses?: readonly string[];
  /** Milliseconds; cut to what the issuing certificate has left. */
  readonly ttlMs: number;
}

export interface SignedCertificate {
  /** PEM: leaf, issuing certificate and what stands between that and the root. */
  readonly certificateChain: string;
  /** Wall-clock milliseconds. */
  readonly notAfter: number;
}

export interface Authority {
  /** PEM roots. */
  readonly trustBundle: string;
  /** SHA-256 of the first root's DER, hexadecimal: what enrolment tokens carry. */
  readonly fingerprint: string;
  /** Wall-clock milliseconds at which the issuing certificate expires; with the root's key at hand it is renewed before. */
  readonly issuingNotAfter: number;
  /** Why the last renewal of the issuing certificate failed; undefined where it did not. */
  readonly renewalFault: string | undefined;
  /** Signs for the holder of the request's key. Throws UserError where the request is unsound or nothing can be signed any more. */
  sign(csrPem: string, request: SigningRequest): SignedCertificate;
  /** Signs a set of roots, for sidecars that trust this authority already. */
  signBundle(bundle: TrustBundle): SignedBundle;
  /** Credentials for a part of the control plane itself, with a new key, for 24 hours. */
  own(spiffeId: SpiffeUri): Credentials;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;
const ROOT_LIFE = 10 * YEAR;
const ISSUING_LIFE = YEAR;
/** Renewed when less is left: three months of failures are noticed. */
const ISSUING_LEFT = 90 * DAY;
/** The clocks of two hosts differ, and one may be set back. Nothing lives longer for it: a certificate's end counts from now. */
export const BACKDATED: number = HOUR;
/** So much earlier than its own begin an authority can sign, where the control plane's clock is set back. */
const AUTHORITY_BACKDATED = 30 * DAY;
const OWN_LIFE = DAY;
/** A leaf below this would expire before it is renewed. */
const SHORTEST_LEAF = 60_000;

/** Reads the authority of a directory, or makes one there. Throws UserError where what is there must not be used. */
export function openAuthority(options: AuthorityOptions): Promise<Authority> {
  return Promise.resolve().then(() => makeAuthority(options));
}

function makeAuthority(options: AuthorityOptions): Authority {
  const { clock, directory } = options;
  const files = readOrCreate(options);
  const roots = readCertificates(
    files.rootCertificate,
    `${directory}/root.crt`,
  );
  const key = parseKey(files.issuingKey, `${directory}/issuing.key`);
  const rootKey =
    files.rootKey === undefined
      ? undefined
      : parseKey(files.rootKey, `${directory}/root.key`);
  const root = checkRoots(roots, rootKey, directory, clock.wall());
  const issuing = new Issuing(options, key, root, rootKey, files);
  issuing.renew();
  checkIssuing(issuing.chain, roots, key, directory, clock.wall());

  return {
    trustBundle: files.rootCertificate,
    fingerprint: fingerprintOf(root),
    get issuingNotAfter() {
      return issuing.notAfter;
    },
    get renewalFault() {
      return issuing.renewalFault;
    },
    signBundle: (bundle) =>
      signBundle(bundle, { signers: issuing.chainPem, privateKey: key }),
    sign: (csrPem, request) => issueLeaf(issuing, readCsr(csrPem), request),
    own(spiffeId) {
      const privateKey = generatePrivateKey();
      const { certificateChain } = issueLeaf(
        issuing,
        createPublicKey(privateKey),
        { spiffeId, name: "control-plane", labels: {}, ttlMs: OWN_LIFE },
      );
      return loadCredentials(
        { certificateChain, privateKey, trustBundle: files.rootCertificate },
        clock.wall(),
      );
    },
  };
}

/** The issuing certificate in use, and its successor in time. */
class Issuing {
  readonly options: AuthorityOptions;
  readonly key: KeyObject;
  readonly #root: X509Certificate;
  readonly #rootKey: KeyObject | undefined;
  #chain: readonly X509Certificate[];
  #chainPem: string;
  #renewalFault: string | undefined;

  constructor(
    options: AuthorityOptions,
    key: KeyObject,
    root: X509Certificate,
    rootKey: KeyObject | undefined,
    { issuingCertificate }: AuthorityFiles,
  ) {
    this.options = options;
    this.key = key;
    this.#root = root;
    this.#rootKey = rootKey;
    this.#chain = readCertificates(
      issuingCertificate,
      `${options.directory}/issuing.crt`,
    );
    this.#chainPem = pemOf(this.#chain);
  }

  /** Issuing certificate first. */
  get chain(): readonly X509Certificate[] {
    return this.#chain;
  }

  get chainPem(): string {
    return this.#chainPem;
  }

  get renewalFault(): string | undefined {
    return this.#renewalFault;
  }

  /** Wall-clock milliseconds. */
  get notAfter(): number {
    return Math.min(
      ...[...this.#chain, this.#root].map((certificate) =>
        certificate.validToDate.getTime(),
      ),
    );
  }

  get #isDue(): boolean {
    const now = this.options.clock.wall();
    const root = this.#root;
    const begin = this.#chain[0]?.validFromDate.getTime() ?? now;
    // It was made while the clock was ahead: it would not begin for as long as that was.
    if (now < begin && now >= root.validFromDate.getTime()) return true;
    // Under a root that ends sooner, another certificate would end no later.
    return (
      this.notAfter - now < ISSUING_LEFT &&
      root.validToDate.getTime() > this.notAfter
    );
  }

  /** Where the root's key is at hand, makes a new issuing certificate for the same key in time. */
  renew(): void {
    const { directory } = this.options;
    const root = this.#root;
    const rootKey = this.#rootKey;
    if (rootKey === undefined || !this.#isDue) return;
    try {
      const pem = issueIssuing(this.options, this.key, { root, rootKey });
      replaceIssuingCertificate(directory, pem);
      this.#chain = readCertificates(pem, `${directory}/issuing.crt`);
      this.#chainPem = pemOf(this.#chain);
      this.#renewalFault = undefined;
    } catch (error) {
      // The present one is good for weeks yet: signing goes on, and the reason can be seen.
      this.#renewalFault = messageOf(error);
    }
  }
}

/** Throws UserError. */
function issueLeaf(
  issuing: Issuing,
  publicKey: KeyObject,
  request: SigningRequest,
): SignedCertificate {
  const { trustDomain, directory, clock } = issuing.options;
  const { spiffeId, ttlMs, name, labels, addresses = [] } = request;
  if (parseSpiffeId(spiffeId)?.trustDomain !== trustDomain)
    throw new UserError(
      `invalid SPIFFE ID "${spiffeId}": expected one of the trust domain ${trustDomain}`,
    );
  issuing.renew();
  const now = clock.wall();
  const notAfter = Math.min(now + ttlMs, issuing.notAfter);
  const [certificate] = issuing.chain;
  if (certificate === undefined || !(notAfter - now >= SHORTEST_LEAF))
    throw new UserError(
      `no certificate can be signed for ${spiffeId}: asked for ${Math.round(ttlMs / 1000)} s, and the issuing certificate ends in ${Math.round((issuing.notAfter - now) / 1000)} s; replace issuing.crt and issuing.key in ${directory} and restart the control plane`,
    );
  const from = certificate.validFromDate.getTime();
  if (now < from)
    throw new UserError(
      `no certificate can be signed for ${spiffeId}: the issuing certificate is not valid before ${timestamp(from)}, and by this machine's clock it is ${timestamp(now)}: set the clock`,
    );
  const binding: Binding = { name, labels, addresses };
  const leaf = issueCertificate({
    publicKey,
    notBefore: Math.max(now - BACKDATED, from),
    notAfter,
    profile: { kind: "workload", uris: [spiffeId], binding },
    issuer: { certificate, privateKey: issuing.key },
  });
  return {
    certificateChain: leaf + issuing.chainPem,
    // Certificates count in whole seconds.
    notAfter: Math.floor(notAfter / 1000) * 1000,
  };
}

function readOrCreate(options: AuthorityOptions): AuthorityFiles {
  const found = readAuthority(options.directory);
  if (found !== undefined) return found;
  const made = newAuthority(options);
  if (createAuthority(options.directory, made)) return made;
  const other = readAuthority(options.directory);
  if (other === undefined)
    throw new UserError(
      `certificate authority in ${options.directory}: another process made it and removed it again; start anew`,
    );
  return other;
}

function newAuthority(options: AuthorityOptions): AuthorityFiles {
  const now = options.clock.wall();
  const rootKeyPem = generatePrivateKey();
  const issuingKeyPem = generatePrivateKey();
  const rootKey = createPrivateKey(rootKeyPem);
  const rootPem = issueCertificate({
    commonName: "Wherry root",
    organization: options.trustDomain,
    publicKey: createPublicKey(rootKey),
    notBefore: now - AUTHORITY_BACKDATED,
    notAfter: now + ROOT_LIFE,
    profile: { kind: "authority" },
    issuer: { selfSignedWith: rootKey },
  });
  const [root] = readCertificates(rootPem, "root.crt");
  if (root === undefined) throw new Error("the new root cannot be read back");
  return {
    rootCertificate: rootPem,
    rootKey: rootKeyPem,
    issuingCertificate: issueIssuing(options, createPrivateKey(issuingKeyPem), {
      root,
      rootKey,
    }),
    issuingKey: issuingKeyPem,
  };
}

function issueIssuing(
  options: AuthorityOptions,
  key: KeyObject,
  from: { readonly root: X509Certificate; readonly rootKey: KeyObject },
): string {
  const now = options.clock.wall();
  return issueCertificate({
    commonName: "Wherry issuing authority",
    organization: options.trustDomain,
    publicKey: createPublicKey(key),
    notBefore: Math.max(
      now - AUTHORITY_BACKDATED,
      from.root.validFromDate.getTime(),
    ),
    notAfter: Math.min(now + ISSUING_LIFE, from.root.validToDate.getTime()),
    profile: { kind: "authority", pathLength: 0 },
    issuer: { certificate: from.root, privateKey: from.rootKey },
  });
}

/** The first root, once every one of the file is sound. */
function checkRoots(
  roots: readonly X509Certificate[],
  rootKey: KeyObject | undefined,
  directory: string,
  now: WallMs,
): X509Certificate {
  const [first] = roots;
  if (first === undefined)
    throw new UserError(
      `certificate authority: ${directory}/root.crt is empty`,
    );
  for (const root of roots) {
    const fault =
      authorityFault(root, 0) ??
      (isSignedBy(root, root)
        ? undefined
        : "it is not self-signed; give the root, and put what is between it and the issuing certificate into issuing.crt");
    if (fault !== undefined)
      throw new UserError(
        `certificate authority: ${directory}/root.crt: ${fault}`,
      );
  }
  const expired = validityFault(first, now);
  if (expired !== undefined)
    throw new UserError(
      `certificate authority: ${directory}/root.crt: ${expired}; put a valid root first`,
    );
  if (rootKey !== undefined && !first.checkPrivateKey(rootKey))
    throw new UserError(
      `certificate authority: ${directory}/root.key does not belong to the first certificate of root.crt`,
    );
  return first;
}

function checkIssuing(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  key: KeyObject,
  directory: string,
  now: WallMs,
): void {
  const [issuing] = chain;
  const path = `${directory}/issuing.crt`;
  if (issuing === undefined)
    throw new UserError(`certificate authority: ${path} is empty`);
  if (!issuing.checkPrivateKey(key))
    throw new UserError(
      `certificate authority: ${directory}/issuing.key does not belong to the first certificate of issuing.crt`,
    );
  const fault = authorityFault(issuing, 0) ?? chainFault(chain, roots, now);
  if (fault !== undefined)
    throw new UserError(
      `certificate authority: ${path}: ${fault}; it must be signed by the root in root.crt, or bring with it, below it in the file, what leads there`,
    );
}

function pemOf(chain: readonly X509Certificate[]): string {
  return chain.map((certificate) => certificate.toString()).join("");
}
