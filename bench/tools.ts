/** Programs of others: where they are, and in which version. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../src/core/errors.ts";

/** Where Debian keeps what is for the superuser, besides the path. */
const MORE_FOLDERS = ["/usr/sbin", "/sbin"];

/** Debian's package, or where else it comes from. */
const SOURCES: Readonly<Record<string, string>> = {
  wrk: "Debian: wrk",
  nginx: "Debian: nginx-light",
  taskset: "Debian: util-linux",
  h2load: "Debian: nghttp2-client",
  fortio:
    "go install fortio.org/fortio@v1.66.0, and WHERRY_TOOLS names its folder",
};

/** In $WHERRY_TOOLS, on the path, or where Debian keeps what is for the superuser. */
export function findProgram(name: string): string | undefined {
  const tools = process.env["WHERRY_TOOLS"];
  return [
    ...(tools === undefined ? [] : [tools]),
    ...(process.env["PATH"] ?? "").split(":"),
    ...MORE_FOLDERS,
  ]
    .map((folder) => join(folder, name))
    .find((candidate) => existsSync(candidate));
}

export function program(name: string): string {
  const found = findProgram(name);
  if (found === undefined)
    throw new UserError(
      `${name} is not installed, and this scenario needs it (${SOURCES[name] ?? "search for it by its name"})`,
    );
  return found;
}

/** What a program says of itself; "" where it is missing. */
export function says(name: string, ...args: readonly string[]): string {
  const found = findProgram(name);
  if (found === undefined) return "";
  const { stdout, stderr } = spawnSync(found, args);
  return `${stdout.toString()}${stderr.toString()}`;
}

/** The first thing in a text that looks like a version. */
export function versionIn(text: string): string {
  return /\d+\.\d+(\.\d+)?/.exec(text)?.[0] ?? "unknown";
}
