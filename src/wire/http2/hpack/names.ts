/** Names of header fields as HPACK carries them, and the field object that a decoder makes: classified once, when first seen. */
import { classOf, FieldClass, isLookalike } from "../../../mesh/field-class.ts";
import { type Field, type Indexing } from "../../fields.ts";
import { isAuthority, isToken, parseDigits } from "../../grammar.ts";
import { isKnownMethod } from "../../methods.ts";

/** What a field means to the framing of a message: `heads.ts` switches on it. 0 is an ordinary field. */
export const Kind = {
  ORDINARY: 0,
  METHOD: 1,
  SCHEME: 2,
  AUTHORITY: 3,
  PATH: 4,
  PROTOCOL: 5,
  /** A method that is a token, and none that crosses the proxy. */
  FOREIGN_METHOD: 6,
  /** The last of the pseudo-headers. */
  STATUS: 7,
  HOST: 8,
  CONTENT_LENGTH: 9,
  TE: 10,
  /** Belongs to a connection of HTTP/1.1 (RFC 9113 8.2.2). */
  CONNECTION: 11,
  /** A name or value outside the grammar, an unknown pseudo-header. */
  INVALID: 12,
  EXPECT: 13,
} as const;

const KINDS: ReadonlyMap<string, number> = new Map([
  [":method", Kind.METHOD],
  [":scheme", Kind.SCHEME],
  [":authority", Kind.AUTHORITY],
  [":path", Kind.PATH],
  [":protocol", Kind.PROTOCOL],
  [":status", Kind.STATUS],
  ["host", Kind.HOST],
  ["content-length", Kind.CONTENT_LENGTH],
  ["te", Kind.TE],
  ["expect", Kind.EXPECT],
]);

/** tchar without upper case (RFC 9110 5.6.2, RFC 9113 8.2). */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

function kindOf(name: string, bits: number): number {
  const kind = KINDS.get(name);
  if (kind !== undefined) return kind;
  if ((bits & FieldClass.CONNECTION) !== 0) return Kind.CONNECTION;
  return NAME.test(name) && !isLookalike(name) ? Kind.ORDINARY : Kind.INVALID;
}

/** A field's value: no controls but HTAB, no white space at the ends (RFC 9113 8.2.1, RFC 9110 5.5). */
const VALUE =
  /^(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?$/;

type Grammar = (value: string) => boolean;

function like(pattern: RegExp): Grammar {
  return (value) => pattern.test(value);
}

/**
 * What the values of the special kinds must look like (RFC 9113 8.3). Whatever both protocols have in common is read by the
 * grammar of HTTP/1, so that no peer can say over one what would be refused over the other (law 7).
 */
const GRAMMAR: Readonly<Record<number, Grammar>> = {
  [Kind.METHOD]: isToken,
  [Kind.SCHEME]: like(/^https?$/),
  [Kind.AUTHORITY]: isAuthority,
  [Kind.HOST]: isAuthority,
  [Kind.PATH]: like(/^(?:\/[^\x00-\x20#\x7f-\xff]*|\*)$/),
  [Kind.PROTOCOL]: isToken,
  [Kind.STATUS]: like(/^[1-5][0-9]{2}$/),
  [Kind.CONTENT_LENGTH]: (value) => parseDigits(value) !== undefined,
  [Kind.TE]: like(/^trailers$/i),
};
const ORDINARY: Grammar = like(VALUE);

/** One spelling of a name on the wire. */
export class Name {
  readonly text: string;
  readonly bits: number;
  readonly kind: number;
  /** The HPACK string literal of the name, as received. */
  readonly literal: Buffer;
  /** Where hashing of a value of this name starts. */
  readonly seed: number;

  constructor(text: string, literal: Buffer, seed: number) {
    this.text = text;
    this.bits = classOf(text);
    this.kind = kindOf(text, this.bits);
    this.literal = literal;
    this.seed = seed;
  }
}

/** A field that came over HTTP/2. */
export class WireField implements Field {
  readonly name: string;
  readonly value: string;
  readonly bits: number;
  readonly indexing: Indexing;
  line: string | undefined;
  literal: Buffer | undefined;
  /** A member of `Kind`. */
  readonly kind: number;
  readonly of: Name;
  /** Bytes that it counts for in a table or list (RFC 7541 4.1). */
  readonly size: number;
  /** Hash of the name and of the value as encoded; where it is interned. */
  readonly hash: number;

  constructor(
    of: Name,
    value: string,
    indexing: Indexing,
    literal: Buffer | undefined,
    hash: number,
  ) {
    this.name = of.text;
    this.value = value;
    this.bits = of.bits;
    this.indexing =
      (of.bits & FieldClass.SENSITIVE) !== 0 && indexing === "without"
        ? "never"
        : indexing;
    this.line = undefined;
    this.literal = literal;
    this.kind = kindOfField(of.kind, value);
    this.of = of;
    this.size = of.text.length + value.length + 32;
    this.hash = hash;
  }
}

function kindOfField(kind: number, value: string): number {
  if (!(GRAMMAR[kind] ?? ORDINARY)(value)) return Kind.INVALID;
  return kind === Kind.METHOD && !isKnownMethod(value)
    ? Kind.FOREIGN_METHOD
    : kind;
}
