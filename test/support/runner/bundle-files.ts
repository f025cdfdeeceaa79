/** Packages that test files get as one file each: to find and read their hundreds of modules takes longer than most unit tests do. */
import { join } from "node:path";

const PACKAGES = ["tap", "typebox"];

/** Below a folder named "@tapjs": tap leaves its own frames out of the stacks that it shows. */
const FOLDER = join(
  import.meta.dirname,
  "../../../node_modules/.cache/node_modules/@tapjs/bundles",
);

/** The file of each package. */
export const BUNDLES: ReadonlyMap<string, string> = new Map(
  PACKAGES.map((name) => [name, join(FOLDER, `${name}.mjs`)]),
);
