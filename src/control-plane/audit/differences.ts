/** What a write changed, field by field, without what may be a secret. */
import { isObject } from "../../core/text/json.ts";
import type { Resource } from "../../resources/envelope.ts";
import { formatPath, type Segment } from "../../resources/path.ts";

export interface FieldChange {
  /** Like `spec.rules[0].timeouts.request`. */
  readonly path: string;
  /** Absent where there was nothing, or where it is hidden. */
  readonly before?: unknown;
  /** Absent where nothing is left, or where it is hidden. */
  readonly after?: unknown;
  /** The values may be secret. */
  readonly hidden?: true;
}

export interface Differences {
  readonly changes: readonly FieldChange[];
  /** Changes that there are besides. */
  readonly more: number;
}

/** In one write. */
export const MOST_CHANGES = 50;
/** Characters of a value. */
export const LONGEST_VALUE = 200;

const SECRET_NAME =
  /hash|secret|password|passphrase|token|privatekey|credential|cookie|jwks/i;
const VALUES: ReadonlySet<Segment> = new Set(["value", "values", "notValues"]);

/** `undefined`: nothing was there, or nothing is left. Labels, annotations and the spec are what a writer decides. */
export function differencesOf(
  before: Resource | undefined,
  after: Resource | undefined,
): Differences {
  const found = new Found();
  // First what acts: where there is no room for all, annotations do not take it.
  found.compare(["spec"], before?.spec, after?.spec, false);
  for (const part of ["labels", "annotations"] as const)
    found.compare(
      ["metadata", part],
      before?.metadata[part],
      after?.metadata[part],
      // An annotation may repeat all of the spec.
      part === "annotations",
    );
  return { changes: found.changes, more: found.more };
}

class Found {
  readonly changes: FieldChange[] = [];
  more = 0;

  compare(
    path: readonly Segment[],
    before: unknown,
    after: unknown,
    hidden: boolean,
  ): void {
    if (before === after) return;
    const parts = partsOf(before, after);
    if (parts === undefined) {
      if (!sameText(before, after)) this.#add(path, before, after, hidden);
      return;
    }
    for (const key of parts)
      this.compare(
        [...path, key],
        partAt(before, key),
        partAt(after, key),
        hidden || isSecret(before, key) || isSecret(after, key),
      );
  }

  #add(
    path: readonly Segment[],
    before: unknown,
    after: unknown,
    hidden: boolean,
  ): void {
    if (this.changes.length === MOST_CHANGES) {
      this.more += 1;
      return;
    }
    this.changes.push({
      path: formatPath(path),
      ...(hidden
        ? { hidden: true }
        : {
            ...(before === undefined ? {} : { before: short(before) }),
            ...(after === undefined ? {} : { after: short(after) }),
          }),
    });
  }
}

/** The keys of what both are, or the one that is there; undefined where they are compared as they are. */
function partsOf(
  before: unknown,
  after: unknown,
): readonly Segment[] | undefined {
  const there = [before, after].filter((each) => each !== undefined);
  if (there.every(Array.isArray)) {
    const lengths = there.map(({ length }) => length);
    return emptyIsWhole(
      Array.from({ length: Math.max(...lengths) }, (_, index) => index),
    );
  }
  return there.every(isObject)
    ? emptyIsWhole([...new Set(there.flatMap((each) => Object.keys(each)))])
    : undefined;
}

/** `{}` and `[]` are values of their own. */
function emptyIsWhole(
  keys: readonly Segment[],
): readonly Segment[] | undefined {
  return keys.length === 0 ? undefined : keys;
}

function partAt(value: unknown, key: Segment): unknown {
  if (Array.isArray(value)) return (value as unknown[])[Number(key)];
  return isObject(value) ? value[String(key)] : undefined;
}

/** Fields that are called so, and the values of headers, cookies and query parameters: which of them is secret, nobody has said. */
function isSecret(within: unknown, key: Segment): boolean {
  if (typeof key === "number" || !isObject(within)) return false;
  if (SECRET_NAME.test(key)) return typeof within[key] !== "boolean";
  if (!VALUES.has(key)) return false;
  const { name, key: attribute } = within;
  return (
    typeof name === "string" ||
    (typeof attribute === "string" && attribute.startsWith("request."))
  );
}

function sameText(before: unknown, after: unknown): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}

function short(value: unknown): unknown {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (text.length <= LONGEST_VALUE) return value;
  return `${text.slice(0, LONGEST_VALUE)}…`;
}
