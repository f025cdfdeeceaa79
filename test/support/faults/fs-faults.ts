/** For tests: file operations that fail, as the system would have them fail. Those on the files of one directory are counted; one of them, or all while it lasts, fail. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { resolve, sep } from "node:path";

export interface Operation {
  /** "open", "handle.sync" */
  readonly name: string;
  readonly path: string;
}

/** What operations fail with: those that write, and those that only read; absent: they do not. */
export interface Faults {
  readonly write?: string;
  readonly read?: string;
}

export interface FaultyDirectory {
  /** What was done in it so far. */
  readonly operations: readonly Operation[];
  /** How many of them were made to fail. */
  readonly failed: number;
  /** That one fails, counted from 1, once. */
  failAt(number: number, faults: Faults): void;
  /** All fail from now on; undefined: none any more. */
  failAll(faults: Faults | undefined): void;
  /** Called before each operation. */
  onOperation: (number: number) => void;
  /** Nothing is counted any more. */
  release(): void;
}

class Faulty implements FaultyDirectory {
  readonly path: string;
  readonly operations: Operation[] = [];
  onOperation: (number: number) => void = () => undefined;
  failed = 0;
  #at: { readonly number: number; readonly faults: Faults } | undefined;
  #all: Faults | undefined;

  constructor(path: string) {
    this.path = path;
  }

  failAt(number: number, faults: Faults): void {
    this.#at = { number, faults };
  }

  failAll(faults: Faults | undefined): void {
    this.#all = faults;
  }

  release(): void {
    directories.delete(this);
  }

  /** Throws where the operation is to fail. */
  step(name: string, path: string, isWrite: boolean): void {
    this.operations.push({ name, path });
    const number = this.operations.length;
    this.onOperation(number);
    const at = this.#at?.number === number ? this.#at.faults : undefined;
    const code = (at ?? this.#all)?.[isWrite ? "write" : "read"];
    if (code === undefined) return;
    this.failed += 1;
    throw systemError(code, name, path);
  }
}

const directories = new Set<Faulty>();

function systemError(code: string, syscall: string, path: string): Error {
  const error = new Error(`${code}: made by a test, ${syscall} '${path}'`);
  return Object.assign(error, { code, syscall, path });
}

function step(name: string, path: unknown, isWrite: boolean): void {
  if (typeof path !== "string") return;
  const whole = resolve(path);
  for (const directory of directories)
    if (whole === directory.path || whole.startsWith(directory.path + sep))
      directory.step(name, whole, isWrite);
}

const READS: ReadonlySet<string> = new Set([
  "access",
  "lstat",
  "opendir",
  "readFile",
  "readdir",
  "realpath",
  "stat",
]);
const WRITES: readonly string[] = [
  "chmod",
  "link",
  "mkdir",
  "rename",
  "rm",
  "unlink",
  "writeFile",
];
const HANDLE_WRITES: readonly string[] = [
  "chmod",
  "datasync",
  "sync",
  "truncate",
  "write",
  "writeFile",
];
const HANDLE_READS: readonly string[] = ["read", "readFile", "stat"];

// The shapes of Node's own functions do not matter here: arguments and results go through as they are.
type Callable = (...args: unknown[]) => unknown;

function opensForWriting(flags: unknown): boolean {
  return typeof flags === "string" && flags !== "r";
}

/** What it throws is a rejection. */
function inTurn(run: Callable): Callable {
  return (...args) =>
    new Promise((resolve) => {
      resolve(run(...args));
    });
}

let installed = false;

/** Counts the operations in the directory from now on. */
export function watchFiles(path: string): FaultyDirectory {
  if (!installed) install();
  installed = true;
  const directory = new Faulty(resolve(path));
  directories.add(directory);
  return directory;
}

function install(): void {
  const promises = fs.promises as unknown as Record<string, Callable>;
  const sync = fs as unknown as Record<string, Callable>;
  /** By handle or descriptor. */
  const handles = new WeakMap<object, string>();
  const descriptors = new Map<unknown, string>();

  const pathOf = (first: unknown): unknown => {
    if (typeof first === "object" && first !== null) return handles.get(first);
    return typeof first === "number" ? descriptors.get(first) : first;
  };
  for (const name of [...READS, ...WRITES]) {
    const isWrite = !READS.has(name);
    const real = promises[name];
    if (real !== undefined)
      promises[name] = inTurn((...args) => {
        step(name, pathOf(args[0]), isWrite);
        return real(...args);
      });
    const realSync = sync[`${name}Sync`];
    if (realSync !== undefined)
      sync[`${name}Sync`] = (...args) => {
        step(name, pathOf(args[0]), isWrite);
        return realSync(...args);
      };
  }
  const realOpen = promises["open"];
  promises["open"] = async (...args) => {
    step("open", args[0], opensForWriting(args[1]));
    const handle = (await realOpen?.(...args)) as Record<string, Callable>;
    const path = String(args[0]);
    handles.set(handle, path);
    for (const name of [...HANDLE_READS, ...HANDLE_WRITES]) {
      const real = handle[name]?.bind(handle);
      if (real !== undefined)
        handle[name] = inTurn((...rest) => {
          step(`handle.${name}`, path, HANDLE_WRITES.includes(name));
          return real(...rest);
        });
    }
    return handle;
  };
  const realOpenSync = sync["openSync"];
  sync["openSync"] = (...args) => {
    step("open", args[0], opensForWriting(args[1]));
    const descriptor = realOpenSync?.(...args);
    descriptors.set(descriptor, String(args[0]));
    return descriptor;
  };
  for (const name of ["fsyncSync", "writeSync"]) {
    const real = sync[name];
    sync[name] = (...args) => {
      step(name, descriptors.get(args[0]), true);
      return real?.(...args);
    };
  }
  syncBuiltinESMExports();
}
