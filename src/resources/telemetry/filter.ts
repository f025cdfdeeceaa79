/** The condition of an access log's filter: a part of CEL, read and type-checked once. `policy/telemetry/filter.ts` asks it of requests. */
import { parseDuration } from "../../core/duration.ts";
import { headerFault } from "./credentials.ts";
import { tokensOf, type Token } from "./filter-tokens.ts";

export const LONGEST_FILTER = 1024;
/** Brackets and negations within each other. */
const DEEPEST = 32;

/** Durations are numbers of milliseconds. */
type Type = "bool" | "int" | "string" | "duration";

/** What a condition may ask of a request, by Envoy's names where it has one. */
export type Attribute =
  | "request.method"
  | "request.host"
  | "request.url_path"
  | "request.protocol"
  | "request.size"
  | "request.duration"
  | "response.code"
  | "response.size"
  | "connection.mtls"
  | "connection.uri_san_peer_certificate"
  | "wherry.destination"
  | "wherry.reason";

const ATTRIBUTES: Readonly<Record<Attribute, Type>> = {
  "request.method": "string",
  "request.host": "string",
  "request.url_path": "string",
  "request.protocol": "string",
  "request.size": "int",
  "request.duration": "duration",
  "response.code": "int",
  "response.size": "int",
  "connection.mtls": "bool",
  "connection.uri_san_peer_certificate": "string",
  "wherry.destination": "string",
  "wherry.reason": "string",
};

export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";
export type TextTest = "startsWith" | "endsWith" | "contains";
type Value = string | number | boolean;

export type Expression =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "attribute"; readonly name: Attribute }
  /** Lower-case. */
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "has"; readonly name: string }
  | { readonly kind: "not"; readonly operand: Expression }
  | {
      readonly kind: "and" | "or";
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: "compare";
      readonly comparison: Comparison;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: "in";
      readonly left: Expression;
      readonly values: readonly Value[];
    }
  | {
      readonly kind: "test";
      readonly test: TextTest;
      readonly left: Expression;
      readonly text: string;
    };

export type Read =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly why: string };

/** `why` is read behind the name of the field. */
export function parseFilter(text: string): Read {
  try {
    return { ok: true, expression: new Parser(text).whole() };
  } catch (thrown) {
    if (thrown instanceof Unreadable) return { ok: false, why: thrown.message };
    throw thrown;
  }
}

class Unreadable extends Error {}

interface Typed {
  readonly type: Type;
  readonly expression: Expression;
}

