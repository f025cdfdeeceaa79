/** What a sidecar is interested in, kept beside its config, so that one that starts without its control plane knows what it holds whole, and what is not there. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { MachineFault } from "../../core/machine/machine-errors.ts";
import type { Lookup } from "../../push/messages.ts";
import type { Owner } from "../kept-config.ts";
import { NewestWrite } from "../newest-write.ts";
import type { StateDirectory } from "../state-directory.ts";
import type { KeptInterest } from "./mesh-interest.ts";

const INTEREST_FILE = "interest.json";
const FORMAT = 1;
/** Milliseconds between two writes: what is lost with the process is asked again. */
const WRITE_EVERY = 10_000;

interface File {
  readonly format: number;
  readonly owner: Owner;
  readonly services: readonly string[];
  readonly lookups: readonly (readonly [name: string, result: Lookup])[];
}

export interface InterestOnDiskOptions {
  readonly directory: StateDirectory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What is to be written, and whose it is; undefined while that is not known. */
  readonly current: () =>
    | (KeptInterest & { readonly owner: Owner })
    | undefined;
}

export class InterestOnDisk {
  readonly #options: InterestOnDiskOptions;
  readonly #writing: NewestWrite<File>;
  readonly #machine: MachineFault;
  #cancel: Cancel | undefined;

  constructor(options: InterestOnDiskOptions) {
    const { directory, clock, logger } = options;
    this.#options = options;
    this.#machine = new MachineFault({
      ...{ part: "interest", logger },
      begins: "what this sidecar uses is not kept",
      ends: "what this sidecar uses is kept again",
    });
    this.#writing = new NewestWrite({
      write: (file) => directory.write(INTEREST_FILE, file),
      probe: () => directory.probe(),
      onEnd: (failure) => {
        if (failure === undefined) this.#machine.well();
        else this.#machine.failed(failure);
      },
      clock,
    });
  }

  /** Undefined where there is none for `owner`: it will be learned again. */
  async read(owner: Owner): Promise<KeptInterest | undefined> {
    const { directory, logger } = this.#options;
    const stored = await directory.read(INTEREST_FILE);
    if (stored.kind === "damaged")
      logger.warn(
        { reason: stored.reason },
        "what this sidecar used is not known any more",
      );
    if (stored.kind !== "content") return undefined;
    // Past the checksum the file is as this program wrote it; only an older or newer one may have written it otherwise.
    const file = stored.content as File;
    const { name, identity } = file.owner;
    return file.format === FORMAT &&
      name === owner.name &&
      identity === owner.identity
      ? { services: file.services, lookups: new Map(file.lookups) }
      : undefined;
  }

  /** Writes it soon. */
  changed(): void {
    const { clock } = this.#options;
    this.#cancel ??= clock.after(WRITE_EVERY, () => this.#write());
  }

  /** As `close`, and goes on. */
  settled(): Promise<void> {
    if (this.#cancel !== undefined) this.#write();
    return this.#writing.settled();
  }

  /** Resolves when what has changed is written, or could not be. */
  async close(): Promise<void> {
    if (this.#cancel !== undefined) this.#write();
    await this.#writing.close();
    this.#machine.close();
  }

  #write(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const kept = this.#options.current();
    if (kept === undefined) return;
    const { owner, services, lookups } = kept;
    const { name, identity } = owner;
    this.#writing.put({
      format: FORMAT,
      owner: { name, identity },
      services,
      lookups: [...lookups],
    });
  }
}
