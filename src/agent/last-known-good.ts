/** The config in force, kept on disk after each acknowledged push, so that the sidecar starts with it when the control plane is away: a change adds what it changed. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { makeDirectory } from "../core/directory.ts";
import { MachineFault } from "../core/machine/machine-errors.ts";
import type { Logger } from "../core/log.ts";
import { appendToJournal, replaceJournal, type Position } from "./journal.ts";
import {
  CONFIG_FILE,
  FORMAT,
  OLD_CONFIG_FILE,
  readConfig,
  type Closing,
  type Entry,
  type Head,
  type KeptConfig,
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
  readonly config: KeptConfig;
  readonly owner: Owner;
}

/** What the file holds, and up to where. */
interface Held extends Owned {
  readonly end: Position;
  /** Bytes after which the file begins anew. */
  readonly most: number;
}

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
  ): Promise<KeptConfig | { readonly reason: string } | undefined> {
    const { directory, program, clock, logger } = this.#options;
    const kept = await readConfig(directory, owner, program, clock);
    if (kept === undefined || "reason" in kept) return kept;
    const { config, damage, sound } = kept;
    if (damage !== undefined)
      logger.error(
        { reason: damage, revision: config.version.revision },
        "the newest config on disk is damaged, and the one before it is used",
      );
    if (sound !== undefined)
      this.#held = { config, owner, end: sound.end, most: mostOf(sound.first) };
    return config;
  }

  /** Writes soon; where writes are slower than changes, only the newest is written. */
  keep(config: KeptConfig, owner: Owner): void {
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
    await rm(join(directory.path, OLD_CONFIG_FILE), { force: true });
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

function closingOf({ version, receivedAt, resources }: KeptConfig): Closing {
  return { version, receivedAt, count: resources.size };
}

function* whole(head: Head, { resources }: KeptConfig): Generator<string> {
  yield JSON.stringify(head);
  for (const [name, received] of resources)
    yield entryOf({ name, ...received });
}

/** Resources that are compared in one turn of the event loop: code that runs once a change is slow code. */
const COMPARED = 1000;

/**
 * A resource of the same name and version is the same, in one history. Another store, or one that was put back from a backup, may have
 * given the version to another text: what came from it is another object.
 */
function* changes(
  { resources: before, version: known }: KeptConfig,
  { resources: after, version: next }: KeptConfig,
): Generator<string | undefined> {
  const comparable =
    known.store === next.store &&
    known.branch === next.branch &&
    known.revision <= next.revision;
  let compared = 0;
  let kept = 0;
  for (const [name, received] of after) {
    compared += 1;
    if (compared % COMPARED === 0) yield undefined;
    const old = before.get(name);
    if (old !== undefined) kept += 1;
    if (
      old?.version !== received.version ||
      (!comparable && old.resource !== received.resource)
    )
      yield entryOf({ name, ...received });
  }
  if (kept === before.size) return;
  for (const name of before.keys()) {
    compared += 1;
    if (compared % COMPARED === 0) yield undefined;
    if (!after.has(name)) yield entryOf({ removed: name });
  }
}

function entryOf(entry: Entry): string {
  return JSON.stringify(entry);
}
