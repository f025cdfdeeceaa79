/**
 * Sources whose attempts to connect the kernel drops before a listener hears of them: a classic packet filter on the listening socket, which
 * needs no privilege (Linux, `man 7 socket`, SO_ATTACH_FILTER). Accepted sockets inherit it, so it looks at SYN packets alone.
 */
import type { Server } from "node:net";
import { foreignFunctions } from "./libc.ts";
import { descriptorOf } from "./socket-option.ts";

export interface FilteredSource {
  /** An IPv4 address as one number of 32 bits, a /64 of IPv6 as two. */
  readonly words: readonly number[];
  /** One in sixteen of its attempts to connect comes through; otherwise none. */
  readonly mayTry: boolean;
}

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;

/** Operations of the filter machine, as <linux/bpf_common.h> puts them together. */
const LOAD_BYTE = 0x30;
const LOAD_WORD = 0x20;
const AND = 0x54;
const JUMP = 0x05;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
/** The byte of the TCP header that has the flags, and those that say whether a packet begins a connection. */
const FLAGS = 13;
const SYN_AND_ACK = 0x12;
const SYN = 0x02;
/** Offset of the network header, from which the fields of the IP header are counted. */
const NETWORK = 0xfff00000;
/** A random number in place of a field of the packet (SKF_AD_RANDOM). */
const RANDOM = 0xfffff038;
const ONE_IN_SIXTEEN = 0x0f;
const DROP = 0;
const PASS = 0xffffffff;

/** Replaces what the kernel drops for this listener. False where this machine cannot. */
export function dropSources(
  listener: Server,
  sources: readonly FilteredSource[],
): boolean {
  const descriptor = descriptorOf(listener);
  if (process.platform !== "linux" || descriptor === undefined) return false;
  setFilter ??= loadSetFilter();
  if (setFilter === undefined) return false;
  return sources.length === 0
    ? setFilter(descriptor, SO_DETACH_FILTER, Buffer.alloc(8))
    : setFilter(descriptor, SO_ATTACH_FILTER, programOf(sources));
}

type SetFilter = (
  descriptor: number,
  option: number,
  program: Buffer,
) => boolean;

let setFilter: SetFilter | undefined;

function loadSetFilter(): SetFilter | undefined {
  try {
    const koffi = foreignFunctions();
    const program = koffi.struct({
      length: "uint16_t",
      instructions: koffi.pointer("uint8_t"),
    });
    const setsockopt = koffi
      .load(null)
      .func("setsockopt", "int", [
        "int",
        "int",
        "int",
        koffi.pointer(program),
        "uint32_t",
      ]);
    return (descriptor, option, instructions) =>
      setsockopt(
        descriptor,
        SOL_SOCKET,
        option,
        { length: instructions.length / 8, instructions },
        koffi.sizeof(program),
      ) === 0;
  } catch {
    return undefined;
  }
}

/** Instructions of eight bytes: the source of a SYN, compared with each of the sources in turn. */
function programOf(sources: readonly FilteredSource[]): Buffer {
  const ofV6 = sources.flatMap(({ words: [high = 0, low], mayTry }) => {
    const verdict = verdictOn(mayTry);
    return low === undefined
      ? []
      : [
          instruction(LOAD_WORD, NETWORK + 8),
          instruction(JUMP_IF_EQUAL, high, 0, verdict.length + 2),
          instruction(LOAD_WORD, NETWORK + 12),
          instruction(JUMP_IF_EQUAL, low, 0, verdict.length),
          ...verdict,
        ];
  });
  const ofV4 = sources.flatMap(({ words: [address = 0, more], mayTry }) => {
    const verdict = verdictOn(mayTry);
    return more === undefined
      ? [instruction(JUMP_IF_EQUAL, address, 0, verdict.length), ...verdict]
      : [];
  });
  return Buffer.concat([
    instruction(LOAD_BYTE, FLAGS),
    instruction(AND, SYN_AND_ACK),
    instruction(JUMP_IF_EQUAL, SYN, 1, 0),
    instruction(RETURN, PASS),
    instruction(LOAD_BYTE, NETWORK),
    instruction(AND, 0xf0),
    instruction(JUMP_IF_EQUAL, 0x40, 0, 1),
    instruction(JUMP, ofV6.length + 3),
    instruction(JUMP_IF_EQUAL, 0x60, 1, 0),
    instruction(RETURN, PASS),
    ...ofV6,
    instruction(RETURN, PASS),
    instruction(LOAD_WORD, NETWORK + 12),
    ...ofV4,
    instruction(RETURN, PASS),
  ]);
}

function verdictOn(mayTry: boolean): readonly Buffer[] {
  return mayTry
    ? [
        instruction(LOAD_WORD, RANDOM),
        instruction(AND, ONE_IN_SIXTEEN),
        instruction(JUMP_IF_EQUAL, 0, 1, 0),
        instruction(RETURN, DROP),
        instruction(RETURN, PASS),
      ]
    : [instruction(RETURN, DROP)];
}

function instruction(
  code: number,
  value: number,
  ifTrue = 0,
  ifFalse = 0,
): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(value >>> 0, 4);
  return bytes;
}
