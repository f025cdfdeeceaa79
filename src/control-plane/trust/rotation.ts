/** The rotation of the root as a state machine: what each phase waits for, and which sidecars keep it waiting. Pure. */
import type { WallMs } from "../../core/units.ts";

/**
 * ```
 *   add       both roots are trusted; the old one issues        → every sidecar has acknowledged both
 *   reissue   both roots are trusted; the new one issues        → no sidecar shows a certificate of the old one
 *   retire    the new root alone is trusted, the old key is gone → every sidecar has acknowledged that
 * ```
 */
export type Phase = "add" | "reissue" | "retire";

export interface Rotation {
  readonly phase: Phase;
  /** Fingerprints of the root that goes and of the one that comes. */
  readonly from: string;
  readonly to: string;
  readonly startedAt: WallMs;
  /** When the phase began. */
  readonly since: WallMs;
  /** Sidecars, "NAMESPACE/NAME", that are not waited for, by somebody's word. */
  readonly abandoned: readonly string[];
}

/** A sidecar as far as a rotation goes. */
export interface Member {
  /** "NAMESPACE/NAME" */
  readonly sidecar: string;
  readonly connected: boolean;
  /** Whether it takes roots over its stream. An older one has them with each certificate that it gets. */
  readonly takesRoots: boolean;
  /** Serial of the bundle that it has acknowledged. */
  readonly serial?: number | undefined;
  readonly refused?: string | undefined;
  /** Fingerprint of the root of its certificate. */
  readonly root?: string | undefined;
  /** Wall milliseconds at which that was issued, or a little earlier. */
  readonly issuedAt?: WallMs | undefined;
}

export interface Behind {
  readonly sidecar: string;
  readonly why: string;
}

/** Those that the phase waits for, in their order. `serial`: of the bundle that is to be acknowledged. */
export function behindOf(
  rotation: Rotation,
  serial: number,
  members: readonly Member[],
): readonly Behind[] {
  const abandoned = new Set(rotation.abandoned);
  return members.flatMap((member) => {
    const { sidecar } = member;
    if (abandoned.has(sidecar)) return [];
    const why = whyBehind(rotation, serial, member);
    return why === undefined ? [] : [{ sidecar, why }];
  });
}

/** The same where no rotation is in progress: those without the roots of now, or without a certificate of the one that issues. */
export function outsideOf(
  issuer: string,
  serial: number,
  members: readonly Member[],
): readonly Behind[] {
  return members.flatMap((member) => {
    const { sidecar, connected } = member;
    const missing =
      member.serial !== serial
        ? (member.refused ?? "it has not acknowledged the roots")
        : member.root === issuer
          ? undefined
          : "its certificate is of another root than the one that issues";
    if (missing === undefined) return [];
    const why = connected ? missing : `it is not connected, and ${missing}`;
    return [{ sidecar, why }];
  });
}

function whyBehind(
  rotation: Rotation,
  serial: number,
  member: Member,
): string | undefined {
  const missing =
    rotation.phase === "reissue"
      ? missingCertificate(rotation, member)
      : missingRoots(rotation, serial, member);
  if (missing === undefined) return undefined;
  return member.connected ? missing : `it is not connected, and ${missing}`;
}

function missingCertificate(
  { to }: Rotation,
  { root }: Member,
): string | undefined {
  return root === to
    ? undefined
    : "it has not shown a certificate of the new root";
}

function missingRoots(
  { phase, since }: Rotation,
  serial: number,
  member: Member,
): string | undefined {
  const { takesRoots, refused, issuedAt = -Infinity } = member;
  if (member.serial === serial) return undefined;
  if (!takesRoots && member.connected)
    return issuedAt >= since
      ? undefined
      : "it is of a version that gets the roots with its next certificate alone: wait for its renewal, or upgrade it";
  if (refused !== undefined) return `it has refused the roots: ${refused}`;
  return phase === "add"
    ? "it has not acknowledged the new root"
    : "it has not acknowledged that the old root is gone";
}
