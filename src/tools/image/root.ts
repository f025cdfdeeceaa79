/** Lays out the files of the image: the pinned Node and nft with the libraries that they need, and the package. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { UserError } from "../../core/errors.ts";
import { CHECKOUT, HOME, NFT, STATE, TOKENS, USER } from "./config.ts";
import { librariesOf, licenceOf, type Library } from "./libraries.ts";

/** The two layers: what changes with Node or the machine, and what changes with each version. */
export interface Layers {
  readonly base: string;
  readonly program: string;
  readonly libraries: readonly Library[];
}

/** What the file system has of names: users to those that ask for one, and how hosts are resolved. */
const FILES: Readonly<Record<string, string>> = {
  "etc/passwd": `root:x:0:0:root:/:/nonexistent\nwherry:x:${USER}:${USER}:Wherry:/${STATE}:/nonexistent\n`,
  "etc/group": `root:x:0:\nwherry:x:${USER}:\n`,
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

/** Empty folders, with the owner and the mode that they get in the image. */
export const FOLDERS: readonly {
  readonly path: string;
  readonly user: number;
  readonly mode: string;
}[] = [
  { path: "tmp", user: 0, mode: "1777" },
  { path: STATE, user: USER, mode: "0700" },
  { path: TOKENS, user: USER, mode: "0700" },
];

/** `folder`: an empty one. `node`: the pinned Node's program. */
export function layOut(folder: string, node: string): Layers {
  const base = join(folder, "base");
  const program = join(folder, "program");
  const home = join(program, HOME);
  mkdirSync(dirname(home), { recursive: true });
  execFileSync(
    process.execPath,
    [join(CHECKOUT, "src", "tools", "build.js"), home],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const native = copyNative(home);
  put(node, base, "usr/bin/node");
  if (!existsSync(NFT))
    throw new UserError(
      `${NFT} is missing, which "wherry intercept" runs in a pod: install nftables`,
    );
  const libraries = librariesOf([node, ...native, NFT], [NFT]);
  for (const { path, package: owner } of libraries) {
    put(realpathSync(path), base, path);
    const licence = owner === undefined ? undefined : licenceOf(owner);
    if (licence !== undefined) put(licence, base, licence);
  }
  for (const [path, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), text);
  }
  for (const { path } of FOLDERS)
    mkdirSync(join(base, path), { recursive: true });
  return { base, program, libraries };
}

/** koffi, for this machine alone: its packages hold sources and other C libraries as well. Returns the native modules. */
function copyNative(home: string): string[] {
  const machine = `linux-${process.arch}`;
  const triplet = machine.replace("-", "_");
  const from = join(CHECKOUT, "node_modules");
  const to = join(home, "node_modules");
  const files = [
    ...["package.json", "index.cjs", "index.js", "indirect.cjs", "indirect.js"]
      .concat("LICENSE.txt")
      .map((file) => `koffi/${file}`),
    ...readdirSync(join(from, "koffi", "src", "koffi"), { recursive: true })
      .map(String)
      .filter((file) => /\.c?js$/.test(file))
      .map((file) => `koffi/src/koffi/${file}`),
    ...["package.json", "index.js", `${triplet}/koffi.node`].map(
      (file) => `@koromix/koffi-${machine}/${file}`,
    ),
  ];
  for (const file of files) put(join(from, file), to, file);
  // Loaded once from where it is now: what is missing is missing here, and not in a container.
  createRequire(join(to, "here.js"))("koffi");
  return files
    .filter((file) => file.endsWith(".node"))
    .map((file) => join(to, file));
}

function put(from: string, base: string, path: string): void {
  const to = join(base, path);
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

/** Both layers as one tree, for an engine that makes the layers itself. Root gives the folders their owners. */
export function merge({ base, program }: Layers, to: string): void {
  for (const layer of [base, program]) cpSync(layer, to, { recursive: true });
  for (const { path, user, mode } of FOLDERS) {
    chmodSync(join(to, path), mode);
    if (process.geteuid?.() === 0) chownSync(join(to, path), user, user);
  }
}
