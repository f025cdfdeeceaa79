/** What this process asked of the machine and did not get: counted by part and error, told once when it begins and once when it is over. */
import { messageOf, systemCode } from "../errors.ts";
import type { Logger } from "../log.ts";

/** What of the process an error of the machine concerns. */
export type MachinePart =
  | "accept"
  | "access-log"
  | "certificate"
  | "config"
  | "connection"
  | "interest"
  | "log"
  | "store";

export interface MachineCount {
  readonly part: MachinePart;
  /** "ENOSPC"; "other" where the system gave no code. */
  readonly error: string;
  readonly count: number;
}

const counts = new Map<string, MachineCount>();
const failing = new Map<MachinePart, number>();

/** Counts one error of the machine. */
export function countMachineError(part: MachinePart, thrown: unknown): void {
  const error = systemCode(thrown) ?? "other";
  const key = `${part} ${error}`;
  const count = (counts.get(key)?.count ?? 0) + 1;
  counts.set(key, { part, error, count });
}

/** What this thread counted since it began. */
export function machineErrors(): Iterable<MachineCount> {
  return counts.values();
}

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
