/** Whether a request meets the condition of an access log's filter. What a request lacks is neither true nor false, as an error is in CEL. */
import type {
  Attribute,
  Comparison,
  Expression,
  TextTest,
} from "../../resources/telemetry/filter.ts";

type Value = string | number | boolean;

/** What a condition may ask of a request that is over. */
export interface LoggedRequest {
  attribute(name: Attribute): Value;
  /** By its lower-case name. */
  header(name: string): string | undefined;
}

/** A request that lacks what decides gets no line. */
export function takes(filter: Expression, request: LoggedRequest): boolean {
  return valueOf(filter, request) === true;
}

/** Undefined: the request lacks what it would come from. */
function valueOf(
  expression: Expression,
  request: LoggedRequest,
): Value | undefined {
  switch (expression.kind) {
    case "value":
      return expression.value;
    case "attribute":
      return request.attribute(expression.name);
    case "header":
      return request.header(expression.name);
    case "has":
      return request.header(expression.name) !== undefined;
    case "not": {
      const value = valueOf(expression.operand, request);
      return value === undefined ? undefined : value !== true;
    }
    case "and":
    case "or":
      return joined(expression, request);
    case "compare": {
      const left = valueOf(expression.left, request);
      const right = valueOf(expression.right, request);
      return left === undefined || right === undefined
        ? undefined
        : compare(left, expression.comparison, right);
    }
    case "in": {
      const value = valueOf(expression.left, request);
      return value === undefined
        ? undefined
        : expression.values.includes(value);
    }
    case "test": {
      const value = valueOf(expression.left, request);
      return typeof value === "string"
        ? tested(value, expression.test, expression.text)
        : undefined;
    }
  }
}

/** One side alone decides where it can, whatever the other lacks (CEL's `&&` and `||`). */
function joined(
  { kind, left, right }: Extract<Expression, { kind: "and" | "or" }>,
  request: LoggedRequest,
): Value | undefined {
  const decisive = kind === "or";
  const first = valueOf(left, request);
  if (first === decisive) return decisive;
  const second = valueOf(right, request);
  if (second === decisive) return decisive;
  return first === undefined || second === undefined ? undefined : !decisive;
}

function compare(left: Value, comparison: Comparison, right: Value): boolean {
  switch (comparison) {
    case "==":
      return left === right;
    case "!=":
      return left !== right;
    case "<":
      return left < right;
    case "<=":
      return left <= right;
    case ">":
      return left > right;
    case ">=":
      return left >= right;
  }
}

function tested(value: string, test: TextTest, text: string): boolean {
  switch (test) {
    case "startsWith":
      return value.startsWith(text);
    case "endsWith":
      return value.endsWith(text);
    case "contains":
      return value.includes(text);
  }
}
