/** The config in force, kept on disk after each push with what the sidecar knows by it, so that the sidecar starts with it when the control plane is away: a change adds what it changed. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { makeDirectory } from "../core/directory.ts";
import { MachineFault } from "../core/machine/machine-errors.ts";
import type { Logger } from "../core/log.ts";
import { lookupVersion } from "../push/interest.ts";
import { appendToJournal, replaceJournal, type Position } from "./journal.ts";
import {
  CONFIG_FILE,
  FORMAT,
  keyOfUse,
  readConfig,
  type Closing,
  type Entry,
  type Head,
  type Kept,
  type Owner,
} from "./kept-config.ts";
import { NewestWrite } from "./newest-write.ts";
import type { StateDirectory } from "./state-directory.ts";

export interface LastKnownGoodOptions {
  readonly directory: StateDirectory;
  /** Version of this program: what another one wrote is held to this one's schemas, which may have become stricter. */
  readonly program: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Why the config in force is not on disk; undefined once it is. */
  readonly onFailure: (error: string | undefined) => void;
}

interface Owned {
  readonly config: Kept;
  readonly owner: Owner;
}

/** What the file holds, and up to where. */
interface Held extends Owned {
  readonly end: Position;
  /** Bytes after which the file begins anew. */
  readonly most: number;
}

/** What older versions kept, and nothing reads. */
const OLD_FILES = ["snapshot.json", "interest.json"];
/** Bytes: a small config begins anew rarely, too. */
const LEAST = 1024 * 1024;

export class LastKnownGood {
  readonly #options: LastKnownGoodOptions;
  readonly #file: string;
  readonly #writing: NewestWrite<Owned>;
  readonly #machine: MachineFault;
  #held: Held | undefined;

  constructor(options: LastKnownGoodOptions) {
    this.#options = options;
    const { directory, clock, logger } = options;
    this.#file = join(directory.path, CONFIG_FILE);
    this.#machine = new MachineFault({
      ...{ part: "config", logger },
      begins: "the config cannot be kept",
      ends: `the config is kept in ${directory.path} again`,
    });
    this.#writing = new NewestWrite({
      write: (next) => this.#write(next),
      probe: () => directory.probe(),
      onEnd: (failure) => this.#report(failure),
      clock,
    });
  }

  /** What is on disk for `owner`; the reason where there is something that cannot be used. */
  async read(
    owner: Owner,
  ): Promise<Kept | { readonly reason: string } | undefined> {
    const { directory, program, clock } = this.#options;
    const read = await readConfig(directory, owner, program, clock);
    if (read === undefined || "reason" in read) return read;
    const { kept: config, sound } = read;
    if (sound !== undefined)
      this.#held = { config, owner, end: sound.end, most: mostOf(sound.first) };
    return config;
  }

  /** Writes soon; where writes are slower than changes, only the newest is written. */
  keep(config: Kept, owner: Owner): void {
    this.#writing.put({ config, owner });
  }

  /** Resolves when the newest is written, or could not be; goes on. */
  settled(): Promise<void> {
    return this.#writing.settled();
  }

  /** Resolves when what was to be kept is, or could not be. */
  async close(): Promise<void> {
    await this.#writing.close();
    this.#machine.close();
  }

  async #write(next: Owned): Promise<void> {
    if (!(await this.#append(next))) await this.#replace(next);
    const { end, most } = this.#held ?? {};
    if (end !== undefined && most !== undefined && end.bytes > most)
      // The config is on disk already; the next change tries again.
      await this.#replace(next).catch((thrown: unknown) =>
        this.#options.logger.warn(
          { reason: messageOf(thrown), file: this.#file },
          "the file of the config cannot begin anew, and grows",
        ),
      );
  }

  /** False where the file takes no change, and has to begin anew. */
  async #append(next: Owned): Promise<boolean> {
    const held = this.#held;
    if (held === undefined || !isSame(held.owner, next.owner)) return false;
    try {
      const end = await appendToJournal(
        this.#file,
        held.end,
        changes(held.config, next.config),
        closingOf(next.config),
      );
      this.#held = { ...next, end, most: held.most };
      return true;
    } catch (thrown) {
      this.#options.logger.debug(
        { reason: messageOf(thrown), file: this.#file },
        "the file of the config takes no change",
      );
      return false;
    }
  }

  async #replace(next: Owned): Promise<void> {
    const { directory, program } = this.#options;
    await makeDirectory(directory.path);
    const end = await replaceJournal(
      this.#file,
      whole({ format: FORMAT, owner: next.owner, program }, next.config),
      closingOf(next.config),
    );
    this.#held = { ...next, end, most: mostOf(end) };
    for (const name of OLD_FILES)
      await rm(join(directory.path, name), { force: true });
  }

  #report(failure: unknown): void {
    const { directory, onFailure } = this.#options;
    if (failure === undefined) this.#machine.well();
    else
      this.#machine.failed(
        failure,
        `the config cannot be kept in ${directory.path}: ${messageOf(failure)}; without it this sidecar cannot restart while the control plane is away`,
      );
    onFailure(this.#machine.reason);
  }
}

