/** Which checks have passed on the very content that the checkout has now. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** What is installed: packages bring rules and types. */
const INSTALLED = "node_modules/.package-lock.json";

export class Unchanged {
  readonly #file: string;
  readonly #root: string;
  /** The digest on which each check has passed. */
  readonly #passed: Record<string, string>;

  /** @param file where this is kept from one run to the next */
  constructor(root: string, file: string) {
    this.#root = root;
    this.#file = file;
    this.#passed = read(file);
  }

  /** Of every file that git knows or would take, and of what is installed; undefined where git does not say. */
  digest(): string | undefined {
    const listed = listedIn(this.#root);
    if (listed === undefined) return undefined;
    const digest = createHash("sha256");
    for (const file of [...new Set([...listed, INSTALLED])].sort()) {
      // One that is removed, but not yet for git, has no text.
      const text = textOf(join(this.#root, file)) ?? "";
      digest.update(`${file}\0${text.length}\0${text}`);
    }
    return digest.digest("hex");
  }

  has(check: string, digest: string | undefined): boolean {
    return digest !== undefined && this.#passed[check] === digest;
  }

  passed(check: string, digest: string | undefined): void {
    if (digest === undefined) return;
    this.#passed[check] = digest;
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, JSON.stringify(this.#passed));
  }
}

/** Nothing has passed where there is no such file, or where a run was ended while it wrote. */
function read(file: string): Record<string, string> {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, string>;
  } catch {
    return {};
  }
}

function listedIn(root: string): readonly string[] | undefined {
  try {
    return execFileSync(
      "git",
      ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
      {
        cwd: root,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
        maxBuffer: 1e8,
      },
    ).split("\0");
  } catch {
    return undefined;
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
