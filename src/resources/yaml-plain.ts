/** Reads a YAML document that is written as programs write it, at a small part of the parser's cost, and leaves every other text to the parser. */

export interface PlainDocument {
  readonly value: Readonly<Record<string, unknown>>;
  /** The line of its first field, from 1. */
  readonly line: number;
}

type Value = string | number | boolean | readonly Value[] | PlainMap;

interface PlainMap {
  [key: string]: Value;
}

/** Nothing, or a comment alone. */
const BLANK = /^ *(?:#[ -~]*)?$/;
/** "name: ", or "name:" at the end of the line. */
const KEY = /([A-Za-z_][A-Za-z0-9_./-]*):(?: (?=[^ ])|$)/y;
/** Begins an item of a list that has something on its line. */
const ITEM = /- (?=[^ ])/y;
const DOUBLE_QUOTED = /^"[ !#-[\]-~]*"$/;
const SINGLE_QUOTED = /^'[ -&(-~]*'$/;
const WORD = /^[A-Za-z_/](?:[A-Za-z0-9_./:-]*[A-Za-z0-9_./-])?$/;
/** What some version of YAML takes for something else than text. */
const SPECIAL = /^(?:true|false|null|yes|no|on|off|y|n)$/i;
const INTEGER = /^(?:0|-?[1-9][0-9]{0,14})$/;
/** An IPv4 address with a port or a prefix, or a duration: no number begins so. */
const TEXT_OF_DIGITS =
  /^[0-9]+(?:\.[0-9]+\.[0-9]+\.[0-9]+(?:[:/][0-9]+)?|ms|[smh])$/;
/** Lists and maps within each other. */
const DEEPEST = 40;

/**
 * Undefined for whatever is not surely one document of this form: maps and lists by indentation, each value on one line, and no text that could
 * be read in two ways. The parser has the last word on those, and on all that is wrong.
 */
export function readPlain(text: string): PlainDocument | undefined {
  return new PlainReader(text).document();
}

class PlainReader {
  readonly #lines: string[];
  #at = 0;

  constructor(text: string) {
    this.#lines = text.split("\n");
  }

  document(): PlainDocument | undefined {
    if (this.#next() !== 0) return undefined;
    const line = this.#at + 1;
    const value = this.#map(0, 0);
    return value === undefined || this.#next() !== undefined
      ? undefined
      : { value, line };
  }

  /** Goes to the next line that says something: its indentation, or undefined at the end. */
  #next(): number | undefined {
    const lines = this.#lines;
    for (; this.#at < lines.length; this.#at += 1) {
      const line = lines[this.#at] ?? "";
      if (!BLANK.test(line)) return indentationOf(line);
    }
    return undefined;
  }

  get #line(): string {
    return this.#lines[this.#at] ?? "";
  }

  #map(indentation: number, depth: number): PlainMap | undefined {
    if (depth > DEEPEST) return undefined;
    const map: PlainMap = {};
    while (this.#next() === indentation) {
      const key = keyAt(this.#line, indentation);
      // What every object has is not a name to be sure of, and one that is there twice is an error.
      if (key === undefined || key in map || SPECIAL.test(key))
        return undefined;
      const value = this.#valueOf(indentation, KEY.lastIndex, depth + 1);
      if (value === undefined) return undefined;
      map[key] = value;
    }
    return map;
  }

  /** The value of the key on this line, behind which the line goes on at `column`. */
  #valueOf(
    indentation: number,
    column: number,
    depth: number,
  ): Value | undefined {
    const line = this.#line;
    this.#at += 1;
    if (column < line.length) return scalarOf(line.slice(column));
    const below = this.#next();
    if (below === undefined || below < indentation) return undefined;
    if (isItem(this.#line, below)) return this.#list(below, depth);
    return below === indentation ? undefined : this.#map(below, depth);
  }

  #list(indentation: number, depth: number): readonly Value[] | undefined {
    if (depth > DEEPEST) return undefined;
    const list: Value[] = [];
    while (this.#next() === indentation && isItem(this.#line, indentation)) {
      const value = this.#itemAt(indentation + 2, depth + 1);
      if (value === undefined) return undefined;
      list.push(value);
    }
    return list;
  }

  /** The value of the item on this line, which begins at `column`. */
  #itemAt(column: number, depth: number): Value | undefined {
    const line = this.#line;
    if (keyAt(line, column) === undefined) {
      this.#at += 1;
      return scalarOf(line.slice(column));
    }
    // The dash stands where the map's other fields have blanks.
    this.#lines[this.#at] = " ".repeat(column) + line.slice(column);
    return this.#map(column, depth);
  }
}

function indentationOf(line: string): number {
  let at = 0;
  while (line[at] === " ") at += 1;
  return at;
}

/** Leaves in `KEY.lastIndex` where the line goes on behind it. */
function keyAt(line: string, column: number): string | undefined {
  KEY.lastIndex = column;
  return KEY.exec(line)?.[1];
}

function isItem(line: string, column: number): boolean {
  ITEM.lastIndex = column;
  return ITEM.test(line);
}

function scalarOf(text: string): Value | undefined {
  if (WORD.test(text)) {
    if (text === "true") return true;
    if (text === "false") return false;
    return SPECIAL.test(text) ? undefined : text;
  }
  if (INTEGER.test(text)) return Number(text);
  if (DOUBLE_QUOTED.test(text) || SINGLE_QUOTED.test(text))
    return text.slice(1, -1);
  if (TEXT_OF_DIGITS.test(text)) return text;
  if (text === "{}") return {};
  return text === "[]" ? [] : undefined;
}
