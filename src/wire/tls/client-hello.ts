/** Reads the server name out of the first words of a TLS connection (RFC 8446 4.1.2, RFC 6066 3), for those who pass the connection on unread. */
import { canonicalAuthority } from "../../core/text/authority.ts";

export interface ClientHello {
  /** Canonical; undefined where the client says none. */
  readonly serverName: string | undefined;
  /** A server may read another name in it, or more than is read here: nothing that hangs on the name may be taken for granted. */
  readonly unreadable: boolean;
}

const RECORD_HEADER = 5;
/** RFC 8446 5.1: 2^14. */
const LONGEST_RECORD = 16_384;
/** A hello may be spread over several records. No client has a cause for it, and each is looked at with all that comes. */
const MOST_RECORDS = 16;
const HANDSHAKE = 22;
const MESSAGE_HEADER = 4;
/** Bytes: servers take no longer one. */
const LONGEST_HELLO = 65_536;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const LONGEST_NAME = 253;

/** Undefined while it is not whole. What comes byte by byte is not read anew: the heads of records and message say what is missing. */
export function readClientHello(bytes: Buffer): ClientHello | undefined {
  const message = firstMessage(bytes);
  if (message === "more") return undefined;
  const name = message === "none" ? UNREADABLE : nameIn(message);
  return name === UNREADABLE
    ? { serverName: undefined, unreadable: true }
    : { serverName: name, unreadable: false };
}

/** A record of TLS, whatever version it says: servers may ignore that (RFC 8446 5.1). */
export function mayBeTls([first = 0]: Buffer): boolean {
  return first >= 20 && first <= 24;
}

/** What is in the first handshake message behind its head, put together of its records. "none": there is no such message. */
function firstMessage(bytes: Buffer): Buffer | "more" | "none" {
  const parts: Buffer[] = [];
  let length = 0;
  let at = 0;
  for (let records = 0; records < MOST_RECORDS; records += 1) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE) return "none";
    if (bytes.length - at < RECORD_HEADER) return "more";
    const size = bytes.readUInt16BE(at + 3);
    if (size === 0 || size > LONGEST_RECORD) return "none";
    at += RECORD_HEADER;
    const part = bytes.subarray(at, at + size);
    at += size;
    parts.push(part);
    length += part.length;
    const head = Buffer.concat(parts.slice(0, MESSAGE_HEADER), MESSAGE_HEADER);
    if (length > 0 && head[0] !== CLIENT_HELLO) return "none";
    if (length >= MESSAGE_HEADER) {
      const whole = MESSAGE_HEADER + head.readUIntBE(1, 3);
      // Behind the hello a client waits for the server.
      if (whole > LONGEST_HELLO || length > whole) return "none";
      if (length === whole)
        return Buffer.concat(parts).subarray(MESSAGE_HEADER);
    }
    if (part.length < size) return "more";
  }
  return "none";
}

const UNREADABLE = Symbol("unreadable");

function nameIn(message: Buffer): string | undefined | typeof UNREADABLE {
  const hello = new Reader(message);
  // legacy_version, random, then session, cipher suites and compression.
  hello.skip(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  // Before TLS 1.2 a hello may end here.
  const extensions = hello.left === 0 ? hello : hello.vector(2);
  let name: string | undefined;
  while (extensions.left > 0) {
    const kind = extensions.number(2);
    const extension = extensions.vector(2);
    if (kind !== SERVER_NAME) continue;
    const names = extension.vector(2);
    const isHost = names.number(1) === HOST_NAME;
    const found = canonicalServerName(names.vector(2).text());
    const isOne = names.left === 0 && extension.left === 0;
    if (!isHost || !isOne || found === undefined || name !== undefined)
      return UNREADABLE;
    name = found;
  }
  return hello.isShort || hello.left > 0 ? UNREADABLE : name;
}

/** Undefined of what is not the name of a host. */
export function canonicalServerName(name: string): string | undefined {
  if (name.length > LONGEST_NAME || name.includes(":")) return undefined;
  return canonicalAuthority(name);
}

/** What is past the end reads as nothing, and makes all of it short. */
class Reader {
  readonly #bytes: Buffer;
  readonly #whole: { isShort: boolean };
  #at = 0;

  constructor(bytes: Buffer, whole: { isShort: boolean } = { isShort: false }) {
    this.#bytes = bytes;
    this.#whole = whole;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Somewhere in it something is cut off. */
  get isShort(): boolean {
    return this.#whole.isShort;
  }

  skip(count: number): void {
    if (count > this.left) this.#whole.isShort = true;
    this.#at = Math.min(this.#at + count, this.#bytes.length);
  }

  /** Big-endian, of so many bytes. */
  number(width: number): number {
    const at = this.#at;
    this.skip(width);
    return this.#at - at < width ? 0 : this.#bytes.readUIntBE(at, width);
  }

  /** What a length of so many bytes stands before. */
  vector(width: number): Reader {
    const length = this.number(width);
    const at = this.#at;
    this.skip(length);
    return new Reader(this.#bytes.subarray(at, this.#at), this.#whole);
  }

  text(): string {
    return this.#bytes.toString("latin1", this.#at);
  }
}
