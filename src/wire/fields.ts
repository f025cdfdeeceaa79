/**
 * Header fields as both codecs share them: one immutable object a field, with what must be known of its name computed once.
 *
 * Interning keeps the cost of a repeated field at one map look-up: the object remembers its encodings for both protocols.
 * Credentials and cookies are never interned: the cache outlives the request.
 */
import { classOf, FieldClass } from "../mesh/field-class.ts";

/** How HPACK is to represent the field: the sender's choice is mirrored when it is passed on (RFC 7541 6.2). */
export type Indexing = "incremental" | "without" | "never";

export interface Field {
  /** Lower-case. */
  readonly name: string;
  /** Without leading or trailing white space; latin-1, one character a byte. */
  readonly value: string;
  /** Bits of `FieldClass`. */
  readonly bits: number;
  readonly indexing: Indexing;
  /** The line "name: value\r\n" for HTTP/1, made at first use. */
  line: string | undefined;
  /** The HPACK literal (name and value, without the first byte that says how it is indexed), made at first use. */
  literal: Buffer | undefined;
}

export type Fields = readonly Field[];

const { SENSITIVE } = FieldClass;

/**
 * Whether a field may be kept beyond its request, in a cache that all callers share. Credentials may not; nor may a value with a
 * query in it (a path, a Referer, a Location), since tokens travel there too (RFC 6750 2.3).
 */
export function mayOutlive(bits: number, value: string): boolean {
  return (bits & SENSITIVE) === 0 && !value.includes("?");
}

/** A field that is not shared with other messages. `name` must be lower-case and both must be valid (RFC 9110 5.5, 5.6.2). */
export function makeField(
  name: string,
  value: string,
  indexing?: Indexing,
): Field {
  return makeFieldOf(name, classOf(name), value, indexing);
}

/** As `makeField`, of a name whose class bits are known. */
export function makeFieldOf(
  name: string,
  bits: number,
  value: string,
  indexing?: Indexing,
): Field {
  return {
    name,
    value,
    bits,
    indexing: indexing ?? ((bits & SENSITIVE) !== 0 ? "never" : "incremental"),
    line: undefined,
    literal: undefined,
  };
}

/** The value of the first field of that lower-case name. */
export function fieldValue(fields: Fields, name: string): string | undefined {
  for (const field of fields) if (field.name === name) return field.value;
  return undefined;
}

/** All values of that lower-case name, joined as RFC 9110 5.3 allows; undefined where there is none. */
export function joinedValue(fields: Fields, name: string): string | undefined {
  let joined: string | undefined;
  for (const field of fields) {
    if (field.name !== name) continue;
    if (joined === undefined) joined = field.value;
    else joined += (name === "cookie" ? "; " : ", ") + field.value;
  }
  return joined;
}
