/**
 * A wait of the whole thread, shorter than Node's timers and ended early by what comes on chosen sockets alone: an epoll(7) of its own,
 * beside the event loop's, by the foreign-function library. Whatever else comes meanwhile is found by the event loop afterwards.
 */
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import { endianness } from "node:os";
import { libcFunction } from "./libc.ts";

export interface Nap {
  /** What comes on the socket ends a nap, until it is closed. Nothing where it has no descriptor. */
  endsWith(socket: Socket): void;
  /** Waits `ms`, less than a second; true where it was ended early. */
  take(ms: number): boolean;
  close(): void;
}

/** epoll_pwait2(2), Linux 5.11: in nanoseconds. The number is the same on every architecture, and older C libraries have no function for it. */
const EPOLL_PWAIT2 = 441;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** Told once for what comes: a socket that nobody reads from at present must not end nap after nap. */
const EPOLLET = 0x8000_0000;
/** Of an epoll_event; it is packed on x86-64 alone. */
const EVENT_OCTETS = process.arch === "x64" ? 12 : 16;
const EVENTS = 32;

/** Undefined where the system has no such wait: anything but Linux, an old kernel, a sandbox that forbids it. */
export function makeNap(): Nap | undefined {
  if (process.platform !== "linux" || endianness() === "BE") return undefined;
  const create = libcFunction("int epoll_create1(int flags)");
  const control = libcFunction(
    "int epoll_ctl(int epfd, int op, int fd, void *event)",
  );
  const call = libcFunction(
    "int64_t syscall(int64_t number, int64_t epfd, void *events, int64_t count, void *timeout, void *mask, int64_t maskSize)",
  );
  if (create === undefined || control === undefined || call === undefined)
    return undefined;
  const set = create(EPOLL_CLOEXEC) as number;
  if (set < 0) return undefined;
  const events = new Uint32Array((EVENTS * EVENT_OCTETS) / 4);
  // A timespec of two 64-bit words: no seconds, and nanoseconds of which the upper half is never needed.
  const timeout = new Uint32Array(4);
  const wait = (ms: number): number => {
    timeout[2] = ms * 1e6;
    return Number(call(EPOLL_PWAIT2, set, events, EVENTS, timeout, null, 0));
  };
  if (wait(0) < 0) {
    closeSync(set);
    return undefined;
  }
  return {
    endsWith(socket) {
      const { _handle: handle } = socket as unknown as WithHandle;
      const fd = handle?.fd ?? -1;
      if (fd < 0) return;
      const event = new Uint32Array(EVENT_OCTETS / 4);
      event[0] = EPOLLIN | EPOLLET;
      control(set, EPOLL_CTL_ADD, fd, event);
    },
    take: (ms) => wait(ms) !== 0,
    close: () => closeSync(set),
  };
}

/** A socket as Node has it inside. */
interface WithHandle {
  readonly _handle?: { readonly fd?: number } | null;
}
