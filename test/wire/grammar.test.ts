/** What a field value, a request target and a token are made of, character by character (RFC 9110 5.5 and 5.6.2, RFC 9112 3.2). */
import t from "tap";
import {
  beginsWithToken,
  FIELD_VALUE,
  isFieldValue,
  isTarget,
  isToken,
  TOKEN,
} from "../../src/wire/grammar.ts";

/** Every byte, and some of what no byte can be. */
const CODES = [...Array(256).keys(), 0x100, 0x10a, 0x2028, 0xd800, 0xffff];
const VISIBLE = (code: number): boolean => code > 0x20 && code < 0x7f;

const CLASSES = [
  {
    name: "a field value",
    holds: isFieldValue,
    of: (code: number) =>
      code === 0x09 || code === 0x20 || VISIBLE(code) || isObsText(code),
  },
  {
    name: "a target",
    holds: isTarget,
    of: (code: number) => VISIBLE(code) && code !== 0x23,
  },
  {
    name: "a token",
    holds: isToken,
    of: (code: number) =>
      VISIBLE(code) &&
      !'"(),/:;<=>?@[\\]{}'.includes(String.fromCharCode(code)),
  },
] as const;

function isObsText(code: number): boolean {
  return code >= 0x80 && code <= 0xff;
}

for (const { name, holds, of } of CLASSES)
  void t.test(`${name} is made of these characters alone`, (t) => {
    for (const code of CODES) {
      const character = String.fromCharCode(code);
      for (const text of [character, `a${character}`, `${character}a`])
        if (holds(text) !== of(code))
          t.fail(`${name} with character ${code} is ${String(holds(text))}`);
      // In the middle of a long one, as it is cut out of a head.
      const head = `x: ${"a".repeat(300)}${character}${"a".repeat(300)}\r\n`;
      t.equal(holds(head.slice(3, -2)), of(code), `character ${code}`);
    }
    t.end();
  });

void t.test("an empty text is a field value, and no target or token", (t) => {
  t.equal(isFieldValue(""), true);
  t.equal(isTarget(""), false);
  t.equal(isToken(""), false);
  t.end();
});

void t.test("a token may be the beginning of a text", (t) => {
  t.equal(beginsWithToken("name: value", 4), true);
  t.equal(beginsWithToken("name: value", 5), false);
  t.equal(beginsWithToken("name: value", 0), false);
  t.end();
});

void t.test("the tables for bytes say the same as the functions", (t) => {
  for (let code = 0; code < 256; code += 1) {
    const text = String.fromCharCode(code);
    t.equal(FIELD_VALUE[code] === 1, isFieldValue(text), `value ${code}`);
    t.equal(TOKEN[code] === 1, isToken(text), `token ${code}`);
  }
  t.end();
});
