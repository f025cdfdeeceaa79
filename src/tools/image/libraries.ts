/** The shared libraries that programs need, with the packages of Debian that they are from. */
import { execFileSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";

export interface SystemPackage {
  readonly name: string;
  readonly version: string;
}

export interface Library {
  /** Where the loader looks for it: an absolute path. */
  readonly path: string;
  /** Absent where the machine has no dpkg, or does not know the file. */
  readonly package?: SystemPackage;
}

/** What all the files need, each once, by path, and the `programs` among them. Throws where one cannot be found. */
export function librariesOf(
  files: readonly string[],
  programs: readonly string[] = [],
): Library[] {
  const paths = new Set([...programs, ...files.flatMap(neededBy)]);
  return [...paths].sort().map((path) => {
    const owner = ownerOf(path);
    return { path, ...(owner === undefined ? {} : { package: owner }) };
  });
}

/** The loader itself says what it would load. */
function neededBy(file: string): string[] {
  return librariesFromLdd(
    file,
    execFileSync("ldd", [file], { encoding: "utf8" }),
  );
}

/** `text`: what `ldd` printed of the file. */
export function librariesFromLdd(file: string, text: string): string[] {
  const found: string[] = [];
  for (const line of text.split("\n")) {
    const missing = /^\s*(\S+) => not found/.exec(line);
    if (missing !== null)
      throw new Error(
        `${file} needs ${missing[1] ?? ""}, which this machine has not got: install it`,
      );
    // The kernel's own (linux-vdso) has no file.
    const path = /(?:=> |^\s*)(\/\S+) \(0x/.exec(line)?.[1];
    if (path !== undefined) found.push(path);
  }
  return found;
}

function ownerOf(path: string): SystemPackage | undefined {
  // dpkg knows a file by the path in its package, which may be another than the loader's on a machine with merged /usr.
  const real = realpathSync(path);
  for (const known of new Set([path, real, real.replace(/^\/usr/, "")])) {
    const name = /^([^:\s]+)(?::\S+)?: /.exec(
      ask(["-S", "--", known]) ?? "",
    )?.[1];
    if (name === undefined) continue;
    const version = ask(["-W", "-f", `\${Version}`, "--", name]);
    if (version !== undefined) return { name, version };
  }
  return undefined;
}

/** Undefined where there is no answer: no dpkg, or a file that it does not know. */
function ask(args: readonly string[]): string | undefined {
  try {
    return execFileSync("dpkg-query", args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return undefined;
  }
}

/** Where Debian keeps a package's licence, if this machine has it: minimal ones leave it out. */
export function licenceOf({ name }: SystemPackage): string | undefined {
  const file = `/usr/share/doc/${name}/copyright`;
  return existsSync(file) ? file : undefined;
}
