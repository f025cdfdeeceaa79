/** When a certificate is to be renewed, and when its end is near: by what was left of it when it came, since its authority may have set notBefore back. */
import type { Clock } from "../../core/clock.ts";
import type { Credentials } from "../../identity/credentials.ts";

/** A certificate, and when its life began for its holder. */
export interface Held {
  readonly credentials: Credentials;
  /** Wall-clock milliseconds, by the mesh's time: when it was received; its notBefore where that is not known. */
  readonly since: number;
}

/** Renewal comes up to this share of the time to it early, so that a fleet that enrolled together does not renew together. */
const EARLY = 0.1;
/** Milliseconds between the renewals of a control plane that gives certificates with hardly a life: it is not asked without pause. */
const FLOOR = 5000;
const LEAST = 1000;

/**
 * Wall-clock milliseconds. `share` of the life, never sooner than the floor from now: a certificate that is long overdue, or shorter than the
 * floor, is renewed soon, and not in a loop.
 */
export function renewalTime(
  { credentials, since }: Held,
  share: number,
  clock: Pick<Clock, "wall" | "random">,
): number {
  const now = clock.wall();
  const { notAfter } = credentials;
  const life = notAfter - since;
  const due = since + life * share * (1 - EARLY * clock.random());
  const floor = Math.max(LEAST, Math.min(FLOOR, (notAfter - now) / 2));
  // What comes from the disk overdue, comes so to a whole fleet that restarts.
  const overdue = due < now ? floor * clock.random() : 0;
  return Math.max(due, now + floor + overdue);
}

/** A quarter of the life is left, or less. `left`: milliseconds. */
export function isNearEnd({ credentials, since }: Held, left: number): boolean {
  return left <= (credentials.notAfter - since) / 4;
}
