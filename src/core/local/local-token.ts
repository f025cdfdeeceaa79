/** The token that is needed to change something by a page of this machine: a file in the state directory, which other users cannot read and no web page can. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { access, link, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { makeDirectory, temporaryName } from "../directory.ts";
import { UserError } from "../errors.ts";
import { readSecret } from "../secret-file.ts";

export interface LocalToken {
  /** Where it stands. */
  readonly file: string;
  /** Whether an Authorization field brings it. Takes the same time for every wrong one. */
  admits(authorization: string | undefined): boolean;
}

const SHAPE = /^[A-Za-z0-9_-]{43}$/;
const BEARER = /^Bearer +([A-Za-z0-9_-]{1,100}) *$/i;
const WHAT = "the token of this machine's pages";

/**
 * The token of that file, made where there is none: processes of one state directory share it, and it stays over a restart. Throws
 * UserError where others can read it or it is none, Node's system error where it cannot be made.
 */
export async function openLocalToken(file: string): Promise<LocalToken> {
  await makeDirectory(dirname(file));
  return localToken(file, (await make(file)) ?? (await readLocalToken(file)));
}

/** The token as text, for a command that brings it. Throws UserError where there is none or it may not be used. */
export async function readLocalToken(file: string): Promise<string> {
  const text = (await readSecret(file, WHAT)).trim();
  if (!SHAPE.test(text))
    throw new UserError(
      `${WHAT} ${file} is damaged: remove it, and start again`,
    );
  return text;
}

export function localToken(file: string, text: string): LocalToken {
  const wanted = digest(text);
  return {
    file,
    admits(authorization) {
      const brought = BEARER.exec(authorization ?? "")?.[1];
      return brought !== undefined && timingSafeEqual(digest(brought), wanted);
    },
  };
}

/** Undefined where the file is there, also in a directory that may only be read. It appears whole: a process that starts at the same time reads all of it or makes its own. */
async function make(file: string): Promise<string | undefined> {
  const text = randomBytes(32).toString("base64url");
  const temporary = temporaryName(file);
  try {
    await writeFile(temporary, `${text}\n`, { flag: "wx", mode: 0o600 });
    await link(temporary, file);
    return text;
  } catch (thrown) {
    const there = await access(file).then(
      () => true,
      () => false,
    );
    if (there) return undefined;
    throw thrown;
  } finally {
    await rm(temporary, { force: true });
  }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
