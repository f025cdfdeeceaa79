/** What a sidecar keeps on disk to start without its control plane: files that are whole or not there, and known to be unharmed. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "../core/directory.ts";
import { messageOf, systemCode, UserError } from "../core/errors.ts";

export type Stored =
  | { readonly kind: "none" }
  /** The reason names the file and what is wrong with it. */
  | { readonly kind: "damaged"; readonly reason: string }
  | {
      readonly kind: "content";
      readonly content: unknown;
      /** Others could read or write the file; they cannot any more. */
      readonly warning?: string;
    };

export interface StateDirectory {
  readonly path: string;
  read(name: string): Promise<Stored>;
  /** Replaces the file whole: a reader, or a crash at any moment, sees the old one or the new one. */
  write(name: string, content: unknown): Promise<void>;
}

/** Bytes that a file may have before reading it is refused. */
const LARGEST = 512 * 1024 * 1024;

// The checksum stands before the content that it is of, so that one text is read, cut and compared.
const HEAD = /^\{"checksum":"([0-9a-f]{64})","content":/;
const HEAD_LENGTH = '{"checksum":"","content":'.length + 64;

const TEMPORARY = /\.json\.[0-9a-f]{8}\.tmp$/;

/** Makes the directory where it is missing, for its owner alone. Throws UserError where it cannot be used. */
export async function openStateDirectory(
  path: string,
): Promise<StateDirectory> {
  try {
    await makeDirectory(path);
    await chmod(path, 0o700);
    // What a crash in the middle of a write has left.
    for (const name of await readdir(path))
      if (TEMPORARY.test(name)) await rm(join(path, name), { force: true });
  } catch (thrown) {
    throw new UserError(
      `the state directory ${path} cannot be used: ${messageOf(thrown)}; give another with --state`,
      { cause: thrown },
    );
  }
  return {
    path,
    read: (name) => read(join(path, name)),
    write: (name, content) => write(path, join(path, name), content),
  };
}

async function read(file: string): Promise<Stored> {
  const damaged = (what: string): Stored => ({
    kind: "damaged",
    reason: `${file} is ignored: ${what}`,
  });
  let text: string;
  let warning: string | undefined;
  try {
    await using handle = await open(file, "r");
    const { size, mode } = await handle.stat();
    if (size > LARGEST) return damaged(`it has ${size} bytes`);
    // Closed instead of refused: a volume that is mounted for a group opens all files on it, each time.
    if ((mode & 0o077) !== 0) {
      await handle.chmod(0o600);
      warning = `${file} was open to others (mode ${(mode & 0o777).toString(8).padStart(4, "0")}) and is 0600 now: if others can have read it, remove it and enrol again`;
    }
    text = await readFile(handle, "utf8");
  } catch (thrown) {
    return systemCode(thrown) === "ENOENT"
      ? { kind: "none" }
      : damaged(messageOf(thrown));
  }
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

async function write(
  directory: string,
  file: string,
  content: unknown,
): Promise<void> {
  const body = JSON.stringify(content);
  const text = `{"checksum":"${checksumOf(body)}","content":${body}}\n`;
  const temporary = `${file}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    {
      await using handle = await open(temporary, "wx", 0o600);
      await handle.writeFile(text);
      await handle.sync();
    }
    await rename(temporary, file);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  // The rename itself must be on the disk, too.
  await using handle = await open(directory, "r");
  await handle.sync();
}

function checksumOf(body: string): string {
  return createHash("sha256").update(body).digest("hex");
}
