/** What the last head on a connection was made of, line by line: the next one nearly always has the same lines in the same places, and what is compared there is neither cut out nor looked up. */
import { classOf } from "../../../mesh/field-class.ts";
import { makeFieldOf, type Field } from "../../fields.ts";
import {
  fieldOfLine,
  keptLine,
  lineEnd,
  type KeptLine,
} from "./field-lines.ts";
import { isBlank, isFieldValue } from "../../grammar.ts";
import { Http1Fault } from "../fault.ts";

/** The beginning of a line whose value is another each time, as it was sent, up to where the value begins: "X-Request-Id: ". */
interface Beginning {
  readonly text: string;
  readonly name: string;
  readonly bits: number;
}

/** Heads after which all is learnt anew: a value that was another each time may have become the same. */
const LEARNT_FOR = 256;
/** Beginnings that are kept, for all connections together, and the longest of them. */
const BEGINNINGS = 256;
const LONGEST_BEGINNING = 64;

const beginnings = new Map<string, Beginning>();

export class HeadMemory {
  /** By the line's place in the head. No value that is not shared by all connections is in here, so no credential. */
  #lines: (KeptLine | Beginning | undefined)[] = [];
  #heads = 0;
  #place = 0;
  /** Behind the CRLF of the line that was read last. */
  end = 0;

  /** A head begins. */
  begin(): void {
    this.#place = 0;
    this.#heads += 1;
    if (this.#heads % LEARNT_FOR === 0) this.#lines = [];
  }

  /** The field of the line that begins at `at`, the next one of this head. Throws `Http1Fault`. */
  read(text: string, at: number): Field {
    const place = this.#place++;
    const known = this.#lines[place];
    if (known !== undefined) {
      if ("field" in known) {
        if (text.startsWith(known.text, at)) {
          this.end = at + known.text.length;
          return known.field;
        }
      } else if (text.startsWith(known.text, at)) {
        return this.#valueOf(known, text, at);
      }
    }
    return this.#learn(place, known, text, at);
  }

  #valueOf(known: Beginning, text: string, at: number): Field {
    const stop = lineEnd(text, at);
    this.end = stop + 2;
    // Date alone has a value that all responses of a second share.
    if (known.name === "date") return fieldOfLine(text.slice(at, stop));
    let from = at + known.text.length;
    let to = stop;
    while (from < to && isBlank(text.charCodeAt(from))) from += 1;
    while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
    const value = text.slice(from, to);
    if (!isFieldValue(value))
      throw new Http1Fault("grammar", "a field value has a control character");
    return makeFieldOf(known.name, known.bits, value);
  }

  #learn(
    place: number,
    known: KeptLine | Beginning | undefined,
    text: string,
    at: number,
  ): Field {
    const stop = lineEnd(text, at);
    this.end = stop + 2;
    const line = text.slice(at, stop);
    const field = fieldOfLine(line);
    // The same name with another value in the same place: to keep each of its values would push out what does come again.
    const varies =
      known !== undefined &&
      "field" in known &&
      known.field.name === field.name;
    this.#lines[place] =
      (varies ? undefined : keptLine(line)) ?? beginningOf(line, field);
    return field;
  }
}

function beginningOf(line: string, field: Field): Beginning | undefined {
  // Its value is judged with what stands behind it.
  if (field.name === "transfer-encoding") return undefined;
  let length = line.indexOf(":") + 1;
  while (isBlank(line.charCodeAt(length))) length += 1;
  if (length > LONGEST_BEGINNING) return undefined;
  const text = line.slice(0, length);
  const known = beginnings.get(text);
  if (known !== undefined || beginnings.size >= BEGINNINGS) return known;
  // A copy of its own: the line is a view of a whole head, credentials included.
  const own = Buffer.from(text, "latin1").toString("latin1");
  const name = own.slice(0, own.indexOf(":")).toLowerCase();
  const beginning = { text: own, name, bits: classOf(name) };
  if (name === field.name) beginnings.set(own, beginning);
  return beginning;
}
