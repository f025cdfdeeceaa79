/** Messages of DNS (RFC 1035, RFC 6891): a question as it came, and replies that carry it back byte for byte. */
import { answer as codec, decode, type Answer } from "dns-packet";
import { canonicalAuthority } from "../../core/text/authority.ts";

export const TYPE = {
  A: 1,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
} as const;
export const CLASS = { IN: 1, CH: 3 } as const;
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
} as const;
export type Rcode = (typeof RCODE)[keyof typeof RCODE];

/** Bytes of a datagram that no network breaks in pieces (DNS flag day 2020). */
export const SAFE_SIZE = 1232;
/** Bytes of a datagram for an asker that says nothing of its size (RFC 1035 4.2.1). */
const PLAIN_SIZE = 512;
/** Bytes of a question that anybody has a use for. */
export const LONGEST_QUESTION = 4096;
const HEADER = 12;
const LONGEST_LABEL = 63;
const LONGEST_NAME = 255;

const RESPONSE = 0x80;
const TRUNCATED = 0x02;
const RECURSION_DESIRED = 0x01;
const RECURSION_AVAILABLE = 0x80;
const CHECKING_DISABLED = 0x10;

export interface Question {
  /** The whole message. */
  readonly bytes: Buffer;
  /** Where the question ends in it. */
  readonly end: number;
  readonly opcode: number;
  /** As it was asked, without the final dot; "" is the root. */
  readonly name: string;
  /** The name as hosts are known; undefined where no host can have it. */
  readonly host: string | undefined;
  readonly type: number;
  readonly class: number;
  /** Bytes of a datagram that the asker takes. */
  readonly size: number;
  readonly edns: boolean;
}

export type ReadMessage =
  | { readonly kind: "question"; readonly question: Question }
  | { readonly kind: "malformed"; readonly reply: Buffer }
  /** Nothing that is to be replied to: too short, or a reply itself. */
  | { readonly kind: "no question" };

/** Reads a message as a server does; one pass over its bytes. */
export function readMessage(bytes: Buffer): ReadMessage {
  if (bytes.length < HEADER || (bytes.readUInt8(2) & RESPONSE) !== 0)
    return { kind: "no question" };
  return (
    readQuestion(bytes) ?? { kind: "malformed", reply: formatError(bytes) }
  );
}

function readQuestion(bytes: Buffer): ReadMessage | undefined {
  const count = (at: number): number => bytes.readUInt16BE(at);
  // One question and what may come with it: the size of datagrams, a signature.
  if (bytes.length > LONGEST_QUESTION || count(4) !== 1) return undefined;
  if (count(6) !== 0 || count(8) !== 0 || count(10) > 2) return undefined;
  const labels = readLabels(bytes);
  if (labels === undefined || bytes.length < labels.end + 4) return undefined;
  const end = labels.end + 4;
  let size: number | undefined;
  try {
    for (const { type, udpPayloadSize } of decode(bytes).additionals)
      if (type === "OPT") size = udpPayloadSize ?? PLAIN_SIZE;
  } catch {
    return undefined;
  }
  const { name } = labels;
  return {
    kind: "question",
    question: {
      ...{ bytes, end, name },
      opcode: (bytes.readUInt8(2) >> 3) & 15,
      host: labels.plain ? canonicalHost(name) : undefined,
      type: bytes.readUInt16BE(labels.end),
      class: bytes.readUInt16BE(labels.end + 2),
      size: Math.max(size ?? PLAIN_SIZE, PLAIN_SIZE),
      edns: size !== undefined,
    },
  };
}

/** The name after the header; `plain`: no label has a dot of its own. Undefined where it is none, or points elsewhere. */
function readLabels(
  bytes: Buffer,
): { name: string; plain: boolean; end: number } | undefined {
  const labels: string[] = [];
  let at = HEADER;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > LONGEST_LABEL) return undefined;
    at += 1;
    if (length === 0) break;
    if (at + length > bytes.length || at + length - HEADER >= LONGEST_NAME)
      return undefined;
    labels.push(bytes.toString("latin1", at, at + length));
    at += length;
  }
  const plain = labels.every((label) => !label.includes("."));
  return { name: labels.join("."), plain, end: at };
}

function canonicalHost(name: string): string | undefined {
  // A colon would be read as a port.
  return name.includes(":") || name.includes("[")
    ? undefined
    : canonicalAuthority(name);
}

