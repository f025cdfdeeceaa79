/** What must hold of a YAML document before its values are made: each key once, and aliases that end. */
import { isScalar, visit, type Alias, type Document, type Node } from "yaml";

export interface StructureFault {
  readonly offset: number;
  readonly message: string;
}

/** An alias of an alias of an alias … grows without bound, and nobody writes many by hand. */
export const MOST_ALIASES = 100;

/**
 * The parser's own look for duplicate keys compares every pair of keys, so a long map would stall it; this one does not.
 * May throw a RangeError where the document is nested too deeply.
 */
export function structureFaults(document: Document.Parsed): StructureFault[] {
  const faults: StructureFault[] = [];
  const aliases: Alias[] = [];
  visit(document, {
    Map(_key, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const name = String(key.value);
        if (seen.has(name))
          faults.push({
            offset: offsetOf(key),
            message: `the key ${JSON.stringify(name)} is there already: keys must be unique`,
          });
        seen.add(name);
      }
    },
    Alias(_key, alias) {
      aliases.push(alias);
    },
  });
  if (aliases.length > MOST_ALIASES)
    return [
      {
        offset: offsetOf(aliases[MOST_ALIASES]),
        message: `has more than ${MOST_ALIASES} aliases`,
      },
    ];
  for (const alias of aliases)
    if (alias.resolve(document) === undefined)
      faults.push({
        offset: offsetOf(alias),
        message: `there is no anchor &${alias.source} before this alias`,
      });
  return faults;
}

function offsetOf(node: Node | undefined): number {
  return node?.range?.[0] ?? 0;
}

/** What the parser says of a key that is a mapping or a list. */
const KEY_IS_NO_TEXT = "With stringKeys, all keys must be strings";
/** Text of a template is none of YAML: what comes behind its first braces is not worth a word. */
export const TEMPLATE =
  'this is text of a template, such as those of Helm: render it first ("helm template"), and use the YAML that comes out';

/** The message of the parser at `offset` of the text, in words that an author of resources knows. */
export function syntaxMessage(
  text: string,
  offset: number,
  message: string,
): string {
  if (message !== KEY_IS_NO_TEXT) return message;
  return text.slice(Math.max(0, offset - 2), offset + 2).includes("{{")
    ? TEMPLATE
    : "a key is a mapping or a list: expected text";
}
