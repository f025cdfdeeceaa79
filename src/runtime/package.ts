/** Where the files of the package are: in a checkout this file is in src/runtime/, in the published bundle all code is in src/. */
import { readFileSync } from "node:fs";
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

export function packageVersion(): string {
  const manifest = readFileSync(new URL("package.json", PACKAGE), "utf8");
  return (JSON.parse(manifest) as { readonly version: string }).version;
}
