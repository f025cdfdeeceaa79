/** Options of a socket that Node has no word for: getsockopt and setsockopt by the foreign-function library, which is loaded at first use. */
import type { Socket as Datagrams } from "node:dgram";
import type { Server, Socket } from "node:net";
import { libcFunction } from "./libc.ts";

type GetSockOpt = (
  descriptor: number,
  level: number,
  option: number,
  value: Buffer,
  length: Uint32Array,
) => number;

type SetSockOpt = (
  descriptor: number,
  level: number,
  option: number,
  value: Buffer,
  length: number,
) => number;

let getsockopt: GetSockOpt | undefined;
let setsockopt: SetSockOpt | undefined;

/** The option's value, of at most `size` bytes; undefined where the kernel has none, or this machine no such function. */
export function socketOption(
  socket: Socket,
  level: number,
  option: number,
  size: number,
): Buffer | undefined {
  const descriptor = descriptorOf(socket);
  if (process.platform !== "linux" || descriptor === undefined)
    return undefined;
  getsockopt ??= loadGetSockOpt();
  const value = Buffer.alloc(size);
  const length = new Uint32Array([size]);
  return getsockopt(descriptor, level, option, value, length) === 0
    ? value.subarray(0, length[0] ?? 0)
    : undefined;
}

/** Sets an option that is a whole number. False where the kernel refuses it, or this machine has no such function. */
export function setSocketOption(
  socket: Socket,
  level: number,
  option: number,
  value: number,
): boolean {
  const descriptor = descriptorOf(socket);
  if (process.platform !== "linux" || descriptor === undefined) return false;
  setsockopt ??= loadSetSockOpt();
  const bytes = Buffer.from(new Uint32Array([value]).buffer);
  return setsockopt(descriptor, level, option, bytes, bytes.length) === 0;
}

/** The descriptor under a socket. Node has no public way to it; the private one may be gone. */
export function descriptorOf(socket: Socket | Server): number | undefined {
  return descriptorIn(Reflect.get(socket, "_handle"));
}

/** The same of a socket for datagrams, whose handle is behind a symbol. */
export function datagramDescriptorOf(socket: Datagrams): number | undefined {
  const key = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === "state symbol",
  );
  const state: unknown = key && Reflect.get(socket, key);
  return typeof state === "object" && state !== null
    ? descriptorIn(Reflect.get(state, "handle"))
    : undefined;
}

function descriptorIn(handle: unknown): number | undefined {
  if (typeof handle !== "object" || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, "fd");
  return typeof descriptor === "number" && descriptor >= 0
    ? descriptor
    : undefined;
}

function loadGetSockOpt(): GetSockOpt {
  const native = libcFunction(
    "int getsockopt(int descriptor, int level, int option, _Out_ void *value, _Inout_ uint32_t *length)",
  );
  return (descriptor, level, option, value, length) => {
    const status = native?.(descriptor, level, option, value, length);
    return typeof status === "number" ? status : -1;
  };
}

function loadSetSockOpt(): SetSockOpt {
  const native = libcFunction(
    "int setsockopt(int descriptor, int level, int option, const void *value, uint32_t length)",
  );
  return (descriptor, level, option, value, length) => {
    const status = native?.(descriptor, level, option, value, length);
    return typeof status === "number" ? status : -1;
  };
}
