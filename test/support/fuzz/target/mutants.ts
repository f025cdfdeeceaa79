/** Mistakes put in on purpose: a copy of the sources with one expression changed, to see that the fuzzer finds what it is for. */
import {
  cp,
  mkdtemp,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../processes/demo.ts";

export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly right: string;
  readonly wrong: string;
}

export const QUADRATIC_TRIM: Mutant = {
  name: "a quadratic trim of the members of a list",
  file: "src/wire/http1/parse/header-section.ts",
  right: ".map(withoutBlanks)\n    .filter(",
  wrong: '.map((text) => text.replace(/[ \\t]+$/, ""))\n    .filter(',
};

export const LOWER_CASE_METHOD: Mutant = {
  name: "a method in lower case over HTTP/2",
  file: "src/wire/http2/hpack/names.ts",
  right: "!isKnownMethod(value)",
  wrong: "!isKnownMethod(value.toUpperCase())",
};

export const TUNNEL_TO_HTTP: Mutant = {
  name: "a tunnel to a port for HTTP",
  file: "src/proxy/exchange/raw-bytes.ts",
  right: "if (takesBytes || !isTunnel(head)) return undefined;",
  wrong:
    "if (takesBytes || head.path === '' || !isTunnel(head)) return undefined;",
};

export const TWO_LENGTHS: Mutant = {
  name: "of two lengths, the last",
  file: "src/wire/http1/parse/header-section.ts",
  right: "if (section.contentLength !== undefined)\n        throw",
  wrong: "if (section.contentLength === -1)\n        throw",
};

/** Lends a checkout with the mistake in it. */
export async function withMutant(
  { name, file, right, wrong }: Mutant,
  use: (root: string) => Promise<void>,
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "wherry-mutant-"));
  try {
    for (const part of ["package.json", "src", "test/support"])
      await cp(join(ROOT, part), join(root, part), { recursive: true });
    await symlink(join(ROOT, "node_modules"), join(root, "node_modules"));
    const path = join(root, file);
    const parts = (await readFile(path, "utf8")).split(right);
    if (parts.length !== 2)
      throw new Error(
        `${name}: ${file} has the text to change ${parts.length - 1} times; write the mistake anew`,
      );
    await writeFile(path, parts.join(wrong));
    await use(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
