/** Which fields a sidecar of an older push schema does not know: the one table of them, and what of it a resource uses. */
import type { Resource } from "../resources/envelope.ts";

export interface FieldSince {
  readonly kind: string;
  /** With "[]" for any index and "*" for any key; "" is the kind itself. */
  readonly path: string;
  /** Values that are new; absent: the field itself is. */
  readonly values?: readonly string[];
  /** The first schema that knows it. */
  readonly since: number;
  /** "same": a sidecar does the same without it, and gets the rest. "withheld": it does not get the resource. */
  readonly without: "same" | "withheld";
}

/** What a control plane still serves. A sidecar that says no schema is held to be of it. */
export const OLDEST_SCHEMA = 2;

/**
 * A field that is not here has been there since OLDEST_SCHEMA. A new one gets a line here, and SCHEMA_VERSION goes up with the first
 * of a release. Say "same" only of what sidecars do not act on at all: without a match, a condition or a limit a policy means something else.
 */
export const FIELDS_SINCE: readonly FieldSince[] = [
  // The control plane alone renews certificates.
  {
    kind: "Mesh",
    path: "spec.mtls.renewExpiredFor",
    since: 3,
    without: "same",
  },
];

/** What of the table the resource uses. */
export function usedOf(
  resource: Resource,
  table: readonly FieldSince[],
): readonly FieldSince[] {
  return table.filter((field) => {
    if (field.kind !== resource.kind) return false;
    let isUsed = field.path === "";
    visit(resource, field.path, (parent, key) => {
      isUsed ||= isNew(field, parent[key]);
    });
    return isUsed;
  });
}

/** A copy without these fields, or without their new values. */
export function withoutFields(
  resource: Resource,
  fields: readonly Pick<FieldSince, "path" | "values">[],
): Resource {
  const rest = structuredClone(resource);
  for (const field of fields)
    visit(rest, field.path, (parent, key) => {
      if (isNew(field, parent[key])) Reflect.deleteProperty(parent, key);
    });
  return rest;
}

function isNew(
  { values }: Pick<FieldSince, "values">,
  value: unknown,
): boolean {
  return (
    values === undefined ||
    [value].flat().some((each) => values.some((known) => known === each))
  );
}

type Found = (parent: Record<string, unknown>, key: string) => void;

/** Calls `found` for each place that has the path. */
function visit(root: object, path: string, found: Found): void {
  if (path !== "") visitIn(root, path.split("."), found);
}

function visitIn(
  value: unknown,
  [first = "", ...rest]: readonly string[],
  found: Found,
): void {
  if (typeof value !== "object" || value === null) return;
  const parent = value as Record<string, unknown>;
  const name = first.replace("[]", "");
  for (const key of name === "*" ? Object.keys(parent) : [name]) {
    if (!Object.hasOwn(parent, key)) continue;
    if (rest.length === 0) found(parent, key);
    else if (first.endsWith("[]"))
      for (const item of listOf(parent[key])) visitIn(item, rest, found);
    else visitIn(parent[key], rest, found);
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
