/** What the rules of an AuthorizationPolicy are made of: tests of a call, each of which can say why it is not met. */
import type { Call } from "./call.ts";
import { anyOf, type CompilePattern } from "./patterns.ts";

export interface Test {
  readonly meets: (call: Call) => boolean;
  /** What in a call does not meet it, found by `meets` itself. */
  readonly why: (call: Call) => string;
  /** As `meets`, of a call of which not all is known. */
  readonly tells: (call: Call, notGiven: NotGiven) => Told;
}

/** Attributes of a call that nobody has said, though a real call has them; their names in lower case. */
export type NotGiven = ReadonlySet<string>;

/** Whether a test is met, or the names of the attributes on which that depends. */
export type Told = boolean | readonly string[];

export type AttributeValue = string | readonly string[] | undefined;

/** A property of a call, and how the values of a policy are compared with it. */
export interface Attribute {
  /** As it is called in an explanation. */
  readonly name: string;
  /** Undefined where the call has none; of several, one that fits is enough. */
  readonly read: (call: Call) => AttributeValue;
  /** What `read` gives in the form that patterns compare. */
  readonly compared: (call: Call) => AttributeValue;
  /** Those of `compared` that must all fit where the fit opens something; absent: one of them is enough for that, too. */
  readonly strict?: (call: Call) => AttributeValue;
  readonly pattern: CompilePattern;
  /** The values that are meant by those of a policy; absent: these. */
  readonly meant?: (values: readonly string[]) => readonly string[];
  /** Where the value comes from, for a call that has none. */
  readonly origin: string;
}

/** A test for each of the two lists that is there. `denies`: a call that meets them is refused; it matters where an attribute is read strictly. */
export function lists(
  attribute: Attribute,
  values: readonly string[] | undefined,
  notValues: readonly string[] | undefined,
  denies = false,
): readonly Test[] {
  return [
    ...(values === undefined ? [] : [positive(attribute, values, !denies)]),
    ...(notValues === undefined
      ? []
      : [negative(attribute, notValues, denies)]),
  ];
}

/** Any of the values. A call without one has none of them. `opens`: a call that meets it is the better for it. */
function positive(
  attribute: Attribute,
  values: readonly string[],
  opens: boolean,
): Test {
  const { name, read, compared, strict, origin, meant } = attribute;
  const isAmong = anyOf((meant?.(values) ?? values).map(attribute.pattern));
  const everyOne = opens && strict !== undefined;
  const compare = everyOne ? strict : compared;
  const meets = (call: Call): boolean => {
    const value = compare(call);
    if (value === undefined) return false;
    if (typeof value === "string") return isAmong(value);
    return everyOne ? value.every(isAmong) : value.some(isAmong);
  };
  return {
    meets,
    why(call) {
      const value = read(call);
      return value === undefined
        ? `the call has no ${name}, which comes from ${origin}`
        : `${name} ${JSON.stringify(value)} is not among ${values.join(", ")}`;
    },
    tells: (call, notGiven) =>
      notGiven.has(name.toLowerCase()) ? [name] : meets(call),
  };
}

/** None of the values: true also where the call has none at all (trap 5). */
function negative(
  attribute: Attribute,
  values: readonly string[],
  opens: boolean,
): Test {
  const test = positive(attribute, values, opens);
  return {
    meets: (call) => !test.meets(call),
    why: (call) =>
      `${attribute.name} ${JSON.stringify(attribute.read(call))} is one that is left out (${values.join(", ")})`,
    tells(call, notGiven) {
      const told = test.tells(call, notGiven);
      return typeof told === "boolean" ? !told : told;
    },
  };
}

export function all(tests: readonly (Test | undefined)[]): Test {
  const present = tests.filter((test) => test !== undefined);
  const [only] = present;
  if (present.length === 1 && only !== undefined) return only;
  const meets = present.map((test) => test.meets);
  return {
    meets(call) {
      for (const meet of meets) if (!meet(call)) return false;
      return true;
    },
    why: (call) => present.find((test) => !test.meets(call))?.why(call) ?? "",
    tells: (call, notGiven) =>
      together(
        present.map((test) => test.tells(call, notGiven)),
        false,
      ),
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
        meets: anyMeets(tests.map((test) => test.meets)),
        why: (call) =>
          tests
            .map((test, index) => `${what}[${index}]: ${test.why(call)}`)
            .join("; "),
        tells: (call, notGiven) =>
          together(
            tests.map((test) => test.tells(call, notGiven)),
            true,
          ),
      };
}

/** One that says `decisive` decides, whatever the others depend on. */
function together(each: readonly Told[], decisive: boolean): Told {
  if (each.includes(decisive)) return decisive;
  const open = each.flatMap((told) => (typeof told === "boolean" ? [] : told));
  return open.length === 0 ? !decisive : [...new Set(open)];
}

function anyMeets(meets: readonly Test["meets"][]): Test["meets"] {
  const [only] = meets;
  return only !== undefined && meets.length === 1
    ? only
    : (call) => meets.some((meet) => meet(call));
}

/** On TCP the attributes are missing: a DENY takes the whole port, an ALLOW gives nothing (trap 3). */
export function ofHttp(test: Test, denies: boolean): Test {
  return {
    meets: (call) => (call.request === undefined ? denies : test.meets(call)),
    why: (call) =>
      call.request === undefined
        ? "not an HTTP request, so the rule's HTTP fields cannot match"
        : test.why(call),
    tells: (call, notGiven) =>
      call.request === undefined ? denies : test.tells(call, notGiven),
  };
}
