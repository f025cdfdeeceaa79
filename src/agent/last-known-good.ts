/** The active config, kept on disk after each push with what the sidecar knows by it, so that the sidecar starts with it when the control plane is away. */
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { MachineFault } from "../core/machine/machine-errors.ts";
import type { Logger } from "../core/log.ts";
import type { Bytes } from "../core/units.ts";
import {
  readConfig,
  writeConfig,
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

export class LastKnownGood {
  readonly #options: LastKnownGoodOptions;
  readonly #writing: NewestWrite<Owned>;
  readonly #machine: MachineFault;
  #bytes = 0;

  constructor(options: LastKnownGoodOptions) {
    this.#options = options;
    const { directory, program, clock, logger } = options;
    this.#machine = new MachineFault({
      ...{ part: "config", logger },
      begins: "the config cannot be kept",
      ends: `the config is kept in ${directory.path} again`,
    });
    this.#writing = new NewestWrite({
      write: async ({ config, owner }) => {
        this.#bytes = await writeConfig(directory, config, owner, program);
      },
      probe: () => directory.probe(),
      onEnd: (failure) => this.#report(failure),
      clock,
    });
  }

  /** Size of the file that was written last. */
  get bytes(): Bytes {
    return this.#bytes;
  }

  /** What is on disk for `owner`; the reason where there is something that cannot be used. */
  read(owner: Owner): Promise<Kept | { readonly reason: string } | undefined> {
    const { directory, program, clock } = this.#options;
    return readConfig(directory, owner, program, clock);
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
