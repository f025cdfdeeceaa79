/** What the store keeps of the roots: the bundle that was said last, and the rotation in progress. It goes with the store into its backups. */
import { isObject } from "../../core/text/json.ts";
import type { WallMs } from "../../core/units.ts";
import type { Rotation } from "./rotation.ts";

export interface TrustNote {
  readonly serial: number;
  /** Fingerprints of the roots, sorted, and of the one that issues. */
  readonly roots: readonly string[];
  readonly issuer: string;
  readonly renewWithin: number;
  /** Which of the roots are an external issuer's; absent: none. */
  readonly external?: readonly string[];
  readonly rotation?: Rotation;
  /** The rotation that was finished last. */
  readonly last?: Pick<Rotation, "from" | "to" | "startedAt"> & {
    readonly finishedAt: WallMs;
  };
}

export const TRUST_NOTE = "trust";

/** Undefined where there is none, or what is there is not one. */
export function readNote(text: string | undefined): TrustNote | undefined {
  if (text === undefined) return undefined;
  try {
    const note: unknown = JSON.parse(text);
    // Written by this program alone: what has a serial is whole.
    return isObject(note) && typeof note["serial"] === "number"
      ? (note as unknown as TrustNote)
      : undefined;
  } catch {
    return undefined;
  }
}
