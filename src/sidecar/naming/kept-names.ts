/**
 * Which address stands for which name, in a file of the state directory: what an application holds leads to the same Service after a
 * restart, and while two processes of one sidecar are in each other's place. A name has what the first line of the file gives it.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { closeFile } from "../../agent/state-directory.ts";
import type { Clock } from "../../core/clock.ts";
import { makeDirectory, replaceFile } from "../../core/directory.ts";
import { messageOf, systemCode } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import {
  familyOf,
  isVirtual,
  MOST_VIRTUAL,
  type VirtualAddresses,
  type VirtualName,
} from "../../proxy/dns/virtual-addresses.ts";

export interface KeptNamesOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly names: VirtualAddresses;
}

/** Milliseconds that a name waits for the disk before it is replied to all the same. */
export const WAIT_FOR_DISK = 500;
/** Lines of the file, past which it is written anew: names below a wildcard come and go. */
const MOST_LINES = 4 * MOST_VIRTUAL;
/** Bytes that are read: more was not written here. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Another process may have what a name was to have, and the next one, too. */
const TRIES = 16;

export class KeptNames {
  readonly #options: KeptNamesOptions;
  /** What the file says. */
  readonly #byName = new Map<string, VirtualName>();
  readonly #byAddress = new Map<string, VirtualName>();
  /** Where it was read up to, in which file. */
  #inode = 0;
  #offset = 0;
  #lines = 0;
  /** What has made room, by its address: written with the next name. */
  readonly #forgotten = new Map<string, VirtualName>();
  readonly #learnt: VirtualName[] = [];
  /** Names that wait for the disk, and what they wait for. */
  readonly #claims: VirtualName[] = [];
  #claiming: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(options: KeptNamesOptions) {
    this.#options = options;
    options.names.onForgotten = (name) => {
      if (this.#byAddress.get(name.address)?.host === name.host)
        this.#forgotten.set(name.address, name);
    };
  }

  /** Reads what was written since the last time, by whichever process. Never rejects, and waits for no disk that hangs. */
  catchUp(): Promise<void> {
    return this.#inTime(() => this.#read());
  }

  /** What other processes have given since this was asked last: for the other workers. */
  learnt(): readonly VirtualName[] {
    return this.#learnt.splice(0);
  }

