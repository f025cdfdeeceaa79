/**
 * Two authorities of one mesh, while the second takes the place of the first: their directories, and each step between them in one rename.
 *
 * ```
 *   authority/                 the one of today
 *   authority/prepared/        a successor that an operator has put there; absent: it is made
 *   authority/next/            the successor, from the begin of the rotation on
 *   authority/promoted/        the same, while its files take the place of those above
 * ```
 */
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { messageOf, UserError } from "../../core/errors.ts";
import type { WallMs } from "../../core/units.ts";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";
import {
  openAuthority,
  type Authority,
  type AuthorityOptions,
} from "./authority.ts";
import { replaceCertificates } from "./files.ts";

const NEXT = "next";
const PREPARED = "prepared";
const PROMOTED = "promoted";
const ROOTS = "root.crt";
const ROOT_KEY = "root.key";

export interface Succession {
  readonly current: Authority;
  /** Undefined where no rotation is in progress, or the successor has been promoted. */
  readonly next: Authority | undefined;
}

/**
 * What the directory holds; a promotion that a crash cut short is brought to its end. `issues`: certificates are of the successor already.
 * Before that, one that a clock ahead has made is left alone until it begins: it does not keep the control plane from its start. Throws UserError.
 */
export async function openSuccession(
  options: AuthorityOptions,
  issues: boolean,
): Promise<Succession> {
  const { directory, clock } = options;
  finishPromotion(directory);
  const current = await openAuthority(options);
  const next = join(directory, NEXT);
  return {
    current,
    next: (issues ? existsSync(next) : hasBegun(next, clock.wall()))
      ? await openAuthority({ ...options, directory: next })
      : undefined,
  };
}

/** False where there is none. What cannot be read is judged when it is opened. */
function hasBegun(directory: string, now: WallMs): boolean {
  if (!existsSync(directory)) return false;
  try {
    const file = join(directory, ROOTS);
    const [root] = readCertificates(readFileSync(file, "utf8"), file);
    return root === undefined || root.validFromDate.getTime() <= now;
  } catch {
    return true;
  }
}

/**
 * Takes what was prepared, or makes a new authority. It trusts what the present one trusts besides its own root. Throws UserError, and
 * then there is no successor.
 */
export async function makeSuccessor(
  options: AuthorityOptions,
  current: Authority,
): Promise<Authority> {
  const { directory } = options;
  const prepared = join(directory, PREPARED);
  const next = join(directory, NEXT);
  // It was made, and what was to come after that failed.
  if (existsSync(next)) return openAuthority({ ...options, directory: next });
  try {
    const own = { ...options, directory: prepared };
    const made = await openAuthority(own);
    if (made.fingerprint === current.fingerprint)
      throw new UserError(
        `certificate authority: the root in ${prepared} is the one in use: put the new one there, or remove the directory`,
      );
    replaceCertificates(
      join(prepared, ROOTS),
      withOthers(made.trustBundle, current),
    );
    renameSync(prepared, next);
  } catch (thrown) {
    if (thrown instanceof UserError) throw thrown;
    throw new UserError(
      `certificate authority: ${next} cannot be made: ${messageOf(thrown)}; the control plane must be able to write to ${directory}`,
      { cause: thrown },
    );
  }
  return openAuthority({ ...options, directory: next });
}

/** The successor takes the place of the present authority, whose keys are gone with that. Throws UserError, and goes on where it was when it is called again. */
export async function promote(options: AuthorityOptions): Promise<Authority> {
  const { directory } = options;
  const next = join(directory, NEXT);
  try {
    if (existsSync(next)) {
      // An offline root: the old key must not stand beside the new certificate. Without it, the present authority is whole, too.
      if (!existsSync(join(next, ROOT_KEY)))
        rmSync(join(directory, ROOT_KEY), { force: true });
      renameSync(next, join(directory, PROMOTED));
    }
    finishPromotion(directory);
  } catch (thrown) {
    throw new UserError(
      `certificate authority: the new root cannot take the place of the old one in ${directory}: ${messageOf(thrown)}`,
      { cause: thrown },
    );
  }
  return openAuthority(options);
}

/** From the rename to PROMOTED on there is no way back; each file moves by itself, and the order does not matter. Nothing where there is none. */
function finishPromotion(directory: string): void {
  const promoted = join(directory, PROMOTED);
  if (!existsSync(promoted)) return;
  for (const name of readdirSync(promoted))
    renameSync(join(promoted, name), join(directory, name));
  rmdirSync(promoted);
}

/** PEM: the new root, and what the present authority trusts besides its own. */
function withOthers(
  roots: string,
  { trustBundle, fingerprint }: Authority,
): string {
  const all = [
    ...readCertificates(roots, ROOTS),
    ...readCertificates(trustBundle, ROOTS),
  ];
  const byFingerprint = new Map(all.map((root) => [fingerprintOf(root), root]));
  byFingerprint.delete(fingerprint);
  return [...byFingerprint.values()].map((root) => root.toString()).join("");
}
