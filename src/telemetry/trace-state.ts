/** W3C Trace Context: what of `tracestate` is passed on (Level 2, sections 3.3.1 and 3.3.1.5). */

/** A list has no more members; a longer one is dropped. */
const MEMBERS_AT_MOST = 32;
/** Characters that every recipient has to take; beyond them entries are left out, the long ones first. */
const LENGTH_AT_MOST = 512;
const LONG_ENTRY = 128;
const KEY_AT_MOST = 256;
const VALUE_AT_MOST = 256;

/** Bits of a character: it may begin a key, be in a key, be in a value, and surround a member. */
const BEGINS_KEY = 1;
const IN_KEY = 2;
const IN_VALUE = 4;
const BLANK = 8;
const EQUALS = 0x3d;
const COMMA = 0x2c;
const SPACE = 0x20;

const CHARACTERS = new Uint8Array(128);
for (let code = SPACE; code < 0x7f; code += 1)
  if (code !== COMMA && code !== EQUALS) CHARACTERS[code] = IN_VALUE;
for (const [characters, bits] of [
  ["abcdefghijklmnopqrstuvwxyz0123456789", BEGINS_KEY | IN_KEY],
  ["_-*/@", IN_KEY],
  [" \t", BLANK],
] as const)
  for (const each of characters)
    CHARACTERS[each.charCodeAt(0)] =
      (CHARACTERS[each.charCodeAt(0)] ?? 0) | bits;

function is(bits: number, code: number): boolean {
  return ((CHARACTERS[code] ?? 0) & bits) !== 0;
}

/**
 * The list as it goes on; undefined where it is malformed, has too many members or none. Several fields are one list: their values,
 * joined by commas. A key that comes twice is passed on as it came (section 3.3.1.1 leaves that open).
 */
export function readTraceState(value: string): string | undefined {
  let members = 0;
  for (let from = 0; from <= value.length;) {
    const comma = value.indexOf(",", from);
    const end = comma === -1 ? value.length : comma;
    if (!isBlank(value, from, end)) {
      members += 1;
      if (members > MEMBERS_AT_MOST || !isMember(value, from, end))
        return undefined;
    }
    from = end + 1;
  }
  if (members === 0) return undefined;
  return value.length <= LENGTH_AT_MOST ? value : shortened(value);
}

function isBlank(text: string, from: number, end: number): boolean {
  return skipBlanks(text, from, end) === end;
}

function skipBlanks(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && is(BLANK, text.charCodeAt(at))) at += 1;
  return at;
}

/** OWS key "=" value OWS; the value may begin with spaces and does not end with one. */
function isMember(text: string, from: number, end: number): boolean {
  const key = skipBlanks(text, from, end);
  if (key === end || !is(BEGINS_KEY, text.charCodeAt(key))) return false;
  let at = key + 1;
  while (at < end && is(IN_KEY, text.charCodeAt(at))) at += 1;
  if (at - key > KEY_AT_MOST || at === end || text.charCodeAt(at) !== EQUALS)
    return false;
  const value = at + 1;
  let last = end;
  while (last > value && is(BLANK, text.charCodeAt(last - 1))) last -= 1;
  if (last === value || last - value > VALUE_AT_MOST) return false;
  for (at = value; at < last; at += 1)
    if (!is(IN_VALUE, text.charCodeAt(at))) return false;
  return true;
}

/** Entries of more than 128 characters are left out first, from the end; then others, from the end (section 3.3.1.5). */
function shortened(value: string): string | undefined {
  const entries = value.split(",").flatMap((each) => {
    const entry = each.trim();
    return entry === "" ? [] : [entry];
  });
  let length = entries.reduce((sum, each) => sum + each.length + 1, -1);
  for (const longer of [LONG_ENTRY, 0])
    for (let at = entries.length - 1; at >= 0; at -= 1) {
      if (length <= LENGTH_AT_MOST) return entries.join(",");
      const size = entries[at]?.length ?? 0;
      if (size <= longer) continue;
      entries.splice(at, 1);
      length -= size + 1;
    }
  return entries.length === 0 ? undefined : entries.join(",");
}
