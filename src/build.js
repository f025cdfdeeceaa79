// `npm run build`: the published package in dist/. TypeScript under node_modules is not stripped by Node, so it is bundled here;
// what is loaded late in the source stays a chunk of its own, so that a sidecar still loads only what it uses.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { root } from "./launch.js";

const out = join(root, "dist");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Holds a native module, which cannot be bundled. */
const NATIVE = ["koffi"];

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const result = await build({
  entryPoints: {
    main: join(root, "src", "main.ts"),
    thread: join(root, "src", "proxy", "workers", "thread.ts"),
  },
  outdir: join(out, "src"),
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  minifySyntax: true,
  legalComments: "linked",
  metafile: true,
  // Modules where a package has them: what is not used of one is left out, and so is its memory.
  mainFields: ["module", "main"],
  external: NATIVE,
  // Packages in CommonJS ask for Node's own modules by require.
  banner: {
    js: 'import { createRequire as bundledRequire } from "node:module"; const require = bundledRequire(import.meta.url);',
  },
});
cpSync(join(root, "config"), join(out, "config"), { recursive: true });
copyFileSync(join(root, "README.md"), join(out, "README.md"));
writeFileSync(
  join(out, "wherry.js"),
  `#!/usr/bin/env node
// Old Nodes cannot even parse the bundle: they are told so in one line.
if (Number.parseInt(process.versions.node, 10) < 24) {
  process.stderr.write("wherry: needs Node 24 or newer, this is " + process.versions.node + "\\n");
  process.exit(1);
}
await import("./src/main.mjs");
`,
);
chmodSync(join(out, "wherry.js"), 0o755);
const dependencies = Object.fromEntries(
  NATIVE.map((name) => [name, manifest.dependencies[name]]),
);
const { name, version, description, license, type, engines } = manifest;
writeFileSync(
  join(out, "package.json"),
  `${JSON.stringify({ name, version, description, license, type, engines, bin: { wherry: "wherry.js" }, dependencies }, undefined, 2)}\n`,
);
const bytes = Object.values(result.metafile.outputs).reduce(
  (sum, { bytes: size }) => sum + size,
  0,
);
process.stdout.write(
  `dist/: ${Object.keys(result.metafile.outputs).length} files, ${(bytes / 1e6).toFixed(1)} MB\n`,
);
