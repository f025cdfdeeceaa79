/** What a signed bundle that came over the stream means for the credentials that are held: its roots, and whether the certificate is to be issued anew. Pure. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { rootAbove } from "../../identity/chain.ts";
import {
  rootsFrom,
  type Credentials,
  type Roots,
} from "../../identity/credentials.ts";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";
import { timesOf } from "../../identity/trust.ts";
import { openBundle, type SignedBundle } from "../../identity/trust-bundle.ts";

/** The roots that count from now on; or, as text, why they are not those of the bundle. The bundle that is held already changes nothing. */
export function rootsOfBundle(
  held: Credentials,
  signed: SignedBundle,
  clock: Pick<Clock, "wall" | "now">,
): Roots | string {
  const { trustBundle, bundle, spiffeId, meshTime } = held;
  try {
    const next = openBundle(signed, {
      trustBundle,
      trustDomain: spiffeId.trustDomain,
      times: timesOf(meshTime, clock),
    });
    const known = bundle?.serial ?? 0;
    if (bundle !== undefined && next.serial === known)
      return { trustBundle, bundle };
    return next.serial < known
      ? `invalid trust bundle: its serial ${next.serial} is lower than ${known}, which this sidecar has`
      : rootsFrom(next);
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/** Whether the certificate is of another root than the bundle says that certificates are issued from. */
export function isOfOtherRoot({
  certificateChain,
  trustBundle,
  bundle,
}: Credentials): boolean {
  if (bundle === undefined) return false;
  const root = rootAbove(
    readCertificates(certificateChain, "certificate"),
    readCertificates(trustBundle, "trust bundle"),
  );
  return root === undefined || fingerprintOf(root) !== bundle.issuer;
}