/** Header alone: the rest may be anything. */
function formatError(bytes: Buffer): Buffer {
  const reply = Buffer.alloc(HEADER);
  bytes.copy(reply, 0, 0, 2);
  reply[2] = RESPONSE | (bytes.readUInt8(2) & 0x79);
  reply[3] = RCODE.FORMERR;
  return reply;
}

/** The question by which a client learns which resolver it talks to (RFC 4892). */
export const IDENTITY = "id.server";
export const IDENTITY_REPLY = "wherry";

export function isIdentity(question: Question): boolean {
  return question.class === CLASS.CH && question.host === IDENTITY;
}

export interface Record {
  readonly type: "A" | "AAAA" | "PTR" | "TXT";
  readonly data: string;
  /** Seconds. */
  readonly ttl: number;
}

/** A reply of our own; the name is as it was asked, in upper and lower case. */
export function makeReply(
  question: Question,
  code: Rcode,
  records: readonly Record[] = [],
): Buffer {
  const { bytes, end, edns, name } = question;
  const head = headOf(bytes, end, code);
  const parts: Uint8Array[] = [head];
  for (const { type, data, ttl } of records) {
    const inClass = question.class === CLASS.CH ? "CH" : "IN";
    const record: Answer = { type, name, data, ttl, class: inClass };
    parts.push(codec.encode(record));
  }
  head.writeUInt16BE(records.length, 6);
  if (edns) {
    const udpPayloadSize = SAFE_SIZE;
    parts.push(
      codec.encode({
        ...{ type: "OPT", name: ".", udpPayloadSize, flags: 0, options: [] },
      }),
    );
    head.writeUInt16BE(1, 10);
  }
  return Buffer.concat(parts);
}

/** Header and question of a reply, without any records. */
function headOf(bytes: Buffer, end: number, code: Rcode): Buffer {
  const head = Buffer.from(bytes.subarray(0, end));
  head[2] = RESPONSE | (bytes.readUInt8(2) & (0x78 | RECURSION_DESIRED));
  head[3] =
    RECURSION_AVAILABLE | (bytes.readUInt8(3) & CHECKING_DISABLED) | code;
  head.fill(0, 6, HEADER);
  return head;
}

/** The question for another server: of that number, and for datagrams that no network breaks in pieces. */
export function askedAnew(question: Question, id: number): Buffer {
  const { bytes, end } = question;
  const asked = Buffer.from(bytes);
  asked.writeUInt16BE(id, 0);
  // An OPT record has the root's name, its type, and the size in place of a class.
  const isOpt =
    asked.length >= end + 5 &&
    asked[end] === 0 &&
    asked.readUInt16BE(end + 1) === TYPE.OPT;
  if (isOpt && asked.readUInt16BE(end + 3) > SAFE_SIZE)
    asked.writeUInt16BE(SAFE_SIZE, end + 3);
  return asked;
}

/** Whether it is the reply to that question under that number. */
export function isReplyTo(
  reply: Buffer,
  { bytes, end }: Question,
  id: number,
): boolean {
  if (reply.length < end || reply.readUInt16BE(0) !== id) return false;
  if ((reply.readUInt8(2) & RESPONSE) === 0 || reply.readUInt16BE(4) !== 1)
    return false;
  for (let at = HEADER; at < end; at += 1)
    if (lower(reply.readUInt8(at)) !== lower(bytes.readUInt8(at))) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

export function codeOf(reply: Buffer): number {
  return reply.readUInt8(3) & 15;
}

export function isTruncated(reply: Buffer): boolean {
  return (reply.readUInt8(2) & TRUNCATED) !== 0;
}

/** Another server's reply as the asker's own: with its number and its upper and lower case. */
export function passedOn(reply: Buffer, { bytes, end }: Question): Buffer {
  const own = Buffer.from(reply);
  bytes.copy(own, 0, 0, 2);
  bytes.copy(own, HEADER, HEADER, end);
  return own;
}

/** What fits in the asker's datagram: what is cut makes it ask again by TCP. */
export function fitted(reply: Buffer, { end, size }: Question): Buffer {
  if (reply.length <= size) return reply;
  const head = Buffer.from(reply.subarray(0, end));
  head[2] = reply.readUInt8(2) | TRUNCATED;
  head.fill(0, 6, HEADER);
  return head;
}
