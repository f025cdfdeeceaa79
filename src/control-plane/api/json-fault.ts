/** Where a text stops being JSON: the runtime's own message often leaves that out, and a person needs it. */

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** What may come next, by RFC 8259; "end" follows the outermost value. */
type Wanted =
  | "value"
  | "value or ]"
  | "key"
  | "key or }"
  | ":"
  | "more"
  | "end";

export interface TextPosition {
  /** Both count from 1. */
  readonly line: number;
  readonly column: number;
}

/** The place of the first character that cannot stand where it does; undefined where the text is JSON. */
export function jsonFault(text: string): TextPosition | undefined {
  const offset = faultAt(text);
  if (offset === undefined) return undefined;
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - before.lastIndexOf("\n") };
}

function faultAt(text: string): number | undefined {
  const open: ("{" | "[")[] = [];
  let at = 0;
  let wanted: Wanted = "value";
  const afterValue = (): Wanted => (open.length === 0 ? "end" : "more");
  for (;;) {
    while (at < text.length && " \t\n\r".includes(text.charAt(at))) at += 1;
    const character = text.charAt(at);
    if (character === "") return wanted === "end" ? undefined : at;
    const isValue: boolean = wanted === "value" || wanted === "value or ]";
    const isKey: boolean = wanted === "key" || wanted === "key or }";
    const closes =
      (character === "]" &&
        (wanted === "value or ]" ||
          (wanted === "more" && open.at(-1) === "["))) ||
      (character === "}" &&
        (wanted === "key or }" || (wanted === "more" && open.at(-1) === "{")));
    if (closes) {
      open.pop();
      at += 1;
      wanted = afterValue();
    } else if (isValue && (character === "{" || character === "[")) {
      open.push(character);
      at += 1;
      wanted = character === "{" ? "key or }" : "value or ]";
    } else if (wanted === ":" && character === ":") {
      at += 1;
      wanted = "value";
    } else if (wanted === "more" && character === ",") {
      at += 1;
      wanted = open.at(-1) === "{" ? "key" : "value";
    } else if (isKey || isValue) {
      const end = scalarEnd(text, at, isKey);
      if (!end.ok) return end.at;
      at = end.at;
      wanted = isKey ? ":" : afterValue();
    } else return at;
  }
}

interface End {
  readonly ok: boolean;
  /** One past the scalar, or where it breaks. */
  readonly at: number;
}

function scalarEnd(text: string, at: number, stringOnly: boolean): End {
  if (text.charAt(at) === '"') return stringEnd(text, at);
  if (!stringOnly)
    for (const shape of [NUMBER, WORD]) {
      shape.lastIndex = at;
      if (shape.test(text)) return { ok: true, at: shape.lastIndex };
    }
  return { ok: false, at };
}

function stringEnd(text: string, start: number): End {
  let at = start + 1;
  while (at < text.length) {
    const character = text.charAt(at);
    if (character === '"') return { ok: true, at: at + 1 };
    if (character < " ") break;
    if (character === "\\") {
      ESCAPE.lastIndex = at;
      if (!ESCAPE.test(text)) break;
      at = ESCAPE.lastIndex;
    } else at += 1;
  }
  return { ok: false, at };
}
