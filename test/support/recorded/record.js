// `node test/support/recorded/record.js TREE FILE`: the code of a checkout of a version as one compressed file, for tests to run it
// beside this one. Packages are not in it: it runs with those of the checkout that it is tested in.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { build } from "esbuild";

const [, , tree = ".", file = "recorded.mjs.br"] = process.argv;
const {
  outputFiles: [{ contents }],
} = await build({
  entryPoints: [join(resolve(tree), "src", "main.ts")],
  bundle: true,
  minify: true,
  format: "esm",
  platform: "node",
  target: "node24",
  packages: "external",
  legalComments: "none",
  write: false,
});
writeFileSync(
  file,
  brotliCompressSync(contents, {
    params: { [constants.BROTLI_PARAM_SIZE_HINT]: contents.length },
  }),
);
