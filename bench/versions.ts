/** What was measured with what: the checkout, the machine and the tools, so that figures can be set beside later ones. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { says, versionIn } from "./tools.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Of the machine: asked for before the benchmark pins itself to one. */
export const CORES: number = availableParallelism();

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  readonly tools: Readonly<Record<string, string>>;
}

export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: CORES,
    kernel: release(),
    node: process.version,
    tools: {
      wrk: versionIn(says("wrk", "-v")),
      fortio: versionIn(says("fortio", "version")),
      h2load: versionIn(says("h2load", "--version").replace(/^\S+ \S*\//, "")),
      nginx: versionIn(says("nginx", "-v")),
    },
  };
}

/** The version of a built package of ours and, where it is this checkout's, the commit. */
export function versionOf(dist: string): string {
  const { version } = JSON.parse(
    readFileSync(join(dist, "package.json"), "utf8"),
  ) as { version: string };
  return dist.startsWith(ROOT) || checkout === undefined
    ? `${version}${checkout === undefined ? "" : ` ${checkout}`}`
    : version;
}

/** "c37ec96", with a plus where there is more than was committed; undefined outside a checkout. */
const checkout = ((): string | undefined => {
  const git = (...args: readonly string[]): string | undefined => {
    const { status, stdout } = spawnSync("git", ["-C", ROOT, ...args]);
    return status === 0 ? stdout.toString().trim() : undefined;
  };
  const commit = git("rev-parse", "--short", "HEAD");
  if (commit === undefined) return undefined;
  return git("status", "--porcelain", "src") === "" ? commit : `${commit}+`;
})();
