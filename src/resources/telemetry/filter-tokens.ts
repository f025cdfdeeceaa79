/** Cuts a filter's condition into its words, values and signs. */

export interface Token {
  readonly kind: "word" | "text" | "number" | "sign";
  /** As it is written. */
  readonly text: string;
  /** What a text or a number means. */
  readonly value: string | number;
}

export type Tokens =
  | { readonly ok: true; readonly tokens: readonly Token[] }
  | { readonly ok: false; readonly why: string };

const TOKEN =
  /\s*(?:([A-Za-z_][A-Za-z0-9_]*)|("(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')|([0-9]{1,15})(?![0-9A-Za-z_.])|(==|!=|<=|>=|&&|\|\||[<>!()[\].,]))/y;

export function tokensOf(text: string): Tokens {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  let at = 0;
  while (at < end) {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    if (found === null) {
      const rest = JSON.stringify(text.slice(at).trim().slice(0, 20));
      return { ok: false, why: `cannot be read from ${rest} on` };
    }
    at = TOKEN.lastIndex;
    const [, word, quoted, number, sign = ""] = found;
    if (word !== undefined)
      tokens.push({ kind: "word", text: word, value: word });
    else if (quoted !== undefined) {
      const value = quoted.slice(1, -1).replaceAll(/\\(.)/g, "$1");
      tokens.push({ kind: "text", text: quoted, value });
    } else if (number !== undefined)
      tokens.push({ kind: "number", text: number, value: Number(number) });
    else tokens.push({ kind: "sign", text: sign, value: sign });
  }
  return { ok: true, tokens };
}
