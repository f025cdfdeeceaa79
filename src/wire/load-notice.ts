/**
 * The report of a sidecar's load as a NOTICE on the link, for callers that get no responses which could carry it.
 *
 * ```
 *   1 byte   1: a report of load
 *   2 bytes  port of the application
 *   2 bytes  age of the newest latency, milliseconds, at most 65535
 *   4 bytes  requests in flight
 *   4 bytes  latency, microseconds
 *   4 bytes  most requests at once, 0 without limit
 * ```
 */

export interface LoadNotice {
  readonly port: number;
  /** Milliseconds. */
  readonly age: number;
  readonly inFlight: number;
  /** Milliseconds; 0 where it is not known. */
  readonly latency: number;
  readonly limit: number;
}

const KIND = 1;
const SIZE = 17;

export function encodeLoadNotice(notice: LoadNotice): Buffer {
  const bytes = Buffer.allocUnsafe(SIZE);
  bytes.writeUInt8(KIND, 0);
  bytes.writeUInt16BE(notice.port, 1);
  bytes.writeUInt16BE(within(notice.age, 0xffff), 3);
  bytes.writeUInt32BE(within(notice.inFlight, 0xffffffff), 5);
  bytes.writeUInt32BE(within(notice.latency * 1000, 0xffffffff), 9);
  bytes.writeUInt32BE(within(notice.limit, 0xffffffff), 13);
  return bytes;
}

/** Undefined where it is another kind of notice, or none that can be read. */
export function decodeLoadNotice(bytes: Buffer): LoadNotice | undefined {
  if (bytes.length !== SIZE || bytes[0] !== KIND) return undefined;
  return {
    port: bytes.readUInt16BE(1),
    age: bytes.readUInt16BE(3),
    inFlight: bytes.readUInt32BE(5),
    latency: bytes.readUInt32BE(9) / 1000,
    limit: bytes.readUInt32BE(13),
  };
}

function within(value: number, most: number): number {
  return Math.min(most, Math.max(0, Math.round(value)));
}
