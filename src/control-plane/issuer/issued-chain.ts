/** Judges what an external issuer has responded, as that of a stranger: only the very certificate that was asked for goes on to a sidecar. */
import type { KeyObject, X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { timestamp } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import { chainFault, isSignedBy, nameOf } from "../../identity/chain.ts";
import {
  countOtherNames,
  readBinding,
  uriNames,
  type Binding,
} from "../../identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";
import { leafFault, weakness } from "../../identity/profile.ts";

/** The certificate that an issuer is asked for. */
export interface Asked {
  /** PEM of the request, and the key that it is for. */
  readonly csr: string;
  readonly publicKey: KeyObject;
  readonly spiffeId: SpiffeUri;
  readonly binding: Binding;
  /** Whole seconds. */
  readonly notBefore: WallMs;
  readonly notAfter: WallMs;
  /** From now to its end. */
  readonly seconds: number;
}

/** Milliseconds by which the clock of an issuer may differ. */
const SKEW = 60_000;
/** A certificate below this would end before it is renewed. */
const SHORTEST = 60_000;

/** PEM, leaf first, without the root. `roots`: the first is the one under which the mesh's certificates are to be. Throws UserError. */
export function judgeIssued(
  pem: string,
  asked: Asked,
  roots: readonly X509Certificate[],
  now: WallMs,
): string {
  const given = readCertificates(pem, "the issuer's response");
  const fault =
    formFault(given, asked) ??
    timeFault(given, asked, now) ??
    rootFault(given, roots, now) ??
    strengthFault(given, roots);
  if (fault !== undefined)
    throw new UserError(`the issuer's response is not used: ${fault}`);
  const known = new Set(roots.map(fingerprintOf));
  return given
    .filter((each, index) => index === 0 || !known.has(fingerprintOf(each)))
    .map((each) => each.toString())
    .join("");
}

function formFault(
  [leaf]: readonly X509Certificate[],
  { publicKey, spiffeId, binding }: Asked,
): string | undefined {
  if (leaf === undefined) return "it has no certificate";
  try {
    if (!publicKey.equals(leaf.publicKey))
      return "the certificate is for another key than that of the request";
    const unfit = leafFault(leaf);
    if (unfit !== undefined) return `${unfit.reason}: ${unfit.detail}`;
    const names = uriNames(leaf);
    if (names.length !== 1 || names[0] !== spiffeId)
      return `expected ${spiffeId} as its one URI name, found ${names.join(", ") || "none"}`;
    if (countOtherNames(leaf) > 0)
      return "it has names besides its SPIFFE ID that nobody asked for";
    return isDeepStrictEqual(readBinding(leaf), normal(binding))
      ? undefined
      : "it does not carry the instance's name and labels as they were asked for (the extension or otherName of the guide)";
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/** As it is read back: no addresses are none. */
function normal({ name, labels, addresses = [] }: Binding): Binding {
  return { name, labels, ...(addresses.length === 0 ? {} : { addresses }) };
}

/** Revocation goes by the begin: a certificate that begins later than asked for would be spared by one that was to put it out. */
function timeFault(
  given: readonly X509Certificate[],
  { notBefore, notAfter }: Asked,
  now: WallMs,
): string | undefined {
  const [leaf] = given;
  const from = leaf?.validFromDate.getTime() ?? NaN;
  const to = leaf?.validToDate.getTime() ?? NaN;
  if (!(from <= notBefore && from >= notBefore - SKEW))
    return `its validity begins at ${timeText(from)}; expected ${timestamp(notBefore)}, or up to a minute earlier`;
  if (!(to <= notAfter + SKEW))
    return `its validity ends at ${timeText(to)}; expected ${timestamp(notAfter)}, or earlier`;
  const end = Math.min(...given.map((each) => each.validToDate.getTime()));
  return end - now >= SHORTEST
    ? undefined
    : `its validity, or that of its issuer, ends at ${timeText(end)}, in less than a minute`;
}

/** Peers would refuse it, while the certificate of before is good yet. */
function strengthFault(
  given: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): string | undefined {
  for (const each of given) {
    // Nobody verifies what a root says of itself.
    if (roots.some((root) => root.raw.equals(each.raw))) continue;
    const weak = weakness(each);
    if (weak !== undefined) return `"${nameOf(each)}": ${weak}`;
  }
  return undefined;
}

function timeText(wall: WallMs): string {
  return Number.isNaN(wall) ? "no time" : timestamp(wall);
}

function rootFault(
  given: readonly X509Certificate[],
  [first, ...others]: readonly X509Certificate[],
  now: WallMs,
): string | undefined {
  if (first === undefined) return "no root of the issuer is known";
  const path = given.filter(
    (each) => ![first, ...others].some((root) => root.raw.equals(each.raw)),
  );
  const fault = chainFault(path, [first], now);
  if (fault === undefined) {
    const last = path.find((each) => !isNeeded(each, path));
    return last === undefined
      ? undefined
      : "it has certificates that do not lead to the root";
  }
  return others.length > 0 && chainFault(path, others, now) === undefined
    ? "it leads to another root than the first of --issuer-roots: put the root first that the issuer signs with"
    : fault;
}

/** The leaf, and what has signed another of the path. */
function isNeeded(
  each: X509Certificate,
  path: readonly X509Certificate[],
): boolean {
  return (
    each === path[0] ||
    path.some((below) => below !== each && isSignedBy(below, each))
  );
}
