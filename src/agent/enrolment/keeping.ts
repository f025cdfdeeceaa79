/** Keeps the newest certificate on the disk, apart from its renewal: a slow disk delays nothing, and what failed is tried until it is written. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { MachineFault } from "../../core/machine/machine-errors.ts";
import { NewestWrite } from "../newest-write.ts";
import type { StateDirectory } from "../state-directory.ts";
import { writeCredentials, type KeptCredentials } from "./kept-credentials.ts";

export interface KeepingOptions {
  readonly directory: StateDirectory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Why it is not on the disk, and, once it is, the reason that was given before. */
  readonly onFailure: (reason: string) => void;
  readonly onWell: (reason: string) => void;
}

export class Keeping {
  readonly #writing: NewestWrite<KeptCredentials>;
  readonly #machine: MachineFault;

  constructor(options: KeepingOptions) {
    const { directory, clock, logger } = options;
    const machine = new MachineFault({
      ...{ part: "certificate", logger },
      begins: "the certificate cannot be kept",
      ends: `the certificate is kept in ${directory.path} again`,
    });
    this.#machine = machine;
    this.#writing = new NewestWrite({
      write: (kept) => writeCredentials(directory, kept),
      probe: () => directory.probe(),
      onEnd(failure) {
        const { reason } = machine;
        if (failure === undefined) {
          machine.well();
          if (reason !== undefined) options.onWell(reason);
          return;
        }
        const text = `the certificate cannot be kept in ${directory.path}: ${messageOf(failure)}; without it this sidecar cannot restart while the control plane is away`;
        machine.failed(failure, text);
        options.onFailure(text);
      },
      clock,
    });
  }

  /** Why the newest is not on the disk; undefined where that is not known, or it is. */
  get failure(): string | undefined {
    return this.#machine.reason;
  }

  put(kept: KeptCredentials): void {
    this.#writing.put(kept);
  }

  /** Resolves when the newest is written, or could not be. */
  settled(): Promise<void> {
    return this.#writing.settled();
  }

  /** The same, and nothing is tried again. */
  async close(): Promise<void> {
    await this.#writing.close();
    this.#machine.close();
  }
}
