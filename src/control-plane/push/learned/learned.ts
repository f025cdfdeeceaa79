/** What the sidecars of each service account used, so that the next one of it starts with what it will need, also while the control plane is away. */
import type { Clock } from "../../../core/clock.ts";
import { messageOf } from "../../../core/errors.ts";
import type { Logger } from "../../../core/log.ts";
import { pauses } from "../../../core/slices.ts";
import type { SpiffeUri } from "../../../core/units.ts";
import type { Store } from "../../store/store.ts";
import type { Peer } from "../peer.ts";
import type { Learned } from "../session-options.ts";
import { AccountUses } from "./account-uses.ts";

/** Service accounts that are known; the one whose last use is longest ago makes room. */
export const MOST_ACCOUNTS = 4096;
/** Milliseconds between two writes of an account. */
export const WRITE_EVERY = 60_000;
/** Every so many of these writes also drop what is not used or not there any more. */
const FORGET_EVERY = 60;
/** Accounts in one transaction, which holds the store for so long. */
const BATCH = 16;
/** How the store's notes of it begin; then comes the account. */
const NOTE = "learned/";

export interface LearnedOptions {
  readonly store: Pick<Store, "notes" | "setNotes">;
  /** Whether the Service "NAMESPACE/NAME" is there. */
  readonly exists: (service: string) => boolean;
  /** Services that connected sidecars use: what was said long ago holds for as long as it is not taken back. */
  readonly inUse: () => Iterable<readonly [Account, service: string]>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What an account's own authenticated sidecars say counts for that account alone. */
export type Account = Pick<Peer, "identity">;

/** Resolves when what the store has of it is read. */
export async function openLearned(
  options: LearnedOptions,
): Promise<LearnedServices> {
  const notes = await options.store.notes(NOTE);
  return new LearnedServices(options, notes);
}

export class LearnedServices implements Learned {
  readonly #options: LearnedOptions;
  /** The one whose last use is longest ago comes first. */
  readonly #accounts = new Map<SpiffeUri, AccountUses>();
  /** Their notes are to be removed. */
  readonly #dropped = new Set<SpiffeUri>();
  readonly #stop: () => void;
  #minutes = 0;
  /** It is time to forget. */
  #late = false;
  #writing: Promise<void> | undefined;
  #failure: string | undefined;

  constructor(options: LearnedOptions, notes: ReadonlyMap<string, string>) {
    const { clock, logger } = options;
    this.#options = options;
    const read: [SpiffeUri, AccountUses][] = [];
    for (const [name, text] of notes) {
      const account: SpiffeUri = name.slice(NOTE.length);
      const uses = AccountUses.read(text, clock.wall());
      if (uses !== undefined) read.push([account, uses]);
      else {
        logger.warn({ account }, "what the account used cannot be read");
        this.#dropped.add(account);
      }
    }
    read.sort(([, a], [, b]) => a.newest - b.newest);
    for (const [account, uses] of read) this.#accounts.set(account, uses);
    this.#makeRoom();
    this.#stop = clock.every(WRITE_EVERY, () => this.#tick());
  }

  /** "NAMESPACE/NAME" of each Service that sidecars of the account used, the one used last first. Whether it may see them still is for others to judge. */
  extra({ identity }: Account): readonly string[] {
    const known = this.#accounts.get(identity);
    return known?.known(this.#options.clock.wall()) ?? [];
  }

  /** A sidecar of the account uses the Service "NAMESPACE/NAME", which it may see. */
  used({ identity }: Account, service: string): void {
    const uses = this.#accounts.get(identity) ?? new AccountUses();
    uses.note(service, this.#options.clock.wall());
    this.#accounts.delete(identity);
    this.#accounts.set(identity, uses);
    this.#dropped.delete(identity);
    this.#makeRoom();
  }

  /** Resolves when all is written, or could not be. */
  async close(): Promise<void> {
    this.#stop();
    await this.#writing;
    await this.#write();
  }

  #makeRoom(): void {
    for (const account of this.#accounts.keys()) {
      if (this.#accounts.size <= MOST_ACCOUNTS) return;
      this.#drop(account);
    }
  }

  #drop(account: SpiffeUri): void {
    this.#accounts.delete(account);
    this.#dropped.add(account);
  }

  #tick(): void {
    this.#minutes += 1;
    this.#late ||= this.#minutes % FORGET_EVERY === 0;
    // Where one takes longer than a minute, the next tick finds what there is to do.
    this.#writing ??= this.#forgetAndWrite().finally(
      () => (this.#writing = undefined),
    );
  }

  async #forgetAndWrite(): Promise<void> {
    if (this.#late) await this.#forget();
    await this.#write();
  }

  async #forget(): Promise<void> {
    const { clock, exists, inUse } = this.#options;
    this.#late = false;
    const pause = pauses(clock);
    for (const [account, service] of inUse()) {
      await pause();
      this.used(account, service);
    }
    for (const [account, uses] of this.#accounts) {
      await pause();
      uses.forget(clock.wall(), exists);
      if (uses.size === 0) this.#drop(account);
    }
  }

  /** In batches, between which others use the store. */
  async #write(): Promise<void> {
    const { clock } = this.#options;
    const pause = pauses(clock);
    try {
      for (const batch of inBatches(this.#unwritten())) {
        await pause();
        const changes = new Map<SpiffeUri, string | undefined>();
        for (const account of batch) {
          const uses = this.#accounts.get(account);
          changes.set(account, uses?.text);
          uses?.written(clock.wall());
          this.#dropped.delete(account);
        }
        await this.#writeBatch(changes);
      }
      this.#failure = undefined;
    } catch (thrown) {
      this.#report(messageOf(thrown));
    }
  }

  async #writeBatch(
    changes: ReadonlyMap<SpiffeUri, string | undefined>,
  ): Promise<void> {
    const notes = Array.from(
      changes,
      ([account, text]) => [NOTE + account, text] as const,
    );
    try {
      await this.#options.store.setNotes(new Map(notes));
    } catch (thrown) {
      for (const account of changes.keys()) {
        const uses = this.#accounts.get(account);
        if (uses === undefined) this.#dropped.add(account);
        else uses.unwritten();
      }
      throw thrown;
    }
  }

  #unwritten(): SpiffeUri[] {
    const changed = Array.from(this.#accounts)
      .filter(([, uses]) => uses.isUnwritten)
      .map(([account]) => account);
    return [...changed, ...this.#dropped];
  }

  /** Once for as long as it lasts. */
  #report(failure: string): void {
    if (failure !== this.#failure)
      this.#options.logger.warn(
        { reason: failure },
        "what sidecars use cannot be written to the store; it is lost if the control plane stops",
      );
    this.#failure = failure;
  }
}

function* inBatches<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let begin = 0; begin < all.length; begin += BATCH)
    yield all.slice(begin, begin + BATCH);
}
