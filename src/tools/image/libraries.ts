/** The shared libraries that programs need, with the packages of Debian that they are from. */
import { execFileSync, spawnSync } from "node:child_process";
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
  const sorted = [...paths].sort();
  const owners = ownersOf(sorted);
  return sorted.map((path) => {
    const owner = owners.get(path);
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

/** The packages by the paths that they have; a path of none is not in it. */
function ownersOf(paths: readonly string[]): Map<string, SystemPackage> {
  const namesOfPath = new Map(paths.map((path) => [path, namesOf(path)]));
  const packageOf = new Map<string, string>();
  const asked = [...namesOfPath.values()].flat();
  for (const line of ask(["-S", "--", ...asked])) {
    const [, name, path] = /^([^,\s]+): (\/.*)$/.exec(line) ?? [];
    if (name !== undefined && path !== undefined) packageOf.set(path, name);
  }
  const packages = [...new Set(packageOf.values())];
  const format = `\${binary:Package} \${Version}\n`;
  const versions = new Map(
    ask(["-W", "-f", format, "--", ...packages]).map((line) => {
      const [name = "", version = ""] = line.split(" ");
      return [name, version];
    }),
  );
  const owners = new Map<string, SystemPackage>();
  for (const [path, names] of namesOfPath) {
    const found = names.map((name) => packageOf.get(name)).find(Boolean);
    const version = found === undefined ? undefined : versions.get(found);
    if (found !== undefined && version !== undefined)
      owners.set(path, { name: found.replace(/:.*/, ""), version });
  }
  return owners;
}

/** dpkg knows a file by the path in its package, which may be another than the loader's on a machine with merged /usr. */
function namesOf(path: string): readonly string[] {
  const real = realpathSync(path);
  return [...new Set([path, real, real.replace(/^\/usr/, "")])];
}

/** The lines of its answer: none where there is no dpkg, and without what it does not know. */
function ask(args: readonly string[]): readonly string[] {
  const { error, stdout } = spawnSync("dpkg-query", args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  if (error !== undefined) return [];
  return stdout.split("\n").filter((line) => line !== "");
}

/** Where Debian keeps a package's licence, if this machine has it: minimal ones leave it out. */
export function licenceOf({ name }: SystemPackage): string | undefined {
  const file = `/usr/share/doc/${name}/copyright`;
  return existsSync(file) ? file : undefined;
}
