/** Kubernetes label selectors: "app=web,version!=v1,tier in (a, b),track notin (x),canary,!old". */

export type LabelSelector = (
  labels: Readonly<Record<string, string>> | undefined,
) => boolean;

/** Terms of a selector, the values of sets among them: it is held against each of thousands of resources. */
export const MOST_TERMS = 64;

const KEY = "([A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?)";
const VALUE = "([A-Za-z0-9._-]*)";
const EXISTS = new RegExp(`^(!?)\\s*${KEY}$`);
const EQUALS = new RegExp(`^${KEY}\\s*(==?|!=)\\s*${VALUE}$`);
const SET = new RegExp(`^${KEY}\\s+(in|notin)\\s*\\(([^()]*)\\)$`);

/** Undefined where the text is not a selector, or has too many terms. An empty text selects everything. */
export function parseLabelSelector(text: string): LabelSelector | undefined {
  if (text.trim() === "") return () => true;
  if (text.split(",", MOST_TERMS + 1).length > MOST_TERMS) return undefined;
  const terms: LabelSelector[] = [];
  for (const part of split(text)) {
    const term = parseTerm(part.trim());
    if (term === undefined) return undefined;
    terms.push(term);
  }
  return (labels) => terms.every((term) => term(labels));
}

/** At the commas outside of parentheses. */
function split(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let depth = 0;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (character === "(") depth += 1;
    else if (character === ")") depth -= 1;
    else if (character === "," && depth === 0) {
      parts.push(text.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

/** As in Kubernetes, "!=" and "notin" hold also where the label is missing. */
function parseTerm(term: string): LabelSelector | undefined {
  const exists = EXISTS.exec(term);
  if (exists) {
    const [, not, key = ""] = exists;
    return (labels) => has(labels, key) === (not === "");
  }
  const equals = EQUALS.exec(term);
  if (equals) {
    const [, key = "", operator, value = ""] = equals;
    return (labels) =>
      (has(labels, key) && labels?.[key] === value) === (operator !== "!=");
  }
  const set = SET.exec(term);
  if (set) {
    const [, key = "", operator, list = ""] = set;
    const values = list.split(",").map((value) => value.trim());
    return (labels) =>
      (has(labels, key) && values.includes(labels?.[key] ?? "")) ===
      (operator === "in");
  }
  return undefined;
}

function has(
  labels: Readonly<Record<string, string>> | undefined,
  key: string,
): boolean {
  return labels !== undefined && Object.hasOwn(labels, key);
}
