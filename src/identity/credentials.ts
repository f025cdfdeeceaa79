/** What a workload proves its identity with, and what it trusts: checked as a whole before anything uses it. */
import {
  createPrivateKey,
  type KeyObject,
  type X509Certificate,
} from "node:crypto";
import { messageOf, UserError } from "../core/errors.ts";
import type { WallMs } from "../core/units.ts";
import { authorityFault, chainFault } from "./chain.ts";
import { uriNames } from "./extensions.ts";
import { readCertificates } from "./pem.ts";
import { leafFault } from "./profile.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe.ts";
import type { MeshTime } from "./trust.ts";
import type { TrustBundle } from "./trust-bundle.ts";

export interface CredentialPems {
  /** Leaf first. */
  readonly certificateChain: string;
  readonly privateKey: string;
  /** The roots; a certificate that no root signed is refused. */
  readonly trustBundle: string;
}

export interface Credentials extends CredentialPems {
  /** SPIFFE URI of the leaf. */
  readonly id: string;
  readonly spiffeId: SpiffeId;
  /** Wall-clock milliseconds. */
  readonly notBefore: number;
  /** Wall-clock milliseconds: when the first certificate of the chain expires. */
  readonly notAfter: number;
  /** Different for every loading within a process: it tells connections made with other credentials apart. */
  readonly generation: number;
  /** The mesh's time, by which its holder judges others besides its own clock; absent: by that alone. */
  readonly meshTime?: MeshTime;
  /** Which signed bundle the roots are from; absent: they came without one. */
  readonly bundle?: BundleOrigin;
}

/** What is kept of a signed bundle besides its roots. */
export type BundleOrigin = Pick<
  TrustBundle,
  "serial" | "issuer" | "renewWithin"
>;

/** The part of credentials by which others are judged. */
export type Roots = Pick<Credentials, "trustBundle" | "bundle">;

export function rootsFrom(bundle: TrustBundle): Roots {
  const { roots, serial, issuer, renewWithin } = bundle;
  return { trustBundle: roots, bundle: { serial, issuer, renewWithin } };
}

let generations = 0;

/**
 * Reads and checks credentials at `now` (wall-clock milliseconds). An expired leaf is taken: a sidecar that boots from its disk
 * renews with it; its peer refuses it. Throws UserError that names the part at fault.
 */
export function loadCredentials(
  pems: CredentialPems,
  now: WallMs,
): Credentials {
  const chain = readCertificates(pems.certificateChain, "certificate");
  const roots = readCertificates(pems.trustBundle, "trust bundle");
  const [leaf] = chain;
  if (leaf === undefined) throw new UserError("certificate: none");
  const privateKey = readPrivateKey(pems.privateKey);
  if (!leaf.checkPrivateKey(privateKey))
    throw new UserError(
      "private key: it does not belong to the (first) certificate; the chain must have the leaf first",
    );
  const { uri, spiffeId } = identityOf(uriNames(leaf));
  const unfit = leafFaultOf(leaf);
  if (unfit !== undefined)
    throw new UserError(
      unfit.reason === "CA certificate"
        ? `certificate: the first one (${uri}) is a certificate authority; give the workload's own certificate first`
        : `certificate: no peer would accept ${uri}: ${unfit.detail}; have it issued as an X.509-SVID`,
    );
  for (const root of roots) {
    const fault = authorityFault(root, 0);
    if (fault !== undefined) throw new UserError(`trust bundle: ${fault}`);
  }
  const notBefore = leaf.validFromDate.getTime();
  const notAfter = Math.min(
    ...chain.map((certificate) => certificate.validToDate.getTime()),
  );
  // Judged at a moment when the leaf is valid, so that age alone does not make a chain unsound.
  const fault = chainFault(
    chain,
    roots,
    Math.min(Math.max(now, notBefore), notAfter),
  );
  if (fault !== undefined) throw new UserError(`certificate: ${fault}`);
  generations += 1;
  return {
    certificateChain: pems.certificateChain,
    privateKey: pems.privateKey,
    trustBundle: pems.trustBundle,
    id: uri,
    spiffeId,
    notBefore,
    notAfter,
    generation: generations,
  };
}

function leafFaultOf(leaf: X509Certificate): ReturnType<typeof leafFault> {
  try {
    return leafFault(leaf);
  } catch (error) {
    return { reason: "malformed certificate", detail: messageOf(error) };
  }
}

function readPrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new UserError(
      `private key: cannot be read: ${messageOf(error)}; give it as unencrypted PEM`,
      { cause: error },
    );
  }
}

function identityOf(uris: readonly string[]): {
  uri: string;
  spiffeId: SpiffeId;
} {
  const [uri, ...more] = uris;
  const spiffeId = uri === undefined ? undefined : parseSpiffeId(uri);
  if (uri === undefined || spiffeId === undefined || more.length > 0)
    throw new UserError(
      `certificate: exactly one URI name spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT is needed, found ${uris.length === 0 ? "none" : uris.join(", ")}`,
    );
  return { uri, spiffeId };
}
