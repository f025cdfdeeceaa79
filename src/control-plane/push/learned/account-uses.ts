/** Which Services the sidecars of one service account used, and when last: bounded, and forgotten after a while. Pure. */
import type { WallMs } from "../../../core/units.ts";

/** Services of an account; the one whose last use is longest ago makes room. */
export const MOST_SERVICES = 1000;
/** Milliseconds after the last use. */
export const FORGOTTEN_AFTER: number = 7 * 86_400_000;
/** Milliseconds: what is written may be so much older than what is known. */
export const REWRITTEN_AFTER: number = 6 * 3_600_000;

export class AccountUses {
  /** By "NAMESPACE/NAME"; the one whose last use is longest ago comes first. */
  readonly #last = new Map<string, WallMs>();
  /** When it was written; undefined where it has to be. */
  #written: WallMs | undefined;

  /** Reads a note; undefined where it is not of the shape that `text` makes. */
  static read(text: string, wall: WallMs): AccountUses | undefined {
    const entries = parse(text);
    if (entries === undefined) return undefined;
    const uses = new AccountUses();
    // A clock that was set back does not keep anything for longer.
    for (const [service, at] of entries) uses.note(service, Math.min(at, wall));
    uses.written(uses.newest);
    return uses;
  }

  /** As it is written. */
  get text(): string {
    return JSON.stringify(Object.fromEntries(this.#last));
  }

  get size(): number {
    return this.#last.size;
  }

  /** The last use of any. */
  get newest(): WallMs {
    return [...this.#last.values()].at(-1) ?? 0;
  }

  get isUnwritten(): boolean {
    return this.#written === undefined;
  }

  /** The Services, the one used last first. */
  known(wall: WallMs): string[] {
    return Array.from(this.#last)
      .filter(([, at]) => !isOver(at, wall))
      .map(([service]) => service)
      .reverse();
  }

  note(service: string, wall: WallMs): void {
    if (
      !this.#last.delete(service) ||
      wall - (this.#written ?? 0) >= REWRITTEN_AFTER
    )
      this.#written = undefined;
    this.#last.set(service, wall);
    const [oldest] = this.#last.keys();
    if (this.#last.size > MOST_SERVICES && oldest !== undefined)
      this.#last.delete(oldest);
  }

  /** Drops what was not used for long, and what is not there any more. */
  forget(wall: WallMs, exists: (service: string) => boolean): void {
    for (const [service, at] of this.#last)
      if (isOver(at, wall) || !exists(service)) {
        this.#last.delete(service);
        this.#written = undefined;
      }
  }

  written(wall: WallMs): void {
    this.#written = wall;
  }

  unwritten(): void {
    this.#written = undefined;
  }
}

function isOver(at: WallMs, wall: WallMs): boolean {
  return wall - at >= FORGOTTEN_AFTER;
}

function parse(text: string): [string, number][] | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== "object" || parsed === null) return undefined;
    const entries = Object.entries(parsed);
    return entries.every(
      (entry): entry is [string, number] => typeof entry[1] === "number",
    )
      ? entries.sort(([, a], [, b]) => a - b)
      : undefined;
  } catch {
    return undefined;
  }
}
