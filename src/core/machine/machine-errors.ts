/** What fails on this machine for a while: told once when it begins and once when it is over. */
import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import { countMachineError, type MachinePart } from "./machine-counts.ts";

const failing = new Map<MachinePart, number>();

/** Each part that has failed, and in how many places it fails now. */
export function failingParts(): Iterable<readonly [MachinePart, number]> {
  return failing;
}

export interface MachineFaultOptions {
  readonly part: MachinePart;
  readonly logger: Logger;
  /** Said with the reason when it begins, and when the reason becomes another. */
  readonly begins: string;
  /** Said when it is over. */
  readonly ends: string;
}

/** One thing that fails for a while and is well again. */
export class MachineFault {
  readonly #options: MachineFaultOptions;
  #reason: string | undefined;

  constructor(options: MachineFaultOptions) {
    this.#options = options;
  }

  /** Why it fails now; undefined where it does not. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** `reason`: what to say in place of the message of what was thrown. */
  failed(thrown: unknown, reason: string = messageOf(thrown)): void {
    const { part, logger, begins } = this.#options;
    countMachineError(part, thrown);
    if (this.#reason === undefined) change(part, 1);
    if (this.#reason !== reason) logger.error({ reason }, begins);
    this.#reason = reason;
  }

  well(): void {
    if (this.#reason === undefined) return;
    const { part, logger, ends } = this.#options;
    this.#reason = undefined;
    change(part, -1);
    logger.info(ends);
  }

  /** Nobody looks any more: whether it would be well is not known. */
  close(): void {
    if (this.#reason !== undefined) change(this.#options.part, -1);
    this.#reason = undefined;
  }
}

function change(part: MachinePart, by: number): void {
  failing.set(part, (failing.get(part) ?? 0) + by);
}
