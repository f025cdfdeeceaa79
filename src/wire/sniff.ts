/** Looks at the first bytes of a connection to tell what it speaks, and puts them back. */
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.ts";

export type SniffedKind = "http/1.1" | "h2" | "tls" | "other";

export interface Sniffed {
  readonly kind: SniffedKind;
  /** What was looked at; for judging and logs only, since the socket gives these bytes again to its next reader. Empty where the peer waits for us to speak first. */
  readonly firstBytes: Buffer;
  /** The bytes did not tell in time: `kind` is what they may have begun to be. */
  readonly late: boolean;
}

/** RFC 9113 3.4, as far as it is unlike any HTTP/1.1 request. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
/** Bytes: a request line that is longer, and looks like one until there, is left to the codec to refuse. */
const LONGEST_LINE = 4096;
const LONGEST_METHOD = 32;
/** Milliseconds for the first bytes of a connection. */
export const SNIFF_TIMEOUT: number = 5000;

/**
 * Calls `onResult` once, as soon as the bytes are unmistakable, or after the time-out. Not at all where the connection ends before
 * its first byte: then the socket closes. Errors stay with the owner of the socket. Returns the way to stop.
 *
 * A peer that has begun an HTTP request or a TLS record and then stalls is what it began, not "other": stalling must not
 * be a way around the policy for HTTP.
 */
export function sniff(
  socket: Socket,
  clock: Clock,
  onResult: (result: Sniffed) => void,
  timeout: number = SNIFF_TIMEOUT,
  /** Whether bytes that are clear in kind are enough to go on with. */
  isEnough: (bytes: Buffer) => boolean = () => true,
): () => void {
  /** Taken off the socket until it is clear what they are: putting them back earlier would make it readable again at once. */
  let held: Buffer = Buffer.alloc(0);
  /** What `held` is the beginning of, with room for more: bytes that come one by one are not copied each time. */
  let room: Buffer = held;
  const stop = (): void => {
    cancel();
    socket.off("readable", onReadable);
    socket.off("close", stop);
    if (held.length > 0 && !socket.destroyed) socket.unshift(held);
  };
  const done = (kind: SniffedKind, late = false): void => {
    stop();
    if (!socket.destroyed) onResult({ kind, firstBytes: held, late });
  };
  /** False at the end of what the peer sends: with a "readable" event and nothing to read, there is nothing to come. */
  const take = (): boolean => {
    const chunk: unknown = socket.read();
    if (!Buffer.isBuffer(chunk)) return false;
    if (held.length === 0) {
      held = room = chunk;
      return true;
    }
    const length = held.length + chunk.length;
    if (length > room.length) {
      room = Buffer.allocUnsafeSlow(length * 2);
      held.copy(room);
    }
    chunk.copy(room, held.length);
    held = room.subarray(0, length);
    return true;
  };
  const onReadable = (): void => {
    const ended = !take();
    const kind = classify(held);
    if (kind !== undefined && (ended || isEnough(held))) done(kind);
    else if (ended && held.length > 0) done(begun(held));
    else if (ended) stop();
  };
  const cancel = clock.after(timeout, () => {
    take();
    const kind = classify(held);
    done(kind ?? begun(held), kind === undefined);
  });
  socket.on("readable", onReadable);
  socket.on("close", stop);
  return stop;
}

/** What the bytes are, whatever may follow; undefined while that is open. */
export function classify(bytes: Buffer): SniffedKind | undefined {
  const [first, second] = bytes;
  if (first === undefined) return undefined;
  // RFC 8446 5.1: content type handshake, major version 3.
  if (first === 0x16) {
    if (second === undefined) return undefined;
    return second === 0x03 ? "tls" : "other";
  }
  const common = Math.min(bytes.length, PREFACE.length);
  if (bytes.subarray(0, common).equals(PREFACE.subarray(0, common)))
    return bytes.length >= PREFACE.length ? "h2" : undefined;
  return classifyRequestLine(bytes);
}

function classifyRequestLine(bytes: Buffer): SniffedKind | undefined {
  const end = bytes.indexOf(0x0a);
  // Until the line is whole, no more than a method is looked at: it is not read anew with each of its bytes (law 15).
  const line = bytes.toString(
    "latin1",
    0,
    end < 0 ? Math.min(bytes.length, LONGEST_METHOD + 1) : end,
  );
  const space = line.indexOf(" ");
  const method = space < 0 ? line : line.slice(0, space);
  // RFC 9110 5.6.2: a method is a token.
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]*\r?$/.test(method) || method === "")
    return "other";
  if (end >= 0)
    return /^[^\s]+ [^\s]+ HTTP\/[0-9]\.[0-9]\r?$/.test(line)
      ? "http/1.1"
      : "other";
  if (method.length > LONGEST_METHOD) return "other";
  return bytes.length >= LONGEST_LINE ? "http/1.1" : undefined;
}

/** What bytes that were too few to tell have begun to be: HTTP in doubt, whose codec is strict. */
function begun(bytes: Buffer): SniffedKind {
  const [first] = bytes;
  if (first === undefined) return "other";
  if (first === 0x16) return "tls";
  // "PRI " is not an HTTP/1 method; shorter beginnings are anybody's.
  if (bytes.length >= 4 && bytes.equals(PREFACE.subarray(0, bytes.length)))
    return "h2";
  return "http/1.1";
}
