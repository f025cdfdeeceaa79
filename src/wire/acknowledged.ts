/** Asks the kernel how long ago the other end's acknowledged anything (Linux, TCP_INFO): it does so whether or not a process there runs. */
import type { Socket } from "node:net";
import { endianness } from "node:os";
import { socketOption } from "../runtime/socket-option.ts";

// linux/in.h, linux/tcp.h
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** Where the milliseconds since the last acknowledgement are in struct tcp_info, and how long it is up to there: later kernels add to its end. */
const LAST_ACK_RECV = 56;
const LENGTH = 60;

/** Milliseconds; undefined where this machine does not tell. */
export function acknowledgedAgo(socket: Socket): number | undefined {
  const info = socketOption(socket, IPPROTO_TCP, TCP_INFO, LENGTH);
  if (info === undefined || info.length < LENGTH) return undefined;
  return endianness() === "LE"
    ? info.readUInt32LE(LAST_ACK_RECV)
    : info.readUInt32BE(LAST_ACK_RECV);
}
