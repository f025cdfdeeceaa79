/** What a parser made of a connection's octets, in one form, and where two readings of the same octets differ. */
import { Socket } from "node:net";

/** A socket whose other end is the test: nothing of the kernel is in between, so that a case costs microseconds. */
export class MemorySocket extends Socket {
  /** What was written to it, in latin-1. */
  sent = "";

  receive(chunk: Buffer): void {
    if (!this.destroyed) this.push(chunk);
  }

  finish(): void {
    if (!this.destroyed) this.push(null);
  }

  override _read(): void {
    // What there is was pushed.
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.sent += chunk.toString("latin1");
    done();
  }

  override _writev(
    chunks: readonly { chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    for (const { chunk } of chunks) this.sent += chunk.toString("latin1");
    done();
  }
}
/** One message as a parser read it. */
export interface Message {
  /** The start-line, in one form; `HTTP/1.1` or `HTTP/1.0` is its end (requests) or is left out (responses). */
  readonly start: string;
  /** Fields for the next recipient, names in lower case, in order. */
  readonly fields: readonly string[];
  readonly contentLength: number | undefined;
  body: string;
  trailers: readonly string[];
  complete: boolean;
  /** Whether the connection carries another message; undefined where it was not said. */
  keepAlive: boolean | undefined;
  /** There is a reason to end the connection that Node does not take: Upgrade, HTTP/1.0; in answers, what comes behind them. */
  readonly mayClose: boolean;
  /** Node says nothing of faults behind this head: it asks for another protocol. */
  readonly unwatched: boolean;
}

export interface Reading {
  readonly messages: Message[];
  /** What was refused, in the parser's own words. */
  refused: string | undefined;
}
/** A turn of the event loop, in which all that was sent is read and answered. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
/**
 * The first difference that nothing excuses; undefined where there is none. The codec may refuse more than Node, in words that
 * `isStricter` knows; whatever it does not refuse, both read alike.
 */
export function difference(
  ours: Reading,
  nodes: Reading,
  isStricter: (refusal: string) => boolean,
): string | undefined {
  const excused = ours.refused !== undefined && isStricter(ours.refused);
  for (const [index, our] of ours.messages.entries()) {
    const their = nodes.messages[index];
    const where = `message ${index + 1}`;
    if (their === undefined)
      return `${where}: Node refuses (${nodes.refused ?? "?"}) what the codec takes`;
    if (our.start !== their.start)
      return `${where}: start ${our.start} | ${their.start}`;
    if (our.fields.join("\n") !== their.fields.join("\n"))
      return `${where}: fields ${our.fields.join(" ¶ ")} | ${their.fields.join(" ¶ ")}`;
    if (our.contentLength !== their.contentLength)
      return `${where}: length ${our.contentLength} | ${their.contentLength}`;
    if (our.complete && !their.complete)
      return `${where}: Node does not see its end (${nodes.refused ?? "?"})`;
    if (our.complete) {
      if (our.body !== their.body) return `${where}: body`;
      if (our.trailers.join("\n") !== their.trailers.join("\n"))
        return `${where}: trailers`;
      if (
        our.keepAlive !== their.keepAlive &&
        !(their.mayClose && our.keepAlive === false)
      )
        return `${where}: keep-alive ${our.keepAlive} | ${their.keepAlive}`;
    } else {
      if (their.complete && !excused)
        return `${where}: the codec does not see its end (${ours.refused ?? "?"})`;
      if (!our.body.startsWith(their.body) && !their.body.startsWith(our.body))
        return `${where}: the part of the body`;
    }
  }
  const last = ours.messages.at(-1);
  const over = last?.complete === true && last.keepAlive === false;
  const cut = last?.complete === false;
  const nodesLast = nodes.messages.at(-1);
  const more = nodes.messages.length - ours.messages.length;
  /** Node has handed a head over and refuses what is behind it, or does not look at it. */
  const halfRefused =
    more <= 1 &&
    (nodesLast?.unwatched === true ||
      (nodesLast?.complete === false && nodes.refused !== undefined));
  if (
    more > 0 &&
    !excused &&
    !over &&
    !(ours.refused !== undefined && halfRefused)
  )
    return `Node reads ${nodes.messages.length} messages, the codec ${ours.messages.length} (${ours.refused ?? "?"})`;
  if (
    nodes.refused !== undefined &&
    ours.refused === undefined &&
    !over &&
    !cut
  )
    return `Node refuses (${nodes.refused}) what the codec does not`;
  if (
    ours.refused !== undefined &&
    nodes.refused === undefined &&
    !halfRefused &&
    !(cut && nodesLast?.complete === false) &&
    !excused
  )
    return `the codec refuses (${ours.refused}) what Node takes`;
  return undefined;
}
