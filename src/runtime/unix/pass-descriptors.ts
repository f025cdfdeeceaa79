/** Open sockets that go from one process to another, over a Unix socket that both have: SCM_RIGHTS of unix(7), by the foreign-function library. */
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import { endianness } from "node:os";
import { foreignFunctions, libcFunction } from "../libc.ts";
import { descriptorOf } from "../socket-option.ts";

// linux/socket.h
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const EAGAIN = 11;
const F_DUPFD_CLOEXEC = 1030;

/** Bytes of `struct cmsghdr`: a size_t and two ints. */
const HEADER = 16;
/** Descriptors of one message; the kernel takes 253. */
export const MOST_DESCRIPTORS = 64;
/** Bytes that are read at once. */
const READ = 64 * 1024;

/** `struct msghdr` of a 64-bit Linux, with one part. */
interface Message {
  readonly name: null;
  readonly nameLength: number;
  readonly part: { readonly base: Buffer; readonly len: number };
  readonly partCount: number;
  readonly control: Buffer;
  controlLength: number | bigint;
  flags: number;
}

interface Calls {
  readonly send: (to: number, message: Message, flags: number) => number;
  readonly receive: (from: number, message: Message, flags: number) => number;
  readonly errno: () => number;
}

let calls: Calls | undefined;

/** Why no descriptors can be passed by this process; undefined where they can. */
export function whyNoPassing(): string | undefined {
  if (process.platform !== "linux" || endianness() !== "LE")
    return "this needs Linux";
  try {
    load();
    return undefined;
  } catch {
    return "the package koffi cannot be loaded: install what package.json lists, for this machine";
  }
}

/**
 * Sends all of `text` and with it the descriptors, which stay open here, too. The socket is one of Node's that has nothing else to write.
 * Throws where the kernel does not take it at once: a fresh connection has room for it.
 */
export function sendDescriptors(
  socket: Socket,
  text: string,
  descriptors: readonly number[],
): void {
  const { send, errno } = load();
  const bytes = Buffer.from(text);
  const sent = send(
    openDescriptor(socket),
    messageOf(bytes, controlOf(descriptors)),
    MSG_DONTWAIT | MSG_NOSIGNAL,
  );
  if (sent !== bytes.length)
    throw new Error(
      sent < 0
        ? `sendmsg failed with errno ${errno()}`
        : `sendmsg took ${sent} of ${bytes.length} bytes`,
    );
}

export interface Received {
  /** Empty where the other end has closed. */
  readonly bytes: Buffer;
  /** Open in this process, and nobody else's to close. */
  readonly descriptors: readonly number[];
}

/** What has come over a socket that Node does not read from; undefined where there is nothing yet. Throws where it fails. */
export function receiveDescriptors(socket: Socket): Received | undefined {
  const { receive, errno } = load();
  const bytes = Buffer.alloc(READ);
  const control = Buffer.alloc(controlSize(MOST_DESCRIPTORS));
  const message = messageOf(bytes, control);
  const length = receive(
    openDescriptor(socket),
    message,
    MSG_DONTWAIT | MSG_CMSG_CLOEXEC,
  );
  if (length < 0) {
    if (errno() === EAGAIN) return undefined;
    throw new Error(`recvmsg failed with errno ${errno()}`);
  }
  const descriptors = descriptorsOf(
    control.subarray(0, Number(message.controlLength)),
  );
  if ((message.flags & MSG_CTRUNC) !== 0) {
    for (const each of descriptors) closeDescriptor(each);
    throw new Error("more descriptors came than were expected");
  }
  return { bytes: bytes.subarray(0, length), descriptors };
}

/** Another descriptor of the same socket, so that two may listen there and each close its own. Throws where there is none. */
export function duplicateDescriptor(descriptor: number): number {
  duplicate ??= libcFunction("int fcntl(int descriptor, int command, int of)");
  const made = duplicate?.(descriptor, F_DUPFD_CLOEXEC, 3);
  if (typeof made !== "number" || made < 0)
    throw new Error("the descriptor of a listener cannot be duplicated");
  return made;
}

let duplicate: ReturnType<typeof libcFunction>;

/** For one that nothing of Node's has taken over. */
export function closeDescriptor(descriptor: number): void {
  closeSync(descriptor);
}

function openDescriptor(socket: Socket): number {
  const descriptor = descriptorOf(socket);
  if (descriptor === undefined) throw new Error("the connection has ended");
  return descriptor;
}

function messageOf(bytes: Buffer, control: Buffer): Message {
  return {
    name: null,
    nameLength: 0,
    part: { base: bytes, len: bytes.length },
    partCount: 1,
    control,
    controlLength: control.length,
    flags: 0,
  };
}

/** CMSG_SPACE. */
function controlSize(count: number): number {
  return HEADER + Math.ceil((count * 4) / 8) * 8;
}

function controlOf(descriptors: readonly number[]): Buffer {
  if (descriptors.length === 0) return Buffer.alloc(0);
  const control = Buffer.alloc(controlSize(descriptors.length));
  control.writeBigUInt64LE(BigInt(HEADER + descriptors.length * 4), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  for (const [index, each] of descriptors.entries())
    control.writeInt32LE(each, HEADER + index * 4);
  return control;
}

function descriptorsOf(control: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at + HEADER <= control.length;) {
    const length = Number(control.readBigUInt64LE(at));
    if (length < HEADER || at + length > control.length) break;
    if (
      control.readInt32LE(at + 8) === SOL_SOCKET &&
      control.readInt32LE(at + 12) === SCM_RIGHTS
    )
      for (let place = at + HEADER; place + 4 <= at + length; place += 4)
        found.push(control.readInt32LE(place));
    at += Math.ceil(length / 8) * 8;
  }
  return found;
}

function load(): Calls {
  if (calls !== undefined) return calls;
  const koffi = foreignFunctions();
  const bytes = koffi.pointer("uint8_t");
  const part = koffi.struct({ base: bytes, len: "size_t" });
  const message = koffi.struct({
    name: bytes,
    nameLength: "uint32_t",
    part: koffi.pointer(part),
    partCount: "size_t",
    control: bytes,
    controlLength: "size_t",
    flags: "int",
  });
  const libc = koffi.load(null);
  calls = {
    send: libc.func("sendmsg", "intptr_t", [
      "int",
      koffi.pointer(message),
      "int",
    ]) as Calls["send"],
    receive: libc.func("recvmsg", "intptr_t", [
      "int",
      koffi.inout(koffi.pointer(message)),
      "int",
    ]) as Calls["receive"],
    errno: () => koffi.errno(),
  };
  return calls;
}
