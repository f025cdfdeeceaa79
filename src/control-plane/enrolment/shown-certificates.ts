/** The newest certificate that each instance has shown: an older one that has ended does not come back (a copy that somebody kept). */
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { MonotonicMs, SpiffeUri, WallMs } from "../../core/units.ts";
import { LONGEST_RENEWAL, LONGEST_TTL } from "../../resources/mesh/check.ts";
import { BACKDATED } from "../authority/authority.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import type { Store } from "../store/store.ts";

/** How the store's notes of it begin; then comes the instance. */
const NOTE = "shown/";
/** Milliseconds in which notes gather for one write: a fleet comes back together. */
const GATHERED = 1000;
/** The same where a note falls behind the one in the store, which would lock the instance out should this machine's clock be wrong again after a restart. */
const GATHERED_FALLEN = 50;
/** Milliseconds between two looks for what has no use any more. */
const FORGET_EVERY = 3_600_000;
/** Milliseconds after which no certificate that is older can be renewed, whatever is noted here. */
const FORGOTTEN_AFTER = LONGEST_TTL + LONGEST_RENEWAL;

export interface ShownCertificatesOptions {
  readonly store: Pick<Store, "notes" | "setNotes">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Resolves when what the store has of it is read. */
export async function openShownCertificates(
  options: ShownCertificatesOptions,
): Promise<ShownCertificates> {
  return new ShownCertificates(options, await options.store.notes(NOTE));
}

export class ShownCertificates {
  readonly #options: ShownCertificatesOptions;
  /** By instance: where the validity of the newest begins. The authority gives each a later begin than the one before. */
  readonly #newest = new Map<string, WallMs>();
  readonly #unwritten = new Set<string>();
  readonly #stop: Cancel;
  #flushAt: MonotonicMs = Infinity;
  #cancelWrite: Cancel = () => undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    options: ShownCertificatesOptions,
    notes: ReadonlyMap<string, string>,
  ) {
    this.#options = options;
    for (const [name, text] of notes) {
      const at = Number(text);
      if (Number.isFinite(at)) this.#newest.set(name.slice(NOTE.length), at);
    }
    // Not at once: a clock that is ahead at the start is set by then.
    this.#stop = options.clock.every(FORGET_EVERY, () => this.#forget());
  }

  get size(): number {
    return this.#newest.size;
  }

  /** The peer has proved itself with a certificate that is valid. */
  shown(peer: Peer): void {
    const instance = instanceOf(peer);
    const known = this.#known(instance);
    const shown = peer.certificateNotBefore;
    if (known !== undefined && known >= shown) return;
    const falls = (this.#newest.get(instance) ?? shown) > shown;
    this.#newest.set(instance, shown);
    this.#write(instance, falls ? GATHERED_FALLEN : GATHERED);
  }

  /**
   * It gets another one just now, which begins then. Where that is before what is noted, the note was made by a clock that is ahead of this
   * one, or this one is behind: nothing that it says may refuse the instance, whatever the clock says next.
   */
  issued(peer: Peer, begins: WallMs): void {
    const instance = instanceOf(peer);
    if ((this.#newest.get(instance) ?? -Infinity) <= begins) return;
    this.#newest.set(instance, begins);
    this.#write(instance, GATHERED_FALLEN);
  }

  /** A person took its Workload away: once they have ended, the certificates that it has until now are not renewed. */
  retire(workload: string, identity: SpiffeUri): void {
    const instance = `${workload} ${identity}`;
    this.#newest.set(instance, this.#leastBegin());
    this.#write(instance);
  }

  /** The instance has shown a newer one, or was retired. */
  isSuperseded(peer: Peer): boolean {
    const known = this.#known(instanceOf(peer));
    return known !== undefined && peer.certificateNotBefore < known;
  }

  async close(): Promise<void> {
    this.#stop();
    this.#flush();
    await this.#writing;
  }

  /** What begins after now was issued while this machine's clock was ahead, and proves nothing. */
  #known(instance: string): WallMs | undefined {
    const at = this.#newest.get(instance);
    return at === undefined || at > this.#options.clock.wall() ? undefined : at;
  }

  /** What is issued now begins no earlier: the authority sets it back by so much, and cuts it to whole seconds. */
  #leastBegin(): WallMs {
    return this.#options.clock.wall() - BACKDATED - 1000;
  }

  #forget(): void {
    const before = this.#options.clock.wall() - FORGOTTEN_AFTER;
    for (const [instance, at] of this.#newest)
      if (at < before) {
        this.#newest.delete(instance);
        this.#write(instance);
      }
  }

  #write(instance: string, within: number = GATHERED): void {
    const { clock } = this.#options;
    this.#unwritten.add(instance);
    const due = clock.now() + within;
    if (due >= this.#flushAt) return;
    this.#cancelWrite();
    this.#flushAt = due;
    this.#cancelWrite = clock.after(within, () => this.#flush());
  }

  #flush(): void {
    this.#cancelWrite();
    this.#flushAt = Infinity;
    const instances = [...this.#unwritten];
    this.#unwritten.clear();
    if (instances.length === 0) return;
    const notes = new Map(
      instances.map((instance) => [
        NOTE + instance,
        this.#newest.get(instance)?.toString(),
      ]),
    );
    const { store, logger } = this.#options;
    this.#writing = this.#writing
      .then(() => store.setNotes(notes))
      .catch((thrown: unknown) => {
        // Less is known after a restart: that refuses nobody.
        logger.error(
          { reason: messageOf(thrown) },
          "which certificates were shown cannot be noted",
        );
      });
  }
}

function instanceOf(peer: Peer): string {
  return `${workloadOf(peer)} ${peer.identity}`;
}
