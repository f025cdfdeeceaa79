/** What a sidecar keeps on disk to start without its control plane: files that are whole or not there, and known to be unharmed. */
import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import {
  open,
  readdir,
  readFile,
  rm,
  stat,
  type FileHandle,
} from "node:fs/promises";
import { join } from "node:path";
import { systemClock, type Clock } from "../core/clock.ts";
import {
  makeDirectory,
  narrow,
  replaceFile,
  temporaryName,
} from "../core/directory.ts";
import { again, isOfTheMachine } from "../core/machine/again.ts";
import { messageOf, systemCode, UserError } from "../core/errors.ts";
import { ownerFault, secretFault } from "../core/secret-file.ts";

export type Stored =
  | { readonly kind: "none" }
  /** The reason names the file and what is wrong with it. */
  | { readonly kind: "damaged"; readonly reason: string }
  | {
      readonly kind: "content";
      readonly content: unknown;
      /** Others could read or write the file. */
      readonly warning?: string;
    };

export interface StateDirectory {
  readonly path: string;
  /** Why nothing can be kept in it, with what that means; undefined where it can. */
  readonly readOnly: string | undefined;
  /** What else is wrong with it, for the log. */
  readonly warning: string | undefined;
  read(name: string): Promise<Stored>;
  /** Replaces the file whole: a reader, or a crash at any moment, sees the old one or the new one. */
  write(name: string, content: unknown): Promise<void>;
  /** Rejects where nothing can be written now. */
  probe(): Promise<void>;
}

/** Bytes that a file may have before reading it is refused. */
export const LARGEST: number = 512 * 1024 * 1024;

// The checksum stands before the content that it is of, so that one text is read, cut and compared.
const HEAD = /^\{"checksum":"([0-9a-f]{64})","content":/;
const HEAD_LENGTH = '{"checksum":"","content":'.length + 64;

/** What `temporaryName` makes of a file of state. */
const TEMPORARY = /\.jsonl?\.[0-9a-f]{8}\.tmp$/;

/**
 * Makes the directory where it is missing, for its owner alone. One that may only be read will do: what it holds is enough to start with.
 * So will one that the machine keeps from being made or looked at: it is tried again at each write. `shared`: another process may be writing there. Throws UserError where it cannot be used.
 */
export async function openStateDirectory(
  path: string,
  clock: Clock = systemClock,
  { shared = false }: { readonly shared?: boolean } = {},
): Promise<StateDirectory> {
  const { readOnly, warning } = await prepare(path, clock, shared);
  return {
    path,
    readOnly,
    warning,
    read: (name) => read(join(path, name), clock),
    async write(name, content) {
      await makeDirectory(path);
      await write(join(path, name), content);
    },
    async probe() {
      await makeDirectory(path);
      await probe(path);
    },
  };
}

async function prepare(
  path: string,
  clock: Clock,
  shared: boolean,
): Promise<Pick<StateDirectory, "readOnly" | "warning">> {
  try {
    await again(clock, () => makeDirectory(path));
    const warning = await again(clock, () => closeToOthers(path));
    const readOnly = await again(clock, () => whyReadOnly(path));
    if (readOnly === undefined && !shared) await clearTemporary(path);
    return { readOnly, warning };
  } catch (thrown) {
    const text = `the state directory ${path} cannot be used: ${messageOf(thrown)}`;
    if (isOfTheMachine(thrown))
      return {
        readOnly: `${text}; nothing is kept for a restart until it can`,
        warning: undefined,
      };
    throw new UserError(`${text}; give another with --state`, {
      cause: thrown,
    });
  }
}

/** What to say where others can put files into it and that cannot be changed: its files themselves are closed to them. */
async function closeToOthers(path: string): Promise<string | undefined> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return undefined;
  try {
    await narrow(path, mode, 0o700);
  } catch (thrown) {
    if ((mode & 0o022) !== 0)
      return `the state directory ${path} is open to others (${octal(mode)}), who could put files there: ${messageOf(thrown)}; run: chmod 700 ${path}`;
  }
  return undefined;
}

