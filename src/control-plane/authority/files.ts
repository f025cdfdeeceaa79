/** The authority's keys and certificates on disk: made whole at first start, refused where anything about them is doubtful. */
import { createPrivateKey, randomBytes, type KeyObject } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { messageOf, systemCode, UserError } from "../../core/errors.ts";
import { tamperFault } from "../../core/secret-file.ts";

/** The four files of a directory; `rootKey` may be kept elsewhere. */
export interface AuthorityFiles {
  readonly rootCertificate: string;
  readonly rootKey: string | undefined;
  readonly issuingCertificate: string;
  readonly issuingKey: string;
}

const ROOT_CERTIFICATE = "root.crt";
const ROOT_KEY = "root.key";
const ISSUING_CERTIFICATE = "issuing.crt";
const ISSUING_KEY = "issuing.key";
const ALL = [ROOT_CERTIFICATE, ROOT_KEY, ISSUING_CERTIFICATE, ISSUING_KEY];

/**
 * The files of the directory; undefined where it has none of them, or does not exist. Throws UserError where some are missing, cannot
 * be read, or could have been read or replaced by others.
 */
export function readAuthority(directory: string): AuthorityFiles | undefined {
  const present = ALL.filter(
    (name) => modeOf(join(directory, name)) !== undefined,
  );
  if (present.length === 0) return undefined;
  const missing = ALL.filter(
    (name) => name !== ROOT_KEY && !present.includes(name),
  );
  if (missing.length > 0)
    throw new UserError(
      `certificate authority in ${directory}: ${missing.join(" and ")} missing beside ${present.join(" and ")}; put back what is missing, or move the rest away to have a new authority made (every workload must then enrol again)`,
    );
  if (((modeOf(directory) ?? 0) & 0o022) !== 0)
    throw new UserError(
      `certificate authority: ${directory} can be written by others; run: chmod go-w ${directory}`,
    );
  return {
    rootCertificate: read(join(directory, ROOT_CERTIFICATE)),
    rootKey: present.includes(ROOT_KEY)
      ? readKey(join(directory, ROOT_KEY))
      : undefined,
    issuingCertificate: read(join(directory, ISSUING_CERTIFICATE)),
    issuingKey: readKey(join(directory, ISSUING_KEY)),
  };
}

/**
 * Makes the directory with all its files, or nothing: they are written beside it and moved into place in one step, so that a crash leaves
 * no half of an authority, and of two that start together one wins. False where another was first.
 */
export function createAuthority(
  directory: string,
  files: AuthorityFiles,
): boolean {
  const beside = `${directory}.${randomBytes(6).toString("hex")}`;
  try {
    mkdirSync(dirname(directory), { recursive: true, mode: 0o700 });
    mkdirSync(beside, { mode: 0o700 });
    write(join(beside, ROOT_CERTIFICATE), files.rootCertificate, 0o644);
    if (files.rootKey !== undefined)
      write(join(beside, ROOT_KEY), files.rootKey, 0o600);
    write(join(beside, ISSUING_CERTIFICATE), files.issuingCertificate, 0o644);
    write(join(beside, ISSUING_KEY), files.issuingKey, 0o600);
    // Takes the place of an empty directory, and of no other.
    renameSync(beside, directory);
    syncDirectory(dirname(directory));
    return true;
  } catch (error) {
    clearAway(beside);
    const code = systemCode(error);
    if (
      (code === "ENOTEMPTY" || code === "EEXIST") &&
      readAuthority(directory) !== undefined
    )
      return false;
    throw new UserError(
      `certificate authority: ${directory} cannot be made: ${messageOf(error)}${code === "ENOTEMPTY" || code === "EEXIST" ? "; give a directory that is empty or does not exist" : ""}`,
      { cause: error },
    );
  }
}

/** What is left of it is in nobody's way: its name is never used again. */
function clearAway(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // The disk fails: the reason is the error before.
  }
}

/** Replaces the issuing certificate in one step; its key stays, so that no moment has a pair that does not fit. */
export function replaceIssuingCertificate(
  directory: string,
  pem: string,
): void {
  replaceCertificates(join(directory, ISSUING_CERTIFICATE), pem);
}

/** Replaces a file of certificates in one step. */
export function replaceCertificates(path: string, pem: string): void {
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    write(beside, pem, 0o644);
    renameSync(beside, path);
  } catch (error) {
    clearAway(beside);
    throw error;
  }
  syncDirectory(dirname(path));
}

/** A private key of the directory's files; `name` for the message. */
export function parseKey(pem: string, name: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new UserError(
      `certificate authority: ${name} cannot be read: ${messageOf(error)}; give it as unencrypted PEM`,
      { cause: error },
    );
  }
}

function readKey(path: string): string {
  const mode = modeOf(path) ?? 0;
  if ((mode & 0o077) !== 0)
    throw new UserError(
      `certificate authority: the private key ${path} is open to others (mode ${(mode & 0o777).toString(8).padStart(4, "0")}); run: chmod 600 ${path}; if others can have read it, make a new one`,
    );
  return read(path);
}

function read(path: string): string {
  const fault = tamperFault(modeOf(path) ?? 0, path);
  if (fault !== undefined)
    throw new UserError(`certificate authority: ${path}: ${fault}`);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(
      `certificate authority: ${path} cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function modeOf(path: string): number | undefined {
  try {
    return statSync(path).mode;
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT") return undefined;
    throw new UserError(
      `certificate authority: ${path} cannot be looked at: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function write(path: string, text: string, mode: number): void {
  const descriptor = openSync(path, "wx", mode);
  try {
    writeFileSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
