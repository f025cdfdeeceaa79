/** Whether what files hold now may be half of what somebody means to write: pure, by comparison with the files of the config in force. */
import type { Steps } from "../../core/slices.ts";
import type { CameWhole } from "./arrivals.ts";

export interface FileFacts {
  /** Another one whenever the file was written or replaced. */
  readonly signature: string;
  /** Real path: where links lead elsewhere than before, they were turned to a file that is whole. */
  readonly target: string;
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
  cameWhole: CameWhole,
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
  const gone = after < before ? yield* goneFile(next, current) : undefined;
  const written = yield* writtenInPlace(next, current, cameWhole);
  const unfinished = gone ?? (yield* unfinishedFile(written, current));
  if (unfinished === undefined)
    return written.size > 0 && current.size > 0
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

/** Some editors remove a file before they write it again. */
function* goneFile(next: Facts, current: Facts): Steps<string | undefined> {
  for (const file of current.keys()) {
    yield;
    if (!next.has(file)) return file;
  }
  return undefined;
}

function* unfinishedFile(
  written: Facts,
  current: Facts,
): Steps<string | undefined> {
  for (const [file, now] of written) {
    yield;
    const old = current.get(file);
    if (old !== undefined && (now.bytes < old.bytes || now.count < old.count))
      return file;
    if (!now.ended && old?.bytes !== now.bytes) return file;
  }
  return undefined;
}

/** Those that have changed, and may be in the middle of a write: neither came they whole, nor were links turned to them. */
function* writtenInPlace(
  next: Facts,
  current: Facts,
  cameWhole: CameWhole,
): Steps<Facts> {
  const written = new Map<string, FileFacts>();
  for (const [file, now] of next) {
    yield;
    const old = current.get(file);
    if (old?.signature === now.signature) continue;
    const turned = old !== undefined && old.target !== now.target;
    if (!turned && !cameWhole(now.target)) written.set(file, now);
  }
  return written;
}

function* total(facts: Facts): Steps<number> {
  let sum = 0;
  for (const { count } of facts.values()) {
    yield;
    sum += count;
  }
  return sum;
}
