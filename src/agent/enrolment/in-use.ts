/** Which of two certificates proves this sidecar to its peers: the newest, or for a while yet the one before it. Pure. */
import type { Clock } from "../../core/clock.ts";
import type { WallMs } from "../../core/units.ts";
import { rootAbove } from "../../identity/chain.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { readCertificates } from "../../identity/pem.ts";
import { timesOf, validFor } from "../../identity/trust.ts";

export interface InUse {
  /** For the peers; undefined where neither is valid by any clock. */
  readonly credentials: Credentials | undefined;
  /** The one that was chosen, valid or not. */
  readonly chosen: Credentials;
  /** Whether the control plane, which knows what it issued last, would take the newest. */
  readonly newestIsValid: boolean;
  /** Milliseconds after which to choose anew. */
  readonly until: number;
}

/**
 * The newest takes the place of the present one once it is valid by this machine's clock, by which peers judge too, or where the
 * present one is not valid either. A control plane whose clock is wrong takes no valid certificate away.
 */
export function chooseInUse(
  present: Credentials | undefined,
  newest: Credentials,
  clock: Pick<Clock, "wall" | "now">,
): InUse {
  const wall = clock.wall();
  const times = timesOf(newest.meshTime, clock);
  const stays =
    present !== undefined &&
    present.generation !== newest.generation &&
    !isValidAt(newest, wall) &&
    isValidAt(present, wall) &&
    isUnder(present, newest);
  const chosen = stays ? withTrust(present, newest) : newest;
  const left = validFor(chosen, times);
  const changes = [
    left,
    newest.notBefore - wall,
    ...(stays ? [present.notAfter - wall] : []),
  ].filter((ms) => ms > 0);
  return {
    credentials: left > 0 ? chosen : undefined,
    chosen,
    newestIsValid: validFor(newest, times) > 0,
    until: Math.min(Infinity, ...changes),
  };
}

/** The mesh's time and its roots are known from the newest, whichever is in use. */
function withTrust(
  present: Credentials,
  { meshTime = present.meshTime, trustBundle, bundle }: Credentials,
): Credentials {
  if (present.meshTime === meshTime && present.trustBundle === trustBundle)
    return present;
  return {
    ...present,
    trustBundle,
    ...(meshTime === undefined ? {} : { meshTime }),
    ...(bundle === undefined ? {} : { bundle }),
  };
}

/** Nobody takes a certificate whose root is retired, whatever its dates. */
function isUnder(
  { certificateChain, trustBundle: before }: Credentials,
  { trustBundle }: Credentials,
): boolean {
  return (
    before === trustBundle ||
    rootAbove(
      readCertificates(certificateChain, "certificate"),
      readCertificates(trustBundle, "trust bundle"),
    ) !== undefined
  );
}

function isValidAt(
  { notBefore, notAfter }: Credentials,
  time: WallMs,
): boolean {
  return time >= notBefore && time < notAfter;
}
