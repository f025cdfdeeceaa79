/** Reads the server name out of the first record of a TLS connection (RFC 8446 4.1.2, RFC 6066 3), for those who pass the connection on unread. */
import { canonicalAuthority } from "../../core/text/authority.ts";

export interface ClientHello {
  /** Canonical; undefined where the client says none, or none that is a host. */
  readonly serverName: string | undefined;
}

const RECORD_HEADER = 5;
/** RFC 8446 5.1: 2^14, which is also all that is waited for. */
const LONGEST_RECORD = 16_384;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const LONGEST_NAME = 253;

/**
 * Undefined while the first record is not whole: its header says that, so bytes that come one by one are not read anew. A hello
 * that is spread over several records, which no client has a cause for, has no name here.
 */
export function readClientHello(bytes: Buffer): ClientHello | undefined {
  if (bytes.length < RECORD_HEADER) return undefined;
  const length = bytes.readUInt16BE(3);
  if (length > LONGEST_RECORD) return NO_NAME;
  if (bytes.length < RECORD_HEADER + length) return undefined;
  const record = bytes.subarray(RECORD_HEADER, RECORD_HEADER + length);
  const name = nameIn(new Reader(record));
  return name === undefined ? NO_NAME : { serverName: name };
}

const NO_NAME: ClientHello = { serverName: undefined };

function nameIn(record: Reader): string | undefined {
  if (record.number(1) !== CLIENT_HELLO) return undefined;
  const hello = record.vector(3);
  // legacy_version, random, then session, cipher suites and compression.
  hello.skip(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  const extensions = hello.vector(2);
  while (extensions.left > 0) {
    const kind = extensions.number(2);
    const extension = extensions.vector(2);
    if (kind !== SERVER_NAME) continue;
    const names = extension.vector(2);
    if (names.number(1) !== HOST_NAME) return undefined;
    return canonicalServerName(names.vector(2).text());
  }
  return undefined;
}

/** Undefined of what is not the name of a host. */
export function canonicalServerName(name: string): string | undefined {
  if (name.length > LONGEST_NAME || name.includes(":")) return undefined;
  return canonicalAuthority(name);
}

/** What is past the end reads as nothing, so a hello that is cut short has no name. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  skip(count: number): void {
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
    return new Reader(this.#bytes.subarray(at, this.#at));
  }

  text(): string {
    return this.#bytes.toString("latin1", this.#at);
  }
}