/** So long that what is written in the end is a small multiple of what changes. */
function mostOf({ bytes }: Position): number {
  return 2 * Math.max(LEAST, bytes);
}

function isSame(one: Owner, other: Owner): boolean {
  return one.identity === other.identity && one.name === other.name;
}

function closingOf({
  version,
  receivedAt,
  resources,
  interest: { lookups, services },
}: Kept): Closing {
  const count = resources.size + lookups.size + services.length;
  return { version, receivedAt, count };
}

function* whole(head: Head, kept: Kept): Generator<string | undefined> {
  yield JSON.stringify(head);
  yield* changes({ ...kept, ...NOTHING }, kept);
}

const NOTHING = {
  resources: new Map(),
  interest: { services: [], lookups: new Map() },
} as const;

/**
 * A resource of the same name and version is the same, in one history. Another store, or one that was put back from a backup, may have
 * given the version to another text: what came from it is another object.
 */
function* changes(before: Kept, after: Kept): Generator<string | undefined> {
  const { version: known, interest: old } = before;
  const { version: next, interest } = after;
  const comparable =
    known.store === next.store &&
    known.branch === next.branch &&
    known.revision <= next.revision;
  yield* difference(before.resources, after.resources, {
    isSame: (one, other) =>
      one.version === other.version &&
      (comparable || one.resource === other.resource),
    entry: (name, received) => ({ name, ...received }),
  });
  yield* difference(old.lookups, interest.lookups, {
    isSame: (one, other) =>
      lookupVersion(one.services) === lookupVersion(other.services),
    entry: (lookup, { services }) => ({ lookup, services }),
  });
  yield* difference(usesOf(old.services), usesOf(interest.services), {
    isSame: () => true,
    entry: (_, use) => ({ use }),
  });
}

function usesOf(services: readonly string[]): ReadonlyMap<string, string> {
  return new Map(services.map((service) => [keyOfUse(service), service]));
}

/** Entries that are compared in one turn of the event loop: code that runs once a change is slow code. */
const COMPARED = 1000;

function* difference<T>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  of: {
    readonly isSame: (one: T, other: T) => boolean;
    readonly entry: (key: string, value: T) => Entry;
  },
): Generator<string | undefined> {
  if (before === after) return;
  let compared = 0;
  let kept = 0;
  for (const [key, value] of after) {
    compared += 1;
    if (compared % COMPARED === 0) yield undefined;
    const old = before.get(key);
    if (old !== undefined) kept += 1;
    if (old === undefined || !of.isSame(old, value))
      yield entryOf(of.entry(key, value));
  }
  if (kept === before.size) return;
  for (const key of before.keys()) {
    compared += 1;
    if (compared % COMPARED === 0) yield undefined;
    if (!after.has(key)) yield entryOf({ removed: key });
  }
}

function entryOf(entry: Entry): string {
  return JSON.stringify(entry);
}