const COMPARISONS: ReadonlySet<string> = new Set<Comparison>([
  ...(["==", "!=", "<", "<=", ">", ">="] as const),
]);
const TESTS: ReadonlySet<string> = new Set<TextTest>([
  ...(["startsWith", "endsWith", "contains"] as const),
]);

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    const read = tokensOf(text);
    if (!read.ok) throw new Unreadable(read.why);
    this.#tokens = read.tokens;
  }

  whole(): Expression {
    const read = this.#or();
    if (this.#next !== undefined) throw this.#unexpected("the end");
    return expect(read, "bool").expression;
  }

  get #next(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #or(): Typed {
    return this.#joined("||", "or", () =>
      this.#joined("&&", "and", () => this.#relation()),
    );
  }

  #joined(sign: string, kind: "and" | "or", read: () => Typed): Typed {
    let left = read();
    while (this.#took(sign)) {
      const right = read();
      left = {
        type: "bool",
        expression: {
          kind,
          left: expect(left, "bool").expression,
          right: expect(right, "bool").expression,
        },
      };
    }
    return left;
  }

  #relation(): Typed {
    const left = this.#operand();
    const sign = this.#next?.text ?? "";
    if (this.#next?.kind === "sign" && COMPARISONS.has(sign)) {
      this.#at += 1;
      return compared(left, sign as Comparison, this.#operand());
    }
    return this.#took("in") ? this.#contained(left) : left;
  }

  /** `"a" in request.headers`, `request.method in ["GET"]`. */
  #contained(left: Typed): Typed {
    if (!this.#took("[")) {
      if (this.#path() !== "request.headers")
        throw new Unreadable("needs a list or request.headers behind in");
      const name = left.expression.kind === "value" ? left.expression.value : 0;
      if (typeof name !== "string")
        throw new Unreadable("needs a quoted name before in request.headers");
      return { type: "bool", expression: { kind: "has", name: header(name) } };
    }
    const values: Value[] = [];
    do {
      const { expression } = expect(this.#operand(), left.type);
      if (expression.kind !== "value")
        throw new Unreadable("needs plain values in a list");
      values.push(expression.value);
    } while (this.#took(","));
    this.#need("]");
    const expression = { kind: "in", left: left.expression, values } as const;
    return { type: "bool", expression };
  }

  #operand(): Typed {
    if ((this.#depth += 1) > DEEPEST)
      throw new Unreadable(`is nested more than ${DEEPEST} deep`);
    const read = this.#took("!")
      ? negated(this.#operand())
      : this.#took("(")
        ? this.#bracketed()
        : this.#plain();
    this.#depth -= 1;
    return read;
  }

  #bracketed(): Typed {
    const read = this.#or();
    this.#need(")");
    return read;
  }

  #plain(): Typed {
    const token = this.#next;
    if (token === undefined) throw this.#unexpected("a value");
    if (token.kind === "sign") throw this.#unexpected("a value");
    if (token.kind !== "word") {
      this.#at += 1;
      return literal(token.value);
    }
    if (this.#took("true")) return literal(true);
    if (this.#took("false")) return literal(false);
    if (token.text === "duration") return this.#duration();
    const path = this.#path();
    const field = path === "request.headers" ? this.#header() : named(path);
    return this.#took(".") ? this.#tested(field) : field;
  }

  /** `request.url_path`, without the test of a text that may follow. */
  #path(): string {
    const words = [this.#word()];
    for (;;) {
      const [dot, word] = this.#tokens.slice(this.#at, this.#at + 2);
      if (dot?.text !== "." || word?.kind !== "word" || TESTS.has(word.text))
        return words.join(".");
      this.#at += 2;
      words.push(word.text);
    }
  }

  #header(): Typed {
    this.#need("[");
    const name = header(this.#text());
    this.#need("]");
    return { type: "string", expression: { kind: "header", name } };
  }

  #tested(left: Typed): Typed {
    const test = this.#word();
    if (!TESTS.has(test)) throw new Unreadable(`has no test "${test}"`);
    this.#need("(");
    const text = this.#text();
    this.#need(")");
    return {
      type: "bool",
      expression: {
        kind: "test",
        test: test as TextTest,
        left: expect(left, "string").expression,
        text,
      },
    };
  }

  #duration(): Typed {
    this.#at += 1;
    this.#need("(");
    const text = this.#text();
    this.#need(")");
    const value = parseDuration(text);
    if (value === undefined)
      throw new Unreadable(`has "${text}", expected a duration such as "1s"`);
    return { type: "duration", expression: { kind: "value", value } };
  }

  #word(): string {
    if (this.#next?.kind !== "word") throw this.#unexpected("a name");
    this.#at += 1;
    return this.#tokens[this.#at - 1]?.text ?? "";
  }

  #text(): string {
    const token = this.#next;
    if (token?.kind !== "text") throw this.#unexpected("a quoted text");
    this.#at += 1;
    return String(token.value);
  }

  #took(text: string): boolean {
    const token = this.#next;
    const took =
      token !== undefined && token.kind !== "text" && token.text === text;
    if (took) this.#at += 1;
    return took;
  }

  #need(text: string): void {
    if (!this.#took(text)) throw this.#unexpected(`"${text}"`);
  }

  #unexpected(expected: string): Unreadable {
    const found = this.#next;
    return new Unreadable(
      found === undefined
        ? `ends where ${expected} is expected`
        : `has ${JSON.stringify(found.text)} where ${expected} is expected`,
    );
  }
}

function literal(value: Value): Typed {
  const type =
    typeof value === "string"
      ? "string"
      : typeof value === "number"
        ? "int"
        : "bool";
  return { type, expression: { kind: "value", value } };
}

function negated(operand: Typed): Typed {
  const { expression } = expect(operand, "bool");
  return { type: "bool", expression: { kind: "not", operand: expression } };
}

function named(path: string): Typed {
  if (!Object.hasOwn(ATTRIBUTES, path))
    throw new Unreadable(
      `has no attribute "${path}"; expected ${Object.keys(ATTRIBUTES).join(", ")} or request.headers["NAME"]`,
    );
  const name = path as Attribute;
  return { type: ATTRIBUTES[name], expression: { kind: "attribute", name } };
}

function header(name: string): string {
  const fault = headerFault(name);
  if (fault !== undefined) throw new Unreadable(`reads a header: ${fault}`);
  return name.toLowerCase();
}

function expect(read: Typed, type: Type): Typed {
  if (read.type === type) return read;
  throw new Unreadable(`has ${read.type} where ${type} is expected`);
}

function compared(left: Typed, comparison: Comparison, right: Typed): Typed {
  expect(right, left.type);
  if (left.type === "bool" && comparison !== "==" && comparison !== "!=")
    throw new Unreadable(`cannot compare bool by ${comparison}`);
  return {
    type: "bool",
    expression: {
      kind: "compare",
      comparison,
      left: left.expression,
      right: right.expression,
    },
  };
}
