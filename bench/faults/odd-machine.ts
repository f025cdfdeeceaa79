/** What is odd about the machine of one of the hosts: where its state is, and where its log goes. */
import { join } from "node:path";
import { UserError } from "../../src/core/errors.ts";
import {
  failingDisk,
  type FailingDisk,
} from "../../test/support/faults/failing-disk.ts";
import {
  smallDisk,
  type SmallDisk,
} from "../../test/support/faults/full-disk.ts";
import type { HostName } from "./layout.ts";

export interface Oddity {
  readonly host: HostName;
  /** Its state is on a small disk of its own: one that can be filled and made read-only, or one that can fail. */
  readonly disk?: "small" | "failing";
  /** Its log goes to a pipe that is full, and that nobody reads. */
  readonly blockedLog?: boolean;
}

/** Bytes. */
const SMALL_DISK = 16 * 1024 * 1024;
/** Bytes that a pipe of Linux holds. */
const PIPE = 65_536;

export class OddMachine {
  readonly #odd: Oddity | undefined;
  readonly #directory: string;
  readonly #disk: SmallDisk | FailingDisk | undefined;

  /** `directory`: where the state of hosts is that have nothing odd. */
  constructor(odd: Oddity | undefined, directory: string) {
    this.#odd = odd;
    this.#directory = directory;
    if (odd?.disk === undefined) return;
    const make = odd.disk === "small" ? smallDisk : failingDisk;
    this.#disk = make(SMALL_DISK);
    if (this.#disk === undefined)
      throw new UserError("a small file system cannot be mounted");
  }

  /** Where the small disk is. */
  get disk(): string {
    if (this.#disk === undefined) throw new Error("no small disk");
    return this.#disk.directory;
  }

  get failingDisk(): FailingDisk {
    if (this.#disk === undefined || !("fail" in this.#disk))
      throw new Error("no disk that fails");
    return this.#disk;
  }

  /** What begins a process of the host: a shell where its log is odd. */
  shell(name: HostName): string[] {
    if (this.#odd?.blockedLog !== true || this.#odd.host !== name) return [];
    const pipe = join(this.#directory, "log");
    const script = `mkfifo ${pipe}; exec 3<>${pipe}; head -c ${PIPE} /dev/zero >&3; exec "$@" >&3 2>&3`;
    return ["sh", "-c", script, "sh"];
  }

  state(name: HostName): string {
    return this.#odd?.host === name && this.#disk !== undefined
      ? join(this.#disk.directory, "state")
      : join(this.#directory, name);
  }

  close(): void {
    this.#disk?.unmount();
  }
}
