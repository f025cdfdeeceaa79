// What has to work on any Node, however old: install what is missing, then run a file on the Node that the project pins.
// Plain JavaScript on purpose: it runs before there is anything that could strip types.
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const OLDEST = 24;
/** Milliseconds after which a turn that was taken is taken for abandoned. */
const INSTALL_WITHIN = 300_000;

/** The folder of the checkout or of the published package. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Installs the dependencies where they are missing or other than the lock file says. Exits where that fails.
 * Of several that find them missing at once one installs and the others wait: "npm ci" begins by taking everything away.
 */
export function install() {
  if (isInstalled()) return;
  const modules = join(root, "node_modules");
  if (existsSync(modules) && lstatSync(modules).isSymbolicLink()) {
    // "npm ci" would empty the folder that another checkout works with.
    process.stderr.write(
      `wherry: ${modules} is a link, and what it leads to is not what the lock file says: install there, or remove the link.\n`,
    );
    process.exit(1);
  }
  const turn = join(root, ".installing");
  const since = Date.now();
  while (!takeTurn(turn)) {
    if (isInstalled()) return;
    if (Date.now() - since > INSTALL_WITHIN)
      rmSync(turn, { force: true, recursive: true });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  try {
    if (isInstalled()) return;
    process.stderr.write(
      "wherry: installing the dependencies (once; about half a minute) …\n",
    );
    const npm = process.env.npm_execpath;
    const [command, first] =
      npm === undefined ? ["npm", []] : [process.execPath, [npm]];
    const args = [
      ...first,
      "ci",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
    ];
    const result = spawnSync(command, args, {
      cwd: root,
      stdio: ["ignore", 2, 2],
    });
    if (result.status === 0) return;
  } finally {
    rmSync(turn, { force: true, recursive: true });
  }
  process.stderr.write(
    `wherry: "npm ci" in ${root} failed; its message stands above. Mend that and start again.\n`,
  );
  process.exit(1);
}

function takeTurn(folder) {
  try {
    mkdirSync(folder);
    return true;
  } catch {
    return false;
  }
}

/** What is installed is what the lock file says; a published package has no lock file and nothing to install. */
function isInstalled() {
  const lock = join(root, "package-lock.json");
  if (!existsSync(lock)) return true;
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  if (statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return true;
  // A checkout may touch the lock file without changing it.
  const wanted = packagesOf(lock);
  return Object.entries(packagesOf(installed)).every(
    ([path, { version }]) => wanted[path]?.version === version,
  );
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages;
}

/** The pinned Node, or this one where it is new enough. Exits where neither is. */
export function runtime() {
  const pinned = join(root, "node_modules", "node", "bin", "node");
  if (existsSync(pinned)) return pinned;
  if (Number.parseInt(process.versions.node, 10) >= OLDEST)
    return process.execPath;
  process.stderr.write(
    `wherry: needs Node ${OLDEST} or newer, this is ${process.versions.node}: "npm ci" in ${root} installs one beside it.\n`,
  );
  process.exit(1);
}

/** Becomes `node arguments`; where this Node cannot, runs it as a child, passes signals on and ends as it ends. */
export function become(node, args, env = process.env) {
  if (typeof process.execve === "function")
    process.execve(node, [node, ...args], env);
  const child = spawn(node, args, { stdio: "inherit", env });
  // A terminal sends Ctrl-C to the child as well: it takes the second one as the same wish.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`wherry: ${node} does not start: ${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
