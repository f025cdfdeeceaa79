/** Files that others must not touch: secrets are not used where another user can have read them, and files of roots not where every user can write to them. */
import type { Stats } from "node:fs";
import { open } from "node:fs/promises";
import { replaceFile } from "./directory.ts";
import { messageOf, UserError } from "./errors.ts";

/**
 * The text of a file that holds a secret; `what` names it in messages ("the private key"). Links are followed, and what they lead to is
 * judged. The mode is that of the very file that is read. Throws UserError.
 */
export async function readSecret(file: string, what: string): Promise<string> {
  try {
    await using handle = await open(file, "r");
    const fault = secretFault(await handle.stat(), file, what);
    if (fault !== undefined) throw new UserError(fault);
    return await handle.readFile("utf8");
  } catch (thrown) {
    if (thrown instanceof UserError) throw thrown;
    throw new UserError(`${what} ${file}: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

/** The text of a file that says what is trusted. The mode is that of the very file that is read; links are followed. Throws UserError, or Node's system error. */
export async function readTrusted(file: string): Promise<string> {
  await using handle = await open(file, "r");
  const facts = await handle.stat();
  const fault = facts.isFile() ? tamperFault(facts.mode, file) : undefined;
  if (fault !== undefined) throw new UserError(fault);
  return await handle.readFile("utf8");
}

/** Why what the file of this mode says cannot be believed; undefined where it can. */
export function tamperFault(mode: number, file: string): string | undefined {
  return (mode & 0o002) === 0
    ? undefined
    : `every user of this machine can write to it (mode ${octal(mode)}): look at what it says, then run: chmod o-w ${file}`;
}

/** A line, whole or not at all, and never readable to others. Throws UserError. */
export async function writeSecret(file: string, text: string): Promise<void> {
  try {
    await replaceFile(file, (handle) => handle.writeFile(`${text}\n`));
  } catch (thrown) {
    throw new UserError(`${file} cannot be written: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

/**
 * Why a secret in this file cannot be used, with what to do; undefined where it can. As PostgreSQL has it, which knows containers: at most
 * 0600, and at most 0640 for a file of root's, whose group somebody chose on purpose (fsGroup). The owner is this process's user or root;
 * a process of root's may be handed anybody's file.
 */
export function secretFault(
  facts: Pick<Stats, "mode" | "uid" | "size" | "isFile">,
  file: string,
  what: string,
  user: number = process.geteuid?.() ?? 0,
): string | undefined {
  // A pipe or a terminal has no other reader: what one takes is gone. An empty file holds no secret.
  if (!facts.isFile() || facts.size === 0) return undefined;
  const { mode, uid } = facts;
  const foreign = ownerFault(facts, file, what, user);
  if (foreign !== undefined) return foreign;
  const open = mode & (uid === 0 ? 0o037 : 0o077);
  if (open === 0) return undefined;
  return `${what} ${file} is open to others (mode ${octal(mode)}): run: chmod 600 ${file} (for a volume of Kubernetes: defaultMode 0440 and fsGroup). If others can have read it, make a new one`;
}

/** The same for its owner alone. */
export function ownerFault(
  { uid }: Pick<Stats, "uid">,
  file: string,
  what: string,
  user: number = process.geteuid?.() ?? 0,
): string | undefined {
  return uid === 0 || user === 0 || uid === user
    ? undefined
    : `${what} ${file} belongs to another user (uid ${uid}, this is ${user}), who can read and replace it: run: chown ${user} ${file}`;
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}
