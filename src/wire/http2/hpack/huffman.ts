/**
 * The Huffman code of HPACK (RFC 7541 5.2 and appendix B): encoding by table, decoding a byte at a time. An automaton that
 * takes four bits at a time needs a sixteenth of the memory and twice the time: it must ask after each whether a symbol
 * is complete, which the processor guesses wrong (690 bytes of token: 2.1 against 1.05 µs).
 */

/**
 * Bits of the code of each byte, then of EOS (appendix B). The code is canonical: codes of one length count up in the
 * order of their bytes, so the lengths are the whole of it.
 */
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28,
  28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8,
  11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
  10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
  22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23,
  21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24,
  21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
  23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21,
  26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22,
  21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27,
  27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const EOS = 256;

const SIZE = Uint8Array.from(LENGTHS.slice(0, EOS));
const CODE = new Uint32Array(257);

/** An entry of the automaton: bits 0–7 the next node, 8–15 and 16–23 the bytes completed, 24–25 how many these are, then: */
const FAILS = 1 << 26;
/** The input may end here: only a prefix of EOS, shorter than 8 bits, is left over (5.2). */
const ENDS = 1 << 27;

function assignCodes(): void {
  let code = 0;
  for (let length = 5; length <= 30; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++)
      if (LENGTHS[symbol] === length) CODE[symbol] = code++;
    code *= 2;
  }
}

/** The code's tree: children of inner node n at 2n and 2n+1, another inner node or ~symbol. 0 is none: the root is nobody's child. */
function buildTree(): Int16Array {
  const tree = new Int16Array(512);
  let nodes = 1;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    const length = LENGTHS[symbol] ?? 0;
    const code = CODE[symbol] ?? 0;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const branch = 2 * node + ((code >>> bit) & 1);
      if (tree[branch] === 0) tree[branch] = nodes++;
      node = tree[branch] ?? 0;
    }
    tree[2 * node + (code & 1)] = ~symbol;
  }
  return tree;
}

/** Nodes at which the input may end: the root, and up to seven ones below it. */
function findEndings(): ReadonlySet<number> {
  const endings = new Set<number>();
  for (let node = 0, depth = 0; depth < 8; depth++) {
    endings.add(node);
    node = TREE[2 * node + 1] ?? 0;
  }
  return endings;
}

/** Where a byte leads from an inner node. Never 0: it is the root only behind a symbol. */
function follow(start: number, octet: number): number {
  let node = start;
  let symbols = 0;
  let count = 0;
  for (let bit = 7; bit >= 0; bit--) {
    const child = TREE[2 * node + ((octet >>> bit) & 1)] ?? 0;
    if (child >= 0) {
      node = child;
      continue;
    }
    if (~child === EOS) return FAILS;
    // Codes have at least five bits, so a byte completes two at most.
    symbols |= ~child << (8 * count);
    count += 1;
    node = 0;
  }
  return node | (symbols << 8) | (count << 24) | (ENDINGS.has(node) ? ENDS : 0);
}

/** Enters what all bytes lead to from a node, and gives it for one of them. */
function enterRow(start: number, octet: number): number {
  for (let each = 0; each < 256; each++)
    AUTOMATON[(start << 8) | each] = follow(start, each);
  return AUTOMATON[(start << 8) | octet] ?? FAILS;
}

assignCodes();
const TREE = buildTree();
const ENDINGS = findEndings();
/**
 * An entry for each of 256 inner nodes and each byte: 256 KiB, of which text uses a few rows. A row is entered when it is
 * first come to, as all of them would take a start 10 ms; 0 where it has not been.
 */
const AUTOMATON = new Uint32Array(256 * 256);

/** Bytes that the encoding of `text` takes. */
export function huffmanLength(text: string): number {
  let bits = 7;
  for (let i = 0; i < text.length; i++)
    bits += SIZE[text.charCodeAt(i) & 0xff] ?? 0;
  return bits >>> 3;
}

/** Writes the encoding of `text` (one character a byte) and gives the place behind it. */
export function huffmanEncode(
  text: string,
  target: Buffer,
  start: number,
): number {
  let at = start;
  let pending = 0;
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const octet = text.charCodeAt(i) & 0xff;
    let code = CODE[octet] ?? 0;
    let size = SIZE[octet] ?? 0;
    if (size > 24) {
      // With up to seven bits pending it would not fit into 32: its upper part goes first.
      pending = (pending << (size - 16)) | (code >>> 16);
      bits += size - 16;
      while (bits >= 8) target[at++] = pending >>> (bits -= 8);
      code &= 0xffff;
      size = 16;
    }
    pending = (pending << size) | code;
    bits += size;
    while (bits >= 8) target[at++] = pending >>> (bits -= 8);
  }
  if (bits > 0) target[at++] = (pending << (8 - bits)) | (0xff >>> bits);
  return at;
}

/**
 * Decodes into `target` (which must have room for 8/5 of the input and two bytes more) and gives the number of bytes written;
 * -1 where the input holds EOS, or padding that is not the beginning of it or is longer than 7 bits.
 */
export function huffmanDecode(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
): number {
  let written = 0;
  let entry = ENDS;
  for (let at = start; at < end; at++) {
    const node = entry & 0xff;
    const octet = source[at] ?? 0;
    entry = AUTOMATON[(node << 8) | octet] ?? FAILS;
    if (entry === 0) entry = enterRow(node, octet);
    // Written whether or not they are there: what counts is how far that takes us.
    target[written] = entry >>> 8;
    target[written + 1] = entry >>> 16;
    written += (entry >>> 24) & 3;
    if ((entry & FAILS) !== 0) return -1;
  }
  return (entry & ENDS) !== 0 ? written : -1;
}
