/** Whether a store can be written: a write that failed is reported once, and small writes are tried until one succeeds. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { MachineFault } from "../../core/machine/machine-errors.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { StoreError } from "./store.ts";

/** Milliseconds between two tries. */
const AGAIN = 1000;

export interface WriteHealthOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly file: string;
  /** A write that changes nothing, and tells of itself by `well` and `failed`. Rejects where it fails. */
  readonly probe: () => Promise<void>;
}

export class WriteHealth {
  readonly #options: WriteHealthOptions;
  readonly #machine: MachineFault;
  #cancel: Cancel | undefined;
  #trying = false;

  constructor(options: WriteHealthOptions) {
    const { logger, file } = options;
    this.#options = options;
    this.#machine = new MachineFault({
      part: "store",
      logger,
      begins: `${file} cannot be written: changes are refused, and sidecars keep what they have`,
      ends: `${file} can be written again`,
    });
  }

  /** Why nothing can be written now; undefined while it can. */
  get fault(): string | undefined {
    return this.#machine.reason;
  }

  failed(error: StoreError): void {
    this.#machine.failed(error);
    this.#cancel ??= this.#options.clock.every(AGAIN, () => {
      // It is tried again.
      this.#try().catch(() => undefined);
    });
  }

  well(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#machine.well();
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#machine.close();
  }

  async #try(): Promise<void> {
    if (this.#trying) return;
    this.#trying = true;
    try {
      await this.#options.probe();
    } catch (thrown) {
      if (!(thrown instanceof StoreError))
        this.#options.logger.error(
          { reason: messageOf(thrown) },
          "the store cannot be tried: a defect",
        );
    } finally {
      this.#trying = false;
    }
  }
}
