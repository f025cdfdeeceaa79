// Whose turn it is to install: held by a living process, and taken over from a dead one only. Plain JavaScript, as launch.js.
import {
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { clearInterval, setInterval } from "node:timers";

/** Milliseconds between signs of life, and without one after which a holder on another host is taken for dead. */
const BEAT = 5000;
const SILENT = 120_000;
/** Milliseconds that a holder has to write who it is. */
const NAMELESS = 10_000;
const OWNER = "owner.json";

/** `taken`, or not since another has it; `error` where the folder cannot be made at all. */
export function takeTurn(folder) {
  if (make(folder)) return { taken: true };
  const seen = holderOf(folder);
  if (!isAbandoned(folder, seen)) return { taken: false, error: madeError };
  // Renamed in one step: of several that find it abandoned, one gets it.
  const aside = `${folder}.${process.pid}`;
  try {
    if (!sameHolder(holderOf(folder), seen)) return { taken: false };
    renameSync(folder, aside);
    rmSync(aside, { force: true, recursive: true });
  } catch {
    return { taken: false };
  }
  return { taken: make(folder) };
}

/** Why the last `make` failed otherwise than by the folder being there. */
let madeError;

function make(folder) {
  madeError = undefined;
  try {
    mkdirSync(folder);
  } catch (error) {
    if (error.code !== "EEXIST") madeError = error;
    return false;
  }
  write(folder, undefined);
  return true;
}

/** Signs of life for as long as this process runs; `npm`: the child that must end, too. Returns what gives the turn back. */
export function holdTurn(folder, npm) {
  write(folder, npm);
  const timer = setInterval(() => {
    try {
      const now = new Date();
      utimesSync(join(folder, OWNER), now, now);
    } catch {
      // Somebody has taken the folder away; npm's own errors will tell.
    }
  }, BEAT);
  timer.unref();
  return () => {
    clearInterval(timer);
    giveTurn(folder);
  };
}

export function giveTurn(folder) {
  rmSync(folder, { force: true, recursive: true });
}

/** Who has it; undefined where that is not written (yet). */
export function holderOf(folder) {
  try {
    return JSON.parse(readFileSync(join(folder, OWNER), "utf8"));
  } catch {
    return undefined;
  }
}

export function isAlive(pid) {
  if (typeof pid !== "number") return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It lives, and is another user's.
    return error.code === "EPERM";
  }
}

function isAbandoned(folder, holder) {
  const file = holder === undefined ? folder : join(folder, OWNER);
  let age;
  try {
    age = Date.now() - statSync(file).mtimeMs;
  } catch {
    return false;
  }
  if (holder === undefined) return age > NAMELESS;
  // Numbers of processes say nothing on another host, or in another container.
  if (holder.place !== place()) return age > SILENT;
  return (
    !isSame(holder.pid, holder.started) &&
    !isSame(holder.npm, holder.npmStarted)
  );
}

/** The process is the one that it was, and not a later one of the same number. */
function isSame(pid, started) {
  return isAlive(pid) && (started === undefined || startOf(pid) === started);
}

function sameHolder(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

function write(folder, npm) {
  const owner = {
    pid: process.pid,
    started: startOf(process.pid),
    npm,
    npmStarted: npm === undefined ? undefined : startOf(npm),
    place: place(),
    host: hostname(),
  };
  writeFileSync(join(folder, OWNER), JSON.stringify(owner));
}

/** Where numbers of processes are unique: this host, and on Linux this namespace. */
function place() {
  let space = "";
  try {
    space = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Not Linux.
  }
  return `${hostname()} ${space}`;
}

/** Clock ticks from boot to the start of the process; undefined where /proc does not say. */
function startOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name of the program stands in brackets and may hold anything.
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
