/** The bytes of one head, once they are all there; what can no longer become a head is refused before its end comes. */
import { TOKEN } from "../../grammar.ts";
import type { Input } from "./input.ts";
import type { Http1Limits } from "../limits.ts";
import { Http1Fault } from "../fault.ts";

const CR = 0x0d;
const LF = 0x0a;

/** RFC 9112 2.2: one empty line before a request line is ignored. True where one was taken away. */
export function skipEmptyLine(input: Input): boolean {
  if (input.length < 2) return false;
  if (input.bytes[input.start] !== CR || input.bytes[input.start + 1] !== LF)
    return false;
  input.consume(input.start + 2);
  return true;
}

/**
 * The head that begins the input, in latin-1, with the CRLF of its last line but without the empty line, and takes it out;
 * undefined where it is not complete. `opening` is what every such head begins with. Throws `Http1Fault`.
 */
export function takeHead(
  input: Input,
  limits: Http1Limits,
  opening = "",
): string | undefined {
  const { start } = input;
  const end = input.headEnd();
  if (end === -1) {
    judgePart(input, limits, opening);
    return undefined;
  }
  if (end + 4 - start > limits.headBytes) throw tooLarge(input, limits);
  const text = input.bytes.toString("latin1", start, end + 2);
  input.consume(end + 4);
  return text;
}

function judgePart(input: Input, limits: Http1Limits, opening: string): void {
  if (!beginsLikeHead(input, opening))
    throw new Http1Fault("grammar", "what came does not begin like a head");
  if (input.hasBareLf())
    throw new Http1Fault("grammar", "a bare LF in the head");
  if (
    input.length > limits.headBytes ||
    (input.length > limits.requestLineBytes &&
      !input.hasCrlfWithin(limits.requestLineBytes))
  )
    throw tooLarge(input, limits);
}

/** Both start-lines begin with a token; a TLS record, say, does not. */
function beginsLikeHead(input: Input, opening: string): boolean {
  const { bytes, start } = input;
  const first = bytes[start] ?? 0;
  if (TOKEN[first] !== 1) return first === CR && input.length === 1;
  const known = Math.min(input.length, opening.length);
  return (
    bytes.toString("latin1", start, start + known) === opening.slice(0, known)
  );
}

function tooLarge(input: Input, limits: Http1Limits): Http1Fault {
  return input.hasCrlfWithin(limits.requestLineBytes)
    ? new Http1Fault("head", `the head is over ${limits.headBytes} bytes`)
    : new Http1Fault(
        "line",
        `the first line is over ${limits.requestLineBytes} bytes`,
      );
}
