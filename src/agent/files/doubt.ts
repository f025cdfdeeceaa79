/** Whether what files hold now may be half of what somebody means to write: pure, by comparison with the files of the config in force. */
import type { Steps } from "../../core/slices.ts";

export interface FileFacts {
  /** Another one whenever the file was written or replaced. */
  readonly signature: string;
  /** Identity of the file on its file system: another one was put in its place whole, the same one may be in the middle of a write. */
  readonly inode: string;
  readonly bytes: number;
  /** Resources in it. */
  readonly count: number;
  /** Its text ends as a text does that was written to its end. */
  readonly ended: boolean;
}

export type Facts = ReadonlyMap<string, FileFacts>;

export type Doubt =
  /** Not to be used, however long it stays so. */
  | { readonly kind: "refuse"; readonly reason: string }
  /** To be used once it has been the same for so many milliseconds more. */
  | {
      readonly kind: "wait";
      readonly ms: number;
      /** Undefined where there is nothing to worry about: it was written in place, as any file may be. */
      readonly reason?: string;
    };

/** Milliseconds that a file is left alone that was written where it stands: nothing tells how much more of it comes. */
const IN_PLACE = 1000;
/** Milliseconds: a write in place that pauses is over by then. */
const SECOND_LOOK = 2000;
/** Milliseconds: most of a mesh does not go by accident without somebody putting it back. */
const LONG_LOOK = 10_000;

/** `current` is empty at the start. `allowShrink`: the operator means it (--allow-shrink). */
export function* doubtOf(
  next: Facts,
  current: Facts,
  allowShrink: boolean,
): Steps<Doubt | undefined> {
  const after = yield* total(next);
  const before = yield* total(current);
  if (!allowShrink) {
    const emptied = yield* emptiedFile(next, current);
    if (emptied !== undefined)
      return refuse(`${emptied} holds no resources any more`);
    if (after === 0) return refuse("the files hold no resources");
    if (after * 2 < before)
      return {
        kind: "wait",
        ms: LONG_LOOK,
        reason: `only ${after} of ${before} resources are left; they come into force if they are the same in ${LONG_LOOK / 1000} s, or at once with --allow-shrink`,
      };
  }
  const unfinished = yield* unfinishedFile(next, current, after < before);
  if (unfinished === undefined)
    return (yield* isWrittenInPlace(next, current))
      ? { kind: "wait", ms: IN_PLACE }
      : undefined;
  return {
    kind: "wait",
    ms: SECOND_LOOK,
    reason: `${unfinished} may be in the middle of a write; it comes into force if it is the same in ${SECOND_LOOK / 1000} s`,
  };
}

function refuse(what: string): Doubt {
  return {
    kind: "refuse",
    reason: `${what}: write them, or remove the file, or start with --allow-shrink if that is meant`,
  };
}

/** A full disk or a save that died leaves an empty file; to mean it, remove the file. */
function* emptiedFile(next: Facts, current: Facts): Steps<string | undefined> {
  for (const [file, { count }] of current) {
    yield;
    if (count > 0 && next.get(file)?.count === 0) return file;
  }
  return undefined;
}

function* unfinishedFile(
  next: Facts,
  current: Facts,
  fewer: boolean,
): Steps<string | undefined> {
  for (const [file, old] of current) {
    yield;
    const now = next.get(file);
    // Some editors remove a file before they write it again.
    if (now === undefined && fewer) return file;
    if (
      now?.inode === old.inode &&
      (now.bytes < old.bytes || now.count < old.count)
    )
      return file;
  }
  for (const [file, now] of next) {
    yield;
    const old = current.get(file);
    const inPlace = old === undefined || old.inode === now.inode;
    if (inPlace && !now.ended && old?.bytes !== now.bytes) return file;
  }
  return undefined;
}

/** A new file may have come by a rename, or be written where it is. */
function* isWrittenInPlace(next: Facts, current: Facts): Steps<boolean> {
  if (current.size === 0) return false;
  for (const [file, now] of next) {
    yield;
    const old = current.get(file);
    if (old === undefined || old.inode === now.inode)
      if (old?.signature !== now.signature) return true;
  }
  return false;
}

function* total(facts: Facts): Steps<number> {
  let sum = 0;
  for (const { count } of facts.values()) {
    yield;
    sum += count;
  }
  return sum;
}
