/** What one sidecar should hold, has in force and has refused, counted in each item: a change of it costs what differs, and reading a count costs nothing. */
import { SlotMap } from "../../../core/slot-map.ts";
import type { Entry } from "./item.ts";
import { ScopedSet } from "./scoped-set.ts";

export class ViewCounts {
  #wanted = ScopedSet.EMPTY;
  #inForce = ScopedSet.EMPTY;
  #refused = ScopedSet.EMPTY;
  #counted = true;

  wants(set: ScopedSet): void {
    if (this.#counted) this.#count(this.#wanted, set);
    this.#wanted = set;
  }

  takes(set: ScopedSet): void {
    SlotMap.compare(this.#inForce.entries, set.entries, (before, after) => {
      const slot = before?.slot ?? after?.slot ?? 0;
      if (!this.#counts(slot)) return;
      const refused = this.#refused.entries.get(slot);
      add(before, refused, -1);
      add(after, refused, 1);
    });
    this.#inForce = set;
  }

  /** `set`: of the push that it refused last; empty where it has taken one since. */
  refuses(set: ScopedSet): void {
    SlotMap.compare(this.#refused.entries, set.entries, (before, after) => {
      const slot = before?.slot ?? after?.slot ?? 0;
      if (!this.#counts(slot)) return;
      const inForce = this.#inForce.entries.get(slot);
      addRefused(inForce, before, -1);
      addRefused(inForce, after, 1);
    });
    this.#refused = set;
  }

  /** Whether it counts: of two streams of one sidecar, the newer one alone does. */
  setCounted(counted: boolean): void {
    if (counted === this.#counted) return;
    this.#counted = counted;
    if (counted) this.#count(ScopedSet.EMPTY, this.#wanted);
    else this.#count(this.#wanted, ScopedSet.EMPTY);
  }

  #counts(slot: number): boolean {
    return this.#counted && this.#wanted.entries.get(slot) !== undefined;
  }

  #count(before: ScopedSet, after: ScopedSet): void {
    SlotMap.compare(before.entries, after.entries, (old, young) => {
      // Another version counts as much as the one before.
      if (old !== undefined && young !== undefined) return;
      const entry = old ?? young;
      if (entry === undefined) return;
      const sign = young === undefined ? -1 : 1;
      entry.item.wanted += sign;
      add(
        this.#inForce.entries.get(entry.slot),
        this.#refused.entries.get(entry.slot),
        sign,
      );
    });
  }
}

function add(
  inForce: Entry | undefined,
  refused: Entry | undefined,
  sign: 1 | -1,
): void {
  if (inForce !== undefined) inForce.whole.inForce += sign;
  addRefused(inForce, refused, sign);
}

/** What is in force all the same is not refused. */
function addRefused(
  inForce: Entry | undefined,
  refused: Entry | undefined,
  sign: 1 | -1,
): void {
  if (refused === undefined) return;
  if (inForce === undefined || revisionOf(inForce) < revisionOf(refused))
    refused.whole.refused += sign;
}

/** An older sidecar's version may have a mark behind the revision. */
function revisionOf({ version }: Entry): number {
  return Number.parseFloat(version);
}
