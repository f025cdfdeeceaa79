/** Where the files of the package are: in a checkout this file is in src/runtime/, in the published bundle all code is in src/. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const isSource = import.meta.url.endsWith(".ts");

/** The folder that has package.json and config/ in it; ends in a slash. */
export const PACKAGE: URL = new URL(
  isSource ? "../../" : "../",
  import.meta.url,
);

/** What Node is given to run a command. */
export const MAIN: string = fileURLToPath(
  new URL(isSource ? "src/main.ts" : "wherry.js", PACKAGE),
);

/** The same for the same code, and other for any other, also where the version is the same: a SHA-256 in hex. */
export async function programDigest(): Promise<string> {
  const names = await readdir(new URL("src/", PACKAGE), { recursive: true });
  const files = names
    .filter((name) => /\.[cm]?[jt]s$/.test(name))
    .map((name) => `src/${name}`)
    .sort();
  // What a bundle depends on is in it.
  if (isSource) files.push("package-lock.json");
  const hash = createHash("sha256");
  for (const name of ["package.json", ...files])
    hash.update(`${name}\0`).update(
      createHash("sha256")
        .update(await readFile(new URL(name, PACKAGE)))
        .digest(),
    );
  return hash.digest("hex");
}

export function packageVersion(): string {
  const manifest = readFileSync(new URL("package.json", PACKAGE), "utf8");
  return (JSON.parse(manifest) as { readonly version: string }).version;
}
