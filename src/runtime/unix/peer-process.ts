/** Which process is at the other end of a Unix socket, as the kernel says (unix(7), SO_PEERCRED): nobody can claim to be another. */
import type { Socket } from "node:net";
import { endianness } from "node:os";
import { socketOption } from "../socket-option.ts";

export interface PeerProcess {
  readonly pid: number;
  readonly uid: number;
}

// linux/socket.h, asm-generic/socket.h
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** struct ucred: three numbers of 32 bits, the process, the user and the group. */
const UCRED = 12;

/** For a socket that has connected it is the process that listens. Undefined where this machine does not tell. */
export function peerProcess(socket: Socket): PeerProcess | undefined {
  const credentials = socketOption(socket, SOL_SOCKET, SO_PEERCRED, UCRED);
  if (credentials?.length !== UCRED) return undefined;
  const numberAt = (at: number): number =>
    endianness() === "LE"
      ? credentials.readUInt32LE(at)
      : credentials.readUInt32BE(at);
  return { pid: numberAt(0), uid: numberAt(4) };
}
