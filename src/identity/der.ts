/** Reads DER without recursion or copies, and writes object identifiers of any size: what node-forge does not do for hostile or 128-bit input. */

/** One element, as a view of the input. */
export interface Element {
  /** The identifier byte: class, constructed bit and number. */
  readonly tag: number;
  /** The contents. */
  readonly value: Buffer;
  /** Identifier, length and contents: what a signature is made over. */
  readonly whole: Buffer;
}

export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** What was read is not DER, or not of the structure that it claims. */
export class DerError extends Error {
  override readonly name = "DerError";
}

/** The element that fills `input` exactly. */
export function readElement(input: Buffer): Element {
  const element = elementAt(input, 0);
  if (element.whole.length !== input.length)
    throw new DerError("bytes after the end of the structure");
  return element;
}

/** The elements that a constructed element holds, one level down. */
export function childrenOf(element: Element): Element[] {
  const children: Element[] = [];
  for (let at = 0; at < element.value.length;) {
    const child = elementAt(element.value, at);
    children.push(child);
    at += child.whole.length;
  }
  return children;
}

/** `element`, if it is there and has the tag. */
export function expectTag(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag)
    throw new DerError(
      `element with tag 0x${tag.toString(16)} expected, ${element === undefined ? "none" : `0x${element.tag.toString(16)}`} found`,
    );
  return element;
}

/** The bytes of a BIT STRING that has no unused bits. */
export function bitStringOctets(element: Element): Buffer {
  expectTag(element, Tag.BIT_STRING);
  if (element.value[0] !== 0)
    throw new DerError("a bit string of whole bytes expected");
  return element.value.subarray(1);
}

function elementAt(input: Buffer, at: number): Element {
  const tag = input[at];
  const first = input[at + 1];
  if (tag === undefined || first === undefined)
    throw new DerError("the structure ends too early");
  if ((tag & 0x1f) === 0x1f)
    throw new DerError("tag numbers above 30 are not used in certificates");
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // Indefinite length is BER; more than three bytes of length is over 16 MiB.
    if (count === 0 || count > 3 || start + count > input.length)
      throw new DerError("a length that DER or common sense forbids");
    length = input.readUIntBE(start, count);
    if (length < 0x80 || length < 256 ** (count - 1))
      throw new DerError("a length that is not in its shortest form");
    start += count;
  }
  const end = start + length;
  if (end > input.length) throw new DerError("the structure ends too early");
  return {
    tag,
    value: input.subarray(start, end),
    whole: input.subarray(at, end),
  };
}

/** The contents of an OBJECT IDENTIFIER (X.690 8.19), its arcs of any size. */
export function encodeOid(dotted: string): Buffer {
  const [first = 0n, second = 0n, ...rest] = dotted
    .split(".")
    .map((arc) => BigInt(arc));
  return Buffer.concat([first * 40n + second, ...rest].map(base128));
}

function base128(arc: bigint): Buffer {
  const octets = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n)
    octets.unshift(Number(rest & 0x7fn) | 0x80);
  return Buffer.from(octets);
}
