/** What one sidecar is offered of what it should hold: all of it, but for what its push schema does not know; a change costs what it changes. */
import { SlotMap } from "../../core/slot-map.ts";
import type { UnreadReport, UnreadResource } from "../../push/messages.ts";
import { keepsOlder } from "../../push/stand-in.ts";
import { unreadReport } from "../../push/unread-report.ts";
import { formatKey, keyOf } from "../../resources/envelope.ts";
import { GuardedServices } from "./guarded-services.ts";
import { heldEntry, type Entry } from "./catalogue/item.ts";
import { isClosed, type Saying, type Sayings } from "./catalogue/saying.ts";
import { ScopedSet, type Held } from "./catalogue/scoped-set.ts";

export class Offered {
  readonly #sayings: Sayings;
  #guarded: GuardedServices;
  #wanted = ScopedSet.EMPTY;
  #set = ScopedSet.EMPTY;
  #age: object | undefined;
  /** By slot. */
  readonly #withheld = new Map<
    number,
    UnreadResource & { readonly entry: Entry }
  >();

  constructor(sayings: Sayings) {
    this.#sayings = sayings;
    this.#guarded = new GuardedServices(sayings);
  }

  /** `held`: what the sidecar has, by which it may go on with an older version. */
  of(wanted: ScopedSet, held: Held): ScopedSet {
    if (this.#sayings.isWhole) return wanted;
    this.#startAnew();
    SlotMap.compare(this.#wanted.entries, wanted.entries, (before, after) => {
      this.#guarded.note(before, after);
      const slot = before?.slot ?? after?.slot ?? 0;
      this.#put(slot, after, held);
    });
    this.#wanted = wanted;
    for (const service of this.#guarded.moved())
      this.#put(service.slot, service, held);
    return this.#set;
  }

  #put(slot: number, entry: Entry | undefined, held: Held): void {
    this.#release(slot);
    const offered = entry && this.#offer(entry, held);
    this.#set =
      offered === undefined ? this.#set.without(slot) : this.#set.with(offered);
  }

  /** All that was offered, where it means something else now. */
  #startAnew(): void {
    if (this.#sayings.age === this.#age) return;
    this.#age = this.#sayings.age;
    this.close();
    this.#guarded = new GuardedServices(this.#sayings);
    this.#wanted = this.#set = ScopedSet.EMPTY;
  }

  get withheld(): UnreadReport | undefined {
    return unreadReport(this.#withheld.size, this.#withheld.values());
  }

  /** The sidecar is gone: nothing is withheld from it. */
  close(): void {
    for (const slot of [...this.#withheld.keys()]) this.#release(slot);
  }

  #offer(entry: Entry, held: Held): Entry | undefined {
    if (this.#guarded.has(entry)) {
      const saying = this.#sayings.closed(entry);
      this.#withhold(entry, saying, false);
      return saying.closed;
    }
    const saying = this.#sayings.of(entry);
    if (saying.kind === "said") return saying.entry;
    const older = olderOf(entry, held);
    this.#withhold(entry, saying, older !== undefined);
    return older ?? saying.closed;
  }

  #withhold(
    entry: Entry,
    { fields, closed }: Extract<Saying, { kind: "withheld" }>,
    hasOlder: boolean,
  ): void {
    const { resource, slot } = entry;
    if (resource === undefined) return;
    const without = closed === undefined ? "nothing" : "closed";
    entry.withheld += 1;
    this.#withheld.set(slot, {
      entry,
      resource: formatKey(keyOf(resource)),
      fields,
      instead: hasOlder ? "older" : without,
    });
  }

  #release(slot: number): void {
    const withheld = this.#withheld.get(slot);
    if (withheld === undefined) return;
    withheld.entry.withheld -= 1;
    this.#withheld.delete(slot);
  }
}

/** The version that the sidecar has, where that is one to go on with. */
function olderOf(entry: Entry, held: Held): Entry | undefined {
  const { item, slot, resource } = entry;
  if (resource === undefined || !keepsOlder(resource)) return undefined;
  if (held instanceof ScopedSet) {
    const older = held.entries.get(slot);
    return older === undefined || isClosed(older.version) ? undefined : older;
  }
  const version = held.get(item.name)?.version ?? "";
  // The very version: it has fields that the sidecar does not know, and cannot be what that acts on.
  return version === "" || version === entry.version || isClosed(version)
    ? undefined
    : heldEntry(item, version);
}
