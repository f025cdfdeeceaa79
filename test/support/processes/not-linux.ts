/**
 * Preloaded (`--import`): makes of this machine one that is not Linux. koffi has no binary for it, there is no /proc and no /sys, names
 * of sockets are files, ports are not shared; and whoever asks for the platform is told "darwin". What was asked for in vain is added to
 * the file that NOT_LINUX_ASKED names, a line each.
 */
import fs from "node:fs";
import { registerHooks, syncBuiltinESMExports } from "node:module";
import net from "node:net";

const { appendFileSync } = fs;
const asked = process.env["NOT_LINUX_ASKED"];
const seen = new Set<string>();

function note(what: string): void {
  if (asked === undefined || seen.has(what)) return;
  seen.add(what);
  appendFileSync(asked, `${what}\n`);
}

function failure(code: string, syscall: string, path: string): Error {
  const text = `${code}: not on this machine, ${syscall} '${path}'`;
  return Object.assign(new Error(text), { code, syscall, path, errno: -2 });
}

function isMissing(path: unknown): path is string | Buffer | URL {
  const text = path instanceof URL ? path.pathname : String(path);
  return /^\/(?:proc|sys)(?:\/|$)/.test(text);
}

type Method = (...args: unknown[]) => unknown;

/** Calls with a path below /proc fail, each in the way of its kind. */
function withoutProc(
  from: object,
  names: readonly string[],
  fail: (error: Error, args: readonly unknown[]) => unknown,
): void {
  for (const name of names) {
    const original = Reflect.get(from, name) as Method;
    Reflect.set(from, name, (...args: unknown[]) => {
      if (!isMissing(args[0])) return Reflect.apply(original, from, args);
      const path = String(args[0]).replace(/\d+/g, "N");
      note(path);
      return fail(failure("ENOENT", name, path), args);
    });
  }
}

const CALLS =
  "access chmod lstat mkdir open opendir readdir readFile readlink realpath stat writeFile".split(
    " ",
  );
withoutProc(
  fs,
  CALLS.map((name) => `${name}Sync`),
  (error) => {
    throw error;
  },
);
withoutProc(fs, CALLS, (error, args) => {
  const callback = args.at(-1) as (error: Error) => void;
  process.nextTick(callback, error);
});
withoutProc(fs.promises, CALLS, (error) => Promise.reject(error));
withoutProc(fs, ["existsSync"], () => false);

/** Of sockets: no name but a file's, and no port that two listen on. */
const listen = Reflect.get(net.Server.prototype, "listen") as Method;
net.Server.prototype.listen = function (
  this: net.Server,
  ...args: unknown[]
): net.Server {
  const [first] = args;
  const wanted =
    typeof first === "object" && first !== null ? first : { path: first };
  const path: unknown = Reflect.get(wanted, "path");
  const fault =
    typeof path === "string" && path.startsWith("\0")
      ? failure("ENOENT", "listen", "abstract")
      : Reflect.get(wanted, "reusePort") === true
        ? failure("ENOTSUP", "listen", "reusePort")
        : undefined;
  if (fault === undefined)
    return Reflect.apply(listen, this, args) as net.Server;
  note(fault.message);
  process.nextTick(() => this.emit("error", fault));
  return this;
};

registerHooks({
  resolve(specifier, context, next) {
    if (!/^(?:koffi|@koromix\/)/.test(specifier))
      return next(specifier, context);
    note("koffi");
    throw new Error("koffi has no binary for this machine");
  },
});

Object.defineProperty(process, "platform", { value: "darwin" });
process.constrainedMemory = () => 0;
syncBuiltinESMExports();
