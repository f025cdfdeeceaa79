/** What the rules of an AuthorizationPolicy are made of: tests of a call, each of which can say why it is not met. */
import type { Call } from "./call.ts";

export interface Test {
  readonly meets: (call: Call) => boolean;
  /** What in a call does not meet it, found by `meets` itself. */
  readonly why: (call: Call) => string;
}

/** A property of a call, and how the values of a policy are compared with it. */
export interface Attribute {
  /** As it is called in an explanation. */
  readonly name: string;
  /** Undefined where the call has none. */
  readonly read: (call: Call) => string | undefined;
  /** Tells whether a call's value is among those of the policy. */
  readonly compile: (values: readonly string[]) => (value: string) => boolean;
  /** Where the value comes from, for a call that has none. */
  readonly origin: string;
}

/** A test for each of the two lists that is there. */
export function lists(
  attribute: Attribute,
  values: readonly string[] | undefined,
  notValues: readonly string[] | undefined,
): readonly Test[] {
  return [
    ...(values === undefined ? [] : [positive(attribute, values)]),
    ...(notValues === undefined ? [] : [negative(attribute, notValues)]),
  ];
}

/** Any of the values. A call without one has none of them. */
function positive(
  { name, read, compile, origin }: Attribute,
  values: readonly string[],
): Test {
  const isAmong = compile(values);
  return {
    meets(call) {
      const value = read(call);
      return value !== undefined && isAmong(value);
    },
    why(call) {
      const value = read(call);
      return value === undefined
        ? `the call has no ${name}, which comes from ${origin}`
        : `${name} ${JSON.stringify(value)} is not among ${values.join(", ")}`;
    },
  };
}

/** None of the values: true also where the call has none at all (trap 5). */
function negative(attribute: Attribute, values: readonly string[]): Test {
  const test = positive(attribute, values);
  return {
    meets: (call) => !test.meets(call),
    why: (call) =>
      `${attribute.name} ${JSON.stringify(attribute.read(call))} is one that is left out (${values.join(", ")})`,
  };
}

export function all(tests: readonly (Test | undefined)[]): Test {
  const present = tests.filter((test) => test !== undefined);
  const [only] = present;
  if (present.length === 1 && only !== undefined) return only;
  return {
    meets: (call) => present.every((test) => test.meets(call)),
    why: (call) => present.find((test) => !test.meets(call))?.why(call) ?? "",
  };
}

/** One of the list is enough. */
export function any(
  what: string,
  tests: readonly Test[] | undefined,
): Test | undefined {
  return tests === undefined
    ? undefined
    : {
        meets: (call) => tests.some((test) => test.meets(call)),
        why: (call) =>
          tests
            .map((test, index) => `${what}[${index}]: ${test.why(call)}`)
            .join("; "),
      };
}

/** On TCP the attributes are missing: a DENY takes the whole port, an ALLOW gives nothing (trap 3). */
export function ofHttp(test: Test, denies: boolean): Test {
  return {
    meets: (call) => (call.request === undefined ? denies : test.meets(call)),
    why: (call) =>
      call.request === undefined
        ? "not an HTTP request, so the rule's HTTP fields cannot match"
        : test.why(call),
  };
}
