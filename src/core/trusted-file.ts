/** Files that say who is trusted: no secrets, and not used where anybody may write into them. */
import { open } from "node:fs/promises";
import { UserError } from "./errors.ts";

/** The text. The mode is that of the very file that is read; links are followed. Throws UserError, or Node's system error. */
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
    : `every user of this machine can write to it (mode ${(mode & 0o777).toString(8).padStart(4, "0")}): look at what it says, then run: chmod o-w ${file}`;
}
