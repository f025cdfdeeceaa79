/** Makes the packages that test files get as one file each. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { BUNDLES } from "./bundle-files.ts";

/** Gives what Node is told before the name of a test file. */
export async function makeBundles(): Promise<readonly string[]> {
  await Promise.all(
    [...BUNDLES].map(async ([name, file]) => {
      const text = await bundled(name);
      if (text !== contentOf(file)) replace(file, text);
    }),
  );
  const hook = join(import.meta.dirname, "use-bundles.ts");
  return ["--import", pathToFileURL(hook).href];
}

async function bundled(name: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: `export * from "${name}"; export { default } from "${name}";`,
      resolveDir: import.meta.dirname,
    },
    bundle: true,
    write: false,
    platform: "node",
    format: "esm",
    target: "node24",
    alias: { "async-hook-domain": join(import.meta.dirname, "tap-domain.ts") },
    // Packages in CommonJS ask for Node's own modules by require.
    banner: {
      js: 'import { createRequire as bundledRequire } from "node:module"; const require = bundledRequire(import.meta.url);',
    },
  });
  return outputFiles.map(({ text }) => text).join("");
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/** At once: another run of this checkout may be reading it. */
function replace(file: string, text: string): void {
  const next = `${file}.${process.pid}`;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(next, text);
  renameSync(next, file);
}
