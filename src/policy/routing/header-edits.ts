/** Header changes that a route asks for, compiled (HTTPRoute's RequestHeaderModifier and ResponseHeaderModifier). */
import type {
  HeaderModifier,
  HeaderPair,
  HTTPRouteFilter,
} from "../../resources/route-filters/schema.ts";

/** Applied in the order set, add, remove. Names in lower case. */
export interface HeaderEdits {
  readonly set: readonly HeaderPair[];
  readonly add: readonly HeaderPair[];
  readonly remove: ReadonlySet<string>;
  /** Applied to what these have made of the fields: a backend's after those of its rule. */
  readonly next?: HeaderEdits | undefined;
}

/** The edits of one direction; undefined where the filters change nothing, so that nothing is done for it. */
export function compileEdits(
  filters: readonly HTTPRouteFilter[] | undefined,
  direction: "request" | "response",
): HeaderEdits | undefined {
  const set: HeaderPair[] = [];
  const add: HeaderPair[] = [];
  const remove = new Set<string>();
  for (const filter of filters ?? []) {
    const modifier: HeaderModifier =
      (direction === "request"
        ? filter.requestHeaderModifier
        : filter.responseHeaderModifier) ?? {};
    set.push(...(modifier.set ?? []).map(lowerCase));
    add.push(...(modifier.add ?? []).map(lowerCase));
    for (const name of modifier.remove ?? []) remove.add(name.toLowerCase());
  }
  return set.length + add.length + remove.size === 0
    ? undefined
    : { set, add, remove };
}

/** `edits`, then `next`; undefined where neither changes anything. */
export function inTurn(
  edits: HeaderEdits | undefined,
  next: HeaderEdits | undefined,
): HeaderEdits | undefined {
  if (edits === undefined) return next;
  if (next === undefined) return edits;
  return { ...edits, next: inTurn(edits.next, next) };
}

/**
 * The fields after the edits, in a new list. `set` takes the place of the first field of that name and drops the others;
 * `make` builds a field from a lower-case name and a value.
 */
export function applyEdits<F extends { readonly name: string }>(
  fields: readonly F[],
  edits: HeaderEdits,
  make: (name: string, value: string) => F,
): F[] {
  let edited = applyOne(fields, edits, make);
  for (let { next } = edits; next !== undefined; next = next.next)
    edited = applyOne(edited, next, make);
  return edited;
}

/** The fields as plain pairs, after the edits where there are any. */
export function editedPairs(
  fields: readonly HeaderPair[],
  edits: HeaderEdits | undefined,
): HeaderPair[] {
  const pairs = fields.map(({ name, value }) => ({ name, value }));
  return edits === undefined
    ? pairs
    : applyEdits(pairs, edits, (name, value) => ({ name, value }));
}

function applyOne<F extends { readonly name: string }>(
  fields: readonly F[],
  edits: HeaderEdits,
  make: (name: string, value: string) => F,
): F[] {
  const edited: F[] = [];
  const placed = new Set<string>();
  for (const field of fields) {
    const replacement = edits.set.find(({ name }) => name === field.name);
    if (replacement === undefined) {
      edited.push(field);
    } else if (!placed.has(field.name)) {
      placed.add(field.name);
      edited.push(make(replacement.name, replacement.value));
    }
  }
  for (const { name, value } of edits.set)
    if (!placed.has(name)) {
      placed.add(name);
      edited.push(make(name, value));
    }
  for (const { name, value } of edits.add) edited.push(make(name, value));
  return edits.remove.size === 0
    ? edited
    : edited.filter((field) => !edits.remove.has(field.name));
}

function lowerCase(pair: HeaderPair): HeaderPair {
  return { name: pair.name.toLowerCase(), value: pair.value };
}