/** Found by making a file: `access` speaks of the real user of the process, and of modes alone. */
async function whyReadOnly(path: string): Promise<string | undefined> {
  await readdir(path);
  const probe = temporaryName(join(path, "probe.json"));
  try {
    await (await open(probe, "wx", 0o600)).close();
    await rm(probe);
    return undefined;
  } catch (thrown) {
    return `the state directory ${path} may only be read: ${messageOf(thrown)}; what it holds is used, and no newer config or certificate is kept for a restart`;
  }
}

/** Removes what a crash in the middle of a write has left, as far as that can be done now. */
async function clearTemporary(path: string): Promise<void> {
  try {
    for (const name of await readdir(path))
      if (TEMPORARY.test(name)) await rm(join(path, name), { force: true });
  } catch {
    // It takes room, and does no harm: the next start removes it.
  }
}

/** As much as a page, and on the disk: what is full takes an empty file all the same. */
async function probe(path: string): Promise<void> {
  const file = temporaryName(join(path, "probe.json"));
  try {
    await using handle = await open(file, "wx", 0o600);
    await handle.write(Buffer.alloc(4096));
    await handle.sync();
  } finally {
    await rm(file, { force: true });
  }
}

async function read(file: string, clock: Clock): Promise<Stored> {
  const damaged = (what: string): Stored => ({
    kind: "damaged",
    reason: `${file} is ignored: ${what}`,
  });
  let found: Awaited<ReturnType<typeof readText>>;
  try {
    found = await again(clock, () => readText(file));
  } catch (thrown) {
    return systemCode(thrown) === "ENOENT"
      ? { kind: "none" }
      : damaged(messageOf(thrown));
  }
  const { text, size, warning } = found;
  if (text === undefined) return damaged(`it has ${size} bytes`);
  const checksum = HEAD.exec(text)?.[1];
  const body = text.slice(HEAD_LENGTH, text.lastIndexOf("}"));
  if (checksum === undefined || checksum !== checksumOf(body))
    return damaged("its checksum does not fit: it was cut short or changed");
  try {
    return {
      kind: "content",
      content: JSON.parse(body) as unknown,
      ...(warning === undefined ? {} : { warning }),
    };
  } catch (thrown) {
    return damaged(messageOf(thrown));
  }
}

/** Without a text where it is too large. */
async function readText(file: string): Promise<{
  readonly text?: string;
  readonly size: number;
  readonly warning?: string | undefined;
}> {
  await using handle = await open(file, "r");
  const { size } = await handle.stat();
  if (size > LARGEST) return { size };
  const warning = await closeFile(handle, file);
  return { size, warning, text: await readFile(handle, "utf8") };
}

/**
 * Closed instead of refused: a volume that is mounted for a group opens all files on it, each time. Throws where another user has put it
 * there, and not by such a group: the identity and the roots would be that user's choice.
 */
export async function closeFile(
  handle: FileHandle,
  file: string,
): Promise<string | undefined> {
  const facts = await handle.stat();
  const foreign = ownerFault(facts, file, "the file");
  if (foreign !== undefined && !isOfOurGroup(facts)) throw new Error(foreign);
  if ((facts.mode & 0o077) === 0) return undefined;
  const advice = "if others can have read it, remove it and enrol again";
  try {
    await handle.chmod(0o600);
    return `${file} was open to others (${octal(facts.mode)}) and is 0600 now: ${advice}`;
  } catch (thrown) {
    // The group of a volume that may only be read was chosen where it was mounted (fsGroup).
    if (secretFault(facts, file, "the file") === undefined) return undefined;
    return `${file} is open to others (${octal(facts.mode)}) and cannot be closed: ${messageOf(thrown)}; ${advice}`;
  }
}

/** As fsGroup has it: nobody else than the group. */
function isOfOurGroup({ mode, gid }: Pick<Stats, "mode" | "gid">): boolean {
  return (mode & 0o007) === 0 && process.getgroups?.().includes(gid) === true;
}

function octal(mode: number): string {
  return `mode ${(mode & 0o777).toString(8).padStart(4, "0")}`;
}

async function write(file: string, content: unknown): Promise<void> {
  const body = JSON.stringify(content);
  const text = `{"checksum":"${checksumOf(body)}","content":${body}}\n`;
  await replaceFile(file, (handle) => handle.writeFile(text));
}

function checksumOf(body: string): string {
  return createHash("sha256").update(body).digest("hex");
}
