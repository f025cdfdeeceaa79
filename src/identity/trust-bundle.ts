/** The roots that a mesh trusts, as a statement that its authority has signed: only one that is trusted already can have made it, whatever brings it. */
import { sign, verify, type KeyObject } from "node:crypto";
import { messageOf, UserError } from "../core/errors.ts";
import { isObject } from "../core/text/json.ts";
import type { WallMs } from "../core/units.ts";
import { authorityFault, chainFault } from "./chain.ts";
import { fingerprintOf, readCertificates } from "./pem.ts";

export interface TrustBundle {
  readonly trustDomain: string;
  /** Goes up with each change: an older bundle never takes the place of a newer one. */
  readonly serial: number;
  /** PEM */
  readonly roots: string;
  /** Fingerprint of the root under which certificates are issued: one under another root is to be renewed. */
  readonly issuer: string;
  /** Milliseconds over which these renewals spread. */
  readonly renewWithin: number;
}

export interface SignedBundle {
  /** A TrustBundle as JSON. */
  readonly statement: Buffer;
  readonly signature: Buffer;
  /** PEM: the authority whose key has signed, and what leads from it to a root. */
  readonly signers: string;
}

/** Before the statement, so that the signature of anything else is not one of a bundle. */
const PURPOSE = "wherry trust bundle 1\0";
/** Bytes of a statement. */
const LONGEST: number = 256 * 1024;
const MOST_ROOTS = 16;
const DIGEST = "sha256";

export function signBundle(
  bundle: TrustBundle,
  signer: { readonly signers: string; readonly privateKey: KeyObject },
): SignedBundle {
  const statement = Buffer.from(JSON.stringify(bundle));
  const { signers, privateKey } = signer;
  return {
    statement,
    signature: sign(DIGEST, signedBytes(statement), privateKey),
    signers,
  };
}

/**
 * The bundle, where an authority under one of the roots that are trusted by now has signed it, at one of `times`. A workload's key signs
 * none, nor does the control plane's own. Throws UserError.
 */
export function openBundle(
  { statement, signature, signers }: SignedBundle,
  trusted: {
    readonly trustBundle: string;
    readonly trustDomain: string | undefined;
    readonly times: readonly WallMs[];
  },
): TrustBundle {
  if (statement.length > LONGEST)
    throw invalid(`expected at most ${LONGEST} bytes`);
  const chain = readCertificates(signers, "signers of the trust bundle");
  const [signer] = chain;
  const roots = readCertificates(trusted.trustBundle, "trust bundle");
  if (signer === undefined) throw invalid("nobody has signed it");
  const faults = trusted.times.map(
    (time) => authorityFault(signer, 0) ?? chainFault(chain, roots, time),
  );
  if (faults.every((fault) => fault !== undefined))
    throw invalid(`its signer is not trusted: ${faults[0] ?? ""}`);
  if (!verify(DIGEST, signedBytes(statement), signer.publicKey, signature))
    throw invalid("its signature is not its signer's");
  const bundle = readBundle(statement);
  if (![undefined, bundle.trustDomain].includes(trusted.trustDomain))
    throw invalid(`it is of the trust domain ${bundle.trustDomain}`);
  return bundle;
}

function signedBytes(statement: Buffer): Buffer {
  return Buffer.concat([Buffer.from(PURPOSE), statement]);
}

function readBundle(statement: Buffer): TrustBundle {
  const { trustDomain, serial, roots, issuer, renewWithin } = parse(statement);
  if (
    typeof trustDomain !== "string" ||
    typeof serial !== "number" ||
    !Number.isSafeInteger(serial) ||
    serial < 1 ||
    typeof roots !== "string" ||
    typeof issuer !== "string" ||
    typeof renewWithin !== "number" ||
    !(renewWithin >= 0)
  )
    throw invalid("it lacks a part, or has one of another type");
  const certificates = readCertificates(roots, "trust bundle");
  if (certificates.length > MOST_ROOTS)
    throw invalid(`expected at most ${MOST_ROOTS} roots`);
  for (const root of certificates) {
    const fault = authorityFault(root, 0);
    if (fault !== undefined) throw invalid(fault);
  }
  if (!certificates.some((root) => fingerprintOf(root) === issuer))
    throw invalid("the root that it issues from is not in it");
  return { trustDomain, serial, roots, issuer, renewWithin };
}

function parse(statement: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(statement.toString("utf8"));
    if (isObject(value)) return value;
  } catch (thrown) {
    throw invalid(messageOf(thrown));
  }
  throw invalid("expected an object");
}

function invalid(detail: string): UserError {
  return new UserError(`invalid trust bundle: ${detail}`);
}