  /** The address that stands for the host from now on: this one, unless the host has another or another host has it. Never rejects. */
  async claim(host: string, address: string): Promise<string> {
    if (this.#claims.length < MOST_VIRTUAL)
      this.#claims.push({ host, address });
    // What comes until the disk has its turn goes along.
    this.#claiming ??= this.#inTime(() => {
      this.#claiming = undefined;
      return this.#settle();
    });
    await this.#claiming;
    return this.#options.names.addressOf(host, familyOf(address));
  }

  async #settle(): Promise<void> {
    let open = this.#claims.splice(0);
    try {
      for (let tries = 0; open.length > 0 && tries < TRIES; tries += 1) {
        if (tries > 0) await this.#append(open);
        await this.#read();
        open = open.flatMap((claim) => this.#unsettled(claim));
      }
    } catch (thrown) {
      // They are tried again with the next one.
      this.#claims.push(...open);
      throw thrown;
    }
  }

  /** What is still to be written of a claim: another process may have been first. */
  #unsettled({ host, address }: VirtualName): readonly VirtualName[] {
    const { names } = this.#options;
    const kept = this.#byName.get(keyOf({ host, address }));
    if (kept === undefined)
      return [{ host, address: names.addressOf(host, familyOf(address)) }];
    names.set(host, kept.address);
    this.#forgotten.delete(kept.address);
    return [];
  }

  /** One after the other. What the disk does not do in time goes on by itself, and others do not wait for it anew. */
  #inTime(run: () => Promise<void>): Promise<void> {
    const { clock, logger, file } = this.#options;
    const late = Promise.withResolvers<undefined>();
    const before = this.#last;
    this.#last = before.then(run).then(
      () => {
        if (this.#failed) logger.info({ file }, "names are kept again");
        this.#failed = false;
      },
      (thrown: unknown) => this.#fail(messageOf(thrown)),
    );
    const stop = clock.after(this.#failed ? 1 : WAIT_FOR_DISK, () => {
      this.#fail("the disk does not respond");
      late.resolve(undefined);
    });
    return Promise.race([this.#last, late.promise]).finally(stop);
  }

  #fail(error: string): void {
    const { logger, file } = this.#options;
    if (!this.#failed)
      logger.warn(
        { file, error },
        "the addresses of names cannot be kept: after a restart an application may have to resolve some again",
      );
    this.#failed = true;
  }

  async #append(added: readonly VirtualName[]): Promise<void> {
    const { file } = this.#options;
    const gone = [...this.#forgotten.values()];
    await makeDirectory(dirname(file));
    {
      await using handle = await open(file, "a", 0o600);
      await handle.appendFile(textOf(gone, added));
    }
    for (const { address } of gone) this.#forgotten.delete(address);
  }

  async #read(): Promise<void> {
    const { file } = this.#options;
    let text = "";
    try {
      await using handle = await open(file, "r");
      await closeFile(handle, file);
      const { ino, size } = await handle.stat();
      if (ino !== this.#inode || size < this.#offset) this.#begin(ino);
      if (size - this.#offset > MOST_BYTES)
        throw new Error(`the file has ${size} bytes`);
      const bytes = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await handle.read(
        bytes,
        0,
        bytes.length,
        this.#offset,
      );
      // What is not whole yet is read the next time.
      const whole = bytes.subarray(0, bytesRead).lastIndexOf("\n") + 1;
      text = bytes.toString("utf8", 0, whole);
      this.#offset += whole;
    } catch (thrown) {
      if (systemCode(thrown) !== "ENOENT") throw thrown;
      this.#begin(0);
    }
    for (const line of text.split("\n")) this.#take(line);
    if (this.#lines > MOST_LINES) await this.#writeAnew();
  }

  #begin(inode: number): void {
    this.#inode = inode;
    this.#offset = 0;
    this.#lines = 0;
    this.#byName.clear();
    this.#byAddress.clear();
  }

  #take(line: string): void {
    if (line === "") return;
    this.#lines += 1;
    const read = readLine(line);
    if (read === undefined) return;
    const { sign, ...name } = read;
    const { host, address } = name;
    const { names } = this.#options;
    const isKept = this.#byAddress.get(address)?.host === host;
    if (sign === "-") {
      if (!isKept) return;
      this.#byName.delete(keyOf(name));
      this.#byAddress.delete(address);
      return;
    }
    // The first to say so has it.
    if (this.#byName.has(keyOf(name)) || this.#byAddress.has(address)) return;
    this.#byName.set(keyOf(name), name);
    this.#byAddress.set(address, name);
    if (names.hostOf(undefined, address) === host) return;
    names.set(host, address);
    this.#learnt.push(name);
  }

  async #writeAnew(): Promise<void> {
    const { file } = this.#options;
    await replaceFile(file, (handle) =>
      handle.writeFile(textOf([], [...this.#byName.values()])),
    );
    this.#lines = this.#byName.size;
  }
}

/** Each line begins on its own: the one before it may have been cut short. */
function textOf(
  gone: readonly VirtualName[],
  added: readonly VirtualName[],
): string {
  const line = (sign: Sign, { host, address }: VirtualName): string =>
    `\n${JSON.stringify([sign, host, address, checksumOf(sign, host, address)])}\n`;
  return [
    ...gone.map((name) => line("-", name)),
    ...added.map((name) => line("+", name)),
  ].join("");
}

type Sign = "+" | "-";

/** Undefined for what was not written here, or not whole. */
function readLine(
  line: string,
): (VirtualName & { readonly sign: Sign }) | undefined {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!Array.isArray(read)) return undefined;
  const [sign, host, address, checksum] = read as readonly unknown[];
  if (sign !== "+" && sign !== "-") return undefined;
  if (typeof host !== "string" || typeof address !== "string") return undefined;
  const isWhole = checksum === checksumOf(sign, host, address);
  return isWhole && isVirtual(address) ? { sign, host, address } : undefined;
}

function checksumOf(sign: Sign, host: string, address: string): string {
  const text = JSON.stringify([sign, host, address]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function keyOf({ host, address }: VirtualName): string {
  return `${familyOf(address)} ${host}`;
}
