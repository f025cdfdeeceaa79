// What has to work on any Node, however old: install what is missing, then run a file on the Node that the project pins.
// Plain JavaScript on purpose: it runs before there is anything that could strip types.
import { spawn } from "node:child_process";
import { existsSync, lstatSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers";
import { fileURLToPath } from "node:url";
import {
  giveTurn,
  holderOf,
  holdTurn,
  isAlive,
  takeTurn,
} from "./install-turn.js";

const OLDEST = 24;
/** Milliseconds between looks at whoever installs, and between words about it. */
const LOOK = 200;
const SAY = 30_000;
/** Says that the checkout of another user may be run as root. */
const TRUST = "WHERRY_TRUST_CHECKOUT";

/** The folder of the checkout or of the published package. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Installs the dependencies where they are missing or other than the lock file says. Exits where that fails.
 * Of several that find them missing at once one installs and the others wait: "npm ci" begins by taking everything away.
 */
export async function install() {
  const lock = join(root, "package-lock.json");
  // A published package has no lock file and nothing to install.
  if (!existsSync(lock)) return;
  refuseForeign(lock);
  if (isInstalled(lock)) return;
  const modules = join(root, "node_modules");
  if (existsSync(modules) && lstatSync(modules).isSymbolicLink())
    // "npm ci" would empty the folder that another checkout works with.
    fail(
      `${modules} is a link, and what it leads to is not what the lock file says: install there, or remove the link.`,
    );
  const turn = join(root, ".installing");
  if (!(await waitForTurn(turn, lock))) return;
  // The other one may have been done between two looks.
  if (isInstalled(lock)) return giveTurn(turn);
  if ((await runNpm(turn)) !== 0)
    fail(
      `"npm ci" in ${root} failed; its message stands above. Mend that and start again.`,
    );
}

/** True with the turn; false where somebody else has installed meanwhile. */
async function waitForTurn(turn, lock) {
  let said = 0;
  for (let looks = 0; ; looks += 1) {
    const { taken, error } = takeTurn(turn);
    if (taken) return true;
    if (error !== undefined)
      fail(
        `the dependencies are not what package-lock.json says, and ${root} cannot be written to (${error.code}): run "npm ci" there as ${ownerOf(root)}, or use a checkout of your own.`,
      );
    if (isInstalled(lock)) return false;
    if (looks * LOOK >= said) {
      say(
        `${describe(holderOf(turn))} installs the dependencies in ${root}; waiting for it …`,
      );
      said += SAY;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

function describe(holder) {
  if (holder === undefined) return "another process";
  const pid = [holder.pid, holder.npm].find((each) => isAlive(each));
  return `process ${pid === undefined ? holder.pid : pid}${holder.host === undefined ? "" : ` on ${holder.host}`}`;
}

/** npm's exit code. The turn is held for as long as npm runs, whatever becomes of this process. */
function runNpm(turn) {
  say("installing the dependencies (once; about half a minute) …");
  const npm = process.env.npm_execpath;
  const [command, first] =
    npm === undefined ? ["npm", []] : [process.execPath, [npm]];
  const child = spawn(
    command,
    [...first, "ci", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: root, stdio: ["ignore", 2, 2] },
  );
  const release = holdTurn(turn, child.pid);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    const ended = (code) => {
      release();
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
        process.removeAllListeners(signal);
      resolve(code);
    };
    child.on("error", (error) => {
      say(`${command} does not start: ${error.message}`);
      ended(1);
    });
    child.on("exit", (code) => ended(code === null ? 1 : code));
  });
}

/**
 * As git's safe.directory: what runs here is its owner's to change, and root would lend him its rights. Who became root by sudo is
 * that owner. In a container, uids may differ without another user being there: the variable says so.
 */
function refuseForeign(lock) {
  if (process.geteuid === undefined || process.geteuid() !== 0) return;
  const trusted = process.env[TRUST];
  if (trusted === "1" || trusted === "true") return;
  const allowed = new Set([0, Number(process.env.SUDO_UID || 0)]);
  for (const path of [root, lock, join(root, "package.json")]) {
    if (!existsSync(path)) continue;
    const { uid } = statSync(path);
    if (!allowed.has(uid))
      fail(
        `${path} belongs to another user (uid ${uid}), and this is root: that user's scripts would run as root. Run it as that user, or set ${TRUST}=1 if you trust what is in ${root}.`,
      );
  }
}

/** Both ways: what is installed is wanted in this version, and what is wanted is installed, but for what is optional, as for another platform. */
function isInstalled(lock) {
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const wanted = packagesOf(lock);
  const present = packagesOf(installed);
  // npm writes it last; what it cannot have written to its end is not there.
  if (wanted === undefined || present === undefined) return false;
  return (
    Object.entries(present).every(
      ([path, { version }]) =>
        wanted[path] !== undefined && wanted[path].version === version,
    ) &&
    Object.entries(wanted).every(
      ([path, { optional, devOptional }]) =>
        path === "" ||
        present[path] !== undefined ||
        optional === true ||
        devOptional === true,
    )
  );
}

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

function ownerOf(path) {
  const { uid } = statSync(path);
  return uid === 0 ? "root" : `its owner (uid ${uid})`;
}

/** On stderr, under the name of the command. */
export function say(text) {
  process.stderr.write(`wherry: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** The pinned Node, or this one where it is new enough. Exits where neither is. */
export function runtime() {
  const pinned = join(root, "node_modules", "node", "bin", "node");
  if (existsSync(pinned)) return pinned;
  if (Number.parseInt(process.versions.node, 10) >= OLDEST)
    return process.execPath;
  return fail(
    `needs Node ${OLDEST} or newer, this is ${process.versions.node}: "npm ci" in ${root} installs one beside it.`,
  );
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
