/** What an external issuer means for the roots of the mesh: when it may begin to issue, and when it may be left. Pure. */
import { UserError } from "../../core/errors.ts";
import { fingerprintOf } from "../../identity/pem.ts";
import type { ExternalIssuer } from "../issuer/external-issuer.ts";
import type { Rotation } from "./rotation.ts";
import type { TrustNote } from "./trust-note.ts";

/** Why the root is not rotated here. */
export const ROTATED_ELSEWHERE =
  "certificates are issued by an external issuer: rotate its root there. Put the new root last in --issuer-roots; once `wherry ca status` shows that every sidecar has acknowledged it, sign under it and put it first; take the old one out when no sidecar has a certificate of it";

/** Fingerprints of its roots, in the order of the file. */
export function externalRoots(
  issuer: Pick<ExternalIssuer, "roots"> | undefined,
): readonly string[] {
  return issuer?.roots.value.map(fingerprintOf) ?? [];
}

/** What sidecars have was said before this start: nothing is issued that they do not know, and nothing is left that they stand on. Throws UserError. */
export function checkIssuer(
  issuer: Pick<ExternalIssuer, "roots" | "signs"> | undefined,
  known: TrustNote | undefined,
  rotation: Rotation | undefined,
): void {
  if (known === undefined) return;
  const roots = externalRoots(issuer);
  const [first] = roots;
  const { external = [] } = known;
  if (external.includes(known.issuer) && !roots.includes(known.issuer))
    throw new UserError(
      `the mesh's certificates are of the root ${known.issuer.slice(0, 16)} of an external issuer: start with --issuer-roots that has it. To go back, leave out --issuer-url alone, and --issuer-roots once wherry ca status waits for no sidecar`,
    );
  if (issuer?.signs !== true || first === undefined) return;
  if (rotation !== undefined)
    throw new UserError(
      "a rotation of the root is in progress: start without --issuer-url until it is complete",
    );
  if (!known.roots.includes(first))
    throw new UserError(
      "no sidecar has the root of the external issuer yet: start with --issuer-roots and without --issuer-url, until wherry ca status shows that every sidecar has acknowledged it",
    );
}
