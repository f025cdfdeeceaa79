/** What is said of a certificate that is not renewed, and what a person can do. */
import { timestamp } from "../../core/clock.ts";
import type { Credentials } from "../../identity/credentials.ts";

/** Where nothing can be tried. */
export const HOW_TO_ENROL =
  "there is no certificate and no token: make one with `wherry token create` and start the sidecar with it";

/** With --wait-for-token. */
export const TOKEN_AWAITED =
  "there is no certificate, and the file of the enrolment token is not there yet: it is waited for";

/** `left`: milliseconds for which it is valid. */
export function expiryNote(
  latest: Credentials | undefined,
  left: number,
): string {
  if (latest === undefined) return "";
  const verb = left > 0 ? "is valid until" : "expired at";
  return ` (the certificate ${verb} ${timestamp(latest.notAfter)})`;
}

export function alarmText(
  { notAfter }: Credentials,
  left: number,
  error: string | undefined,
): string {
  return `the certificate ${left > 0 ? "expires" : "expired"} at ${timestamp(notAfter)} and cannot be renewed: ${error ?? ""}`;
}
