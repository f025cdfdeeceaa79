// `npm run build`: the published package in dist/, or in the folder that is named. TypeScript under node_modules is not stripped by
// Node, so it is bundled here; what is loaded late in the source stays a chunk of its own, so that a sidecar still loads only what it uses.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { SIDECAR_FLAGS } from "../runtime/node-flags.ts";
import { root, runtime } from "../launch.js";
import { validatorModules, validatorsPlugin } from "./validators.ts";

const [, , named] = process.argv;
const out = named === undefined ? join(root, "dist") : resolve(named);
// What stands in dist/ is ours to remove; what stands elsewhere may be anything.
if (named !== undefined && existsSync(out) && readdirSync(out).length > 0)
  throw new Error(
    `${out} is not empty: name a folder that is, or that is not there yet`,
  );
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Holds a native module, which cannot be bundled. */
const NATIVE = ["koffi"];

/**
 * OpenTelemetry's packages ask for each other by require, which needs all of a module, also where it is the one that others import
 * a part of: they get the other form of it, so that a sidecar does not carry for its few parts what the control plane uses.
 */
const OPEN_TELEMETRY = {
  name: "opentelemetry",
  setup(building) {
    building.onResolve({ filter: /^@opentelemetry\// }, (asked) =>
      asked.kind === "require-call"
        ? { path: createRequire(asked.importer).resolve(asked.path) }
        : undefined,
    );
  },
};

/** What `runtime/http.ts` is for, where a package imports `http`: the exporter of spans does. */
const NODE_HTTP = {
  name: "node-http",
  setup(building) {
    building.onResolve({ filter: /^(?:node:)?http$/ }, ({ kind }) =>
      kind === "require-call"
        ? undefined
        : { path: "http", namespace: "node-http" },
    );
    building.onLoad({ filter: /^/, namespace: "node-http" }, () => ({
      contents: `const http = process.getBuiltinModule("node:http");
export const { Agent, IncomingMessage, METHODS, STATUS_CODES, Server, ServerResponse, createServer, get, globalAgent, request } = http;
export default http;`,
    }));
  },
};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const result = await build({
  entryPoints: {
    main: join(root, "src", "main.ts"),
    "node-flags": join(root, "src", "runtime", "node-flags.ts"),
    thread: join(root, "src", "sidecar", "workers", "thread.ts"),
    "database-thread": join(
      root,
      "src",
      "control-plane",
      "store",
      "database-thread.ts",
    ),
    "read-thread": join(root, "src", "agent", "files", "read-thread.ts"),
    ...validatorModules(),
  },
  outdir: join(out, "src"),
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  minifySyntax: true,
  // V8 keeps the text of every module that is loaded, and a third of it was blanks. Names stay, and lines are short, for stack traces.
  minifyWhitespace: true,
  lineLimit: 160,
  legalComments: "linked",
  metafile: true,
  // Modules where a package has them: what is not used of one is left out, and so is its memory.
  mainFields: ["module", "main"],
  external: NATIVE,
  plugins: [NODE_HTTP, OPEN_TELEMETRY, validatorsPlugin(join(root, "src"))],
  // Packages in CommonJS ask for Node's own modules by require.
  banner: {
    js: 'import { createRequire as bundledRequire } from "node:module"; const require = bundledRequire(import.meta.url);',
  },
});
cpSync(join(root, "config"), join(out, "config"), { recursive: true });
for (const page of ["README.md", "CHANGELOG.md"])
  copyFileSync(join(root, page), join(out, page));
writeFileSync(
  join(out, "wherry.js"),
  `#!/usr/bin/env node
// Old Nodes cannot even parse the bundle: they are told so in one line.
if (Number.parseInt(process.versions.node, 10) < 24) {
  process.stderr.write("wherry: needs Node 24 or newer, this is " + process.versions.node + "\\n");
  process.exit(1);
}
const { enableCompileCache } = await import("node:module");
const { fileURLToPath } = await import("node:url");
const directory = fileURLToPath(new URL("compiled", import.meta.url));
// By their place beside it, so that the package may be moved; Node 24 knows a folder alone.
enableCompileCache(Number.parseInt(process.versions.node, 10) > 24 ? { directory, portable: true } : directory);
// Before anything large is loaded: Node begins again where its flags are missing.
const { beginWithFlags, flagsOf } = await import("./src/node-flags.mjs");
beginWithFlags(flagsOf(process.argv[2]));
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
writeFileSync(
  join(out, "packages.json"),
  `${JSON.stringify(packagesIn(result.metafile), undefined, 2)}\n`,
);
compileAhead();
const bytes = Object.values(result.metafile.outputs).reduce(
  (sum, { bytes: size }) => sum + size,
  0,
);
process.stdout.write(
  `${relative(process.cwd(), out)}/: ${Object.keys(result.metafile.outputs).length} files, ${(bytes / 1e6).toFixed(1)} MB\n`,
);

/** What the bundle holds code of, as "NAME@VERSION": for the list of its parts. */
function packagesIn({ inputs }) {
  const folders = Object.keys(inputs).flatMap(
    (path) =>
      /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.slice(0, 1) ?? [],
  );
  const names = [...new Set(folders)].map((folder) => {
    const { name, version } = JSON.parse(
      readFileSync(resolve(folder, "package.json"), "utf8"),
    );
    return `${name}@${version}`;
  });
  return [...new Set(names)].sort();
}

/**
 * Node keeps the compiled form of modules where it may write, and what is installed may be read-only: so it is made here, by the Node
 * that is pinned and with the flags of a sidecar, for it serves no other.
 */
function compileAhead() {
  const modules = readdirSync(join(out, "src")).filter(
    (file) =>
      file.endsWith(".mjs") &&
      file !== "main.mjs" &&
      !file.endsWith("thread.mjs"),
  );
  const { status, stderr } = spawnSync(
    runtime(),
    [
      ...SIDECAR_FLAGS,
      "--input-type=module",
      "--eval",
      `import { enableCompileCache, flushCompileCache } from "node:module";
enableCompileCache({ directory: ${JSON.stringify(join(out, "compiled"))}, portable: true });
for (const file of ${JSON.stringify(modules)}) await import(${JSON.stringify(pathToFileURL(join(out, "src")).href + "/")} + file);
flushCompileCache();
process.exit();`,
    ],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`the modules do not load: ${stderr}`);
}
