// The bundle of a checkout, made once for each state of its source: what runs from it starts in a third of the time, as nothing has to
// be read as TypeScript and compiled anew. Plain JavaScript, as launch.js.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";

/** What a bundle is made of, and by. */
const PARTS = [
  "src",
  "config",
  "README.md",
  "CHANGELOG.md",
  "package.json",
  "package-lock.json",
];
/** Where bundles are; npm takes the folder away with the packages. */
const PLACE = join("node_modules", ".cache", "wherry", "bundles");
/** The newest stay: a demo that runs from one may load a part of it late. */
const KEPT = 5;

/** The command in the bundle of the source as it is now; undefined where that was not made. */
export function findBundle(root) {
  // To know which one is to read the whole source.
  if (!existsSync(join(root, PLACE))) return undefined;
  const file = commandIn(placeOf(root));
  return existsSync(file) ? file : undefined;
}

/** As `findBundle`, and makes it where it is missing, with `node`; `say` is told before. Throws an Error with what a build says that fails. */
export function makeBundle(root, node, say) {
  const place = placeOf(root);
  if (existsSync(commandIn(place))) return commandIn(place);
  say("bundling the source (once; some seconds) …");
  const folder = join(root, PLACE);
  mkdirSync(folder, { recursive: true });
  const next = `${place}.${process.pid}`;
  try {
    const { status, signal, stderr } = spawnSync(
      node,
      [
        "--disable-warning=ExperimentalWarning",
        join(root, "src", "tools", "build.js"),
        next,
      ],
      { cwd: root, encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] },
    );
    if (signal !== null) process.kill(process.pid, signal);
    if (status !== 0) throw new Error(stderr.trim());
    move(next, place);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
  removeOld(folder);
  return commandIn(place);
}

/** Another one may have made the same meanwhile. */
function move(next, place) {
  try {
    renameSync(next, place);
  } catch (error) {
    if (!existsSync(commandIn(place))) throw error;
  }
}

function commandIn(place) {
  return join(place, "wherry.js");
}

function placeOf(root) {
  const hash = createHash("sha256");
  for (const file of PARTS.flatMap((part) => filesIn(root, part))) {
    const text = readFileSync(join(root, file));
    hash.update(`${file}\0${text.length}\0`).update(text);
  }
  return join(root, PLACE, hash.digest("hex").slice(0, 16));
}

function filesIn(root, part) {
  if (!statSync(join(root, part)).isDirectory()) return [part];
  return readdirSync(join(root, part), { withFileTypes: true })
    .sort((left, right) => (left.name < right.name ? -1 : 1))
    .flatMap((entry) =>
      entry.isDirectory()
        ? filesIn(root, join(part, entry.name))
        : [join(part, entry.name)],
    );
}

/** What a build that was killed has left goes in its turn. Another process may be at the same. */
function removeOld(folder) {
  const madeAt = (path) =>
    statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  readdirSync(folder)
    .map((name) => join(folder, name))
    .sort((left, right) => madeAt(right) - madeAt(left))
    .slice(KEPT)
    .forEach((path) => rmSync(path, { recursive: true, force: true }));
}
