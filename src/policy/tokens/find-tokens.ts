/** Which tokens a request has, where the rules look for them; any might be the one that the application believes. */
import {
  decodeQuery,
  parametersOf,
  type Parameter,
} from "../../core/text/query.ts";
import { spelled, type TokenRule, type TokenRules } from "./token-rules.ts";

/** What is read of a request; `RequestHead` of the wire satisfies it. */
export interface TokenRequest {
  /** Path and query. */
  readonly path: string;
  readonly fields: readonly {
    readonly name: string;
    readonly value: string;
  }[];
}

export interface FoundToken {
  readonly text: string;
  /** Those that look where it is. */
  readonly rules: readonly TokenRule[];
  /** Where it is: names of headers, and those of parameters and cookies as `spelled` writes them. */
  readonly headers: readonly string[];
  readonly params: readonly string[];
  readonly cookies: readonly string[];
}

type Place = "headers" | "params" | "cookies";

/** Two at most: with more than one a request is refused, however many there are. Ones of the same text are one. */
export function findTokens(
  rules: TokenRules,
  request: TokenRequest,
): readonly FoundToken[] {
  const found: Found[] = [];
  findInHeaders(found, rules, request);
  if (found.length < 2 && rules.params.size > 0)
    findInParams(found, rules, request);
  if (found.length < 2 && rules.cookies.size > 0)
    findInCookies(found, rules, request);
  return found;
}

function findInHeaders(
  found: Found[],
  { rules }: TokenRules,
  { fields }: TokenRequest,
): void {
  for (const rule of rules)
    for (const location of rule.headers)
      for (const field of fields) {
        if (field.name !== location.name) continue;
        const text = afterPrefix(field.value, location);
        if (text === undefined) continue;
        note(found, text, rule, "headers", field.name);
        if (found.length > 1) return;
      }
}

function findInParams(
  found: Found[],
  { rules, params }: TokenRules,
  { path }: TokenRequest,
): void {
  for (const parameter of parametersOf(queryOf(path)))
    for (const { name, value } of readingsOf(parameter)) {
      const key = spelled(name);
      if (!params.has(key)) continue;
      for (const rule of rules)
        if (rule.params.includes(key))
          note(found, decodeQuery(value), rule, "params", key);
      if (found.length > 1) return;
    }
}

/** A parameter as it is, and what it has in it for applications that separate parameters by ";", too (HTML 4, B.2.2). */
export function readingsOf(parameter: Parameter): readonly Parameter[] {
  return parameter.raw.includes(";")
    ? [
        parameter,
        ...parameter.raw.split(";").flatMap((raw) => [...parametersOf(raw)]),
      ]
    : [parameter];
}

function findInCookies(
  found: Found[],
  { rules, cookies }: TokenRules,
  request: TokenRequest,
): void {
  for (const { name, value } of cookiesOf(request)) {
    const key = spelled(name);
    if (!cookies.has(key)) continue;
    for (const rule of rules)
      if (rule.cookies.includes(key)) note(found, value, rule, "cookies", key);
    if (found.length > 1) return;
  }
}

interface Found extends FoundToken {
  readonly rules: TokenRule[];
  readonly headers: string[];
  readonly params: string[];
  readonly cookies: string[];
}

function note(
  found: Found[],
  text: string,
  rule: TokenRule,
  place: Place,
  name: string,
): void {
  let token = found.find((each) => each.text === text);
  if (token === undefined) {
    token = { text, rules: [], headers: [], params: [], cookies: [] };
    found.push(token);
  }
  if (!token.rules.includes(rule)) token.rules.push(rule);
  if (!token[place].includes(name)) token[place].push(name);
}

function afterPrefix(
  value: string,
  { prefix, scheme }: TokenRule["headers"][number],
): string | undefined {
  if (prefix === "") return value;
  if (scheme) {
    const name = prefix.trimEnd();
    if (value.slice(0, name.length).toLowerCase() !== name) return undefined;
    // Recipients take a tab for a space; and "Bearer" alone says that there is a token, and has none.
    const rest = value.slice(name.length);
    return rest === "" || /^\s/.test(rest) ? rest.trim() : undefined;
  }
  return value.startsWith(prefix) ? value.slice(prefix.length) : undefined;
}

export function queryOf(path: string): string {
  const mark = path.indexOf("?");
  return mark < 0 ? "" : path.slice(mark + 1);
}

interface Cookie {
  readonly name: string;
  readonly value: string;
}

function cookiesOf({ fields }: TokenRequest): readonly Cookie[] {
  return fields.flatMap((field) =>
    field.name === "cookie" ? field.value.split(";").flatMap(readCookies) : [],
  );
}

/** A cookie as it is, and what it has in it for applications that separate cookies by "," (RFC 2965 3.3.4) or, like Python's, by blanks. */
function readCookies(pair: string): readonly Cookie[] {
  const whole = readCookie(pair);
  return /[,\s]/.test(pair.trim())
    ? [whole, ...pair.split(/[,\s]/).map(readCookie)]
    : [whole];
}

/** RFC 6265 4.1.1: the value may be in quotes. */
function readCookie(pair: string): Cookie {
  const equals = pair.indexOf("=");
  const name = (equals < 0 ? pair : pair.slice(0, equals)).trim();
  const value = equals < 0 ? "" : pair.slice(equals + 1).trim();
  return { name, value: /^"(.*)"$/.exec(value)?.[1] ?? value };
}

/** The Cookie field without these, and without what is in one piece with them; undefined where nothing is left. */
export function withoutCookies(
  value: string,
  names: ReadonlySet<string>,
): string | undefined {
  const pairs = value.split(";");
  const kept = pairs.filter(
    (pair) => !readCookies(pair).some(({ name }) => names.has(spelled(name))),
  );
  if (kept.length === pairs.length) return value;
  return kept.length === 0
    ? undefined
    : kept.map((pair) => pair.trim()).join("; ");
}
