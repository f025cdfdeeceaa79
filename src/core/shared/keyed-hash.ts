/** HalfSipHash-2-4: a hash of texts that nobody without its key can make collide, in the 32-bit arithmetic that JavaScript is quick at. */

/** Key and result: two words each. */
export type HashWords = Int32Array;

/** State of the hash in progress: of the module, so that a hash allocates nothing. */
let v0 = 0;
let v1 = 0;
let v2 = 0;
let v3 = 0;

function round(): void {
  v0 = (v0 + v1) | 0;
  v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
  v0 = (v0 << 16) | (v0 >>> 16);
  v2 = (v2 + v3) | 0;
  v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
  v2 = (v2 << 16) | (v2 >>> 16);
}

function absorb(word: number): void {
  v3 ^= word;
  round();
  round();
  v0 ^= word;
}

function finish(): number {
  for (let count = 0; count < 4; count += 1) round();
  return v1 ^ v3;
}

/**
 * Hashes the UTF-16 units of `text` into `out` (64 bits): the reference of HalfSipHash (Aumasson, Bernstein) with two units in a
 * word, so that no text has to be encoded first.
 */
export function keyedHash(text: string, key: HashWords, out: HashWords): void {
  const k0 = key[0] ?? 0;
  const k1 = key[1] ?? 0;
  v0 = k0;
  v1 = k1 ^ 0xee;
  v2 = 0x6c796765 ^ k0;
  v3 = 0x74656462 ^ k1;
  const { length } = text;
  let at = 0;
  for (; at + 1 < length; at += 2)
    absorb(text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16));
  if (at < length) absorb(text.charCodeAt(at));
  // The length closes the text: no text is the beginning of another.
  absorb(length);
  v2 ^= 0xee;
  out[0] = finish();
  v1 ^= 0xdd;
  out[1] = finish();
}
