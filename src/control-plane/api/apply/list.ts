/** The list of a request: its items, each read by itself, and what is wrong with them before the mesh is looked at. */
import Type, { type TSchema } from "typebox";
import type { Pause } from "../../../core/slices.ts";
import {
  DEFAULT_NAMESPACE,
  formatKey,
  keyOf,
  type Resource,
} from "../../../resources/envelope.ts";
import type { Problem } from "../../../resources/kind.ts";
import { kindOf } from "../../../resources/registry.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import { validate } from "../../../resources/validate.ts";
import type { Author } from "../../audit/audit.ts";
import type { Principal } from "../../tokens.ts";
import { refusal } from "../rights/access.ts";
import { statedVersion } from "../resource-validation.ts";
import { MOST_ITEMS } from "../bodies.ts";
import { ApiError, invalid, type ApiReason, type Cause } from "../errors.ts";
import { isObject } from "../../../core/text/json.ts";
import { MOST_CAUSES, validatorOf } from "../validation.ts";

export interface ListRequest<O> {
  readonly principal: Principal;
  readonly body: unknown;
  /** All of it or nothing; without it that holds for each namespace. */
  readonly atomic: boolean;
  readonly dryRun: boolean;
  /** For the audit log. */
  readonly author: Author;
  /** Told of each item that was to be written or removed. */
  readonly audit: (resource: string, outcome: O) => void;
}

/** Why an item may not be written. */
export interface Fault {
  readonly reason: Extract<ApiReason, "Forbidden" | "Conflict" | "Invalid">;
  readonly causes: readonly Cause[];
}

export interface Head {
  readonly index: number;
  readonly kind: string | undefined;
  /** "" for a kind of the whole mesh: its resources stand and fall together too. */
  readonly namespace: string;
  readonly name: string | undefined;
}

/** An item that may be written as far as itself can tell. */
export interface SoundItem extends Head {
  readonly resource: Resource;
  /** The version that the writer has read, where it says so. */
  readonly stated: number | undefined;
  readonly warnings: readonly Problem[];
  readonly fault?: undefined;
}

export type FaultyItem = Head & { readonly fault: Fault };

export type Item = SoundItem | FaultyItem;

/** What is around the items: as `kubectl get -o json` prints several objects. */
export const LIST_FRAME: Readonly<Record<string, TSchema>> = {
  apiVersion: Type.Optional(Type.Literal("v1")),
  kind: Type.Optional(Type.Literal("List")),
  metadata: Type.Optional(Type.Object({})),
};

const readFrame = validatorOf(
  Type.Object(
    {
      ...LIST_FRAME,
      items: Type.Array(Type.Unknown(), { maxItems: MOST_ITEMS }),
    },
    CLOSED,
  ),
  "body",
);

/** Throws ApiError Invalid where the list as a whole cannot be read: an item does not say where it belongs. */
export function readItems(
  body: unknown,
  principal: Principal,
  pause: Pause,
): Promise<readonly Item[]> {
  const seen = new Map<string, number>();
  return readEach(body, pause, (head, value) =>
    readItem(head, value, principal, seen),
  );
}

/** Throws ApiError Invalid where an item does not say where it belongs. */
export async function readEach<T>(
  body: unknown,
  pause: Pause,
  read: (head: Head, value: unknown) => T,
): Promise<readonly T[]> {
  const unreadable: Cause[] = [];
  const items: T[] = [];
  for (const [index, value] of itemsOf(body).entries()) {
    const head = headOf(index, value);
    if (head !== undefined) items.push(read(head, value));
    else if (unreadable.length < MOST_CAUSES)
      unreadable.push(...problemsOf(value).map(causeAt(index)));
    await pause();
  }
  if (unreadable.length > 0)
    throw invalid("the list", unreadable.slice(0, MOST_CAUSES));
  return items;
}

/** "items[17].spec.rules[0]" */
export function fieldAt(index: number, path: string): string {
  const item = `items[${index}]`;
  if (path === "") return item;
  return path.startsWith("[") ? `${item}${path}` : `${item}.${path}`;
}

export function causeAt(index: number): (problem: Problem) => Cause {
  return ({ path, message }) => ({ field: fieldAt(index, path), message });
}

function itemsOf(body: unknown): readonly unknown[] {
  const outcome = readFrame(body);
  if ("error" in outcome) throw outcome.error;
  const items = isObject(body) ? body["items"] : undefined;
  return Array.isArray(items) ? items : [];
}

/** Undefined where the item does not say which namespace it belongs to. */
function headOf(index: number, value: unknown): Head | undefined {
  if (!isObject(value)) return undefined;
  const metadata = isObject(value["metadata"]) ? value["metadata"] : {};
  const { namespace = DEFAULT_NAMESPACE } = metadata;
  if (typeof namespace !== "string") return undefined;
  const kind = textIn(value["kind"]);
  const definition = kindOf(textIn(value["apiVersion"]) ?? "", kind ?? "");
  return {
    index,
    kind,
    namespace: definition?.namespaced === false ? "" : namespace,
    name: textIn(metadata["name"]),
  };
}

function readItem(
  head: Head,
  value: unknown,
  principal: Principal,
  seen: Map<string, number>,
): Item {
  const why = refusal(principal, "write", head.namespace);
  if (why !== undefined)
    return faulty(head, "Forbidden", { path: "", message: why });
  const validation = validate(value);
  if (!validation.ok) return faulty(head, "Invalid", ...validation.problems);
  const { resource, warnings } = validation;
  const twice = duplicate(head, formatKey(keyOf(resource)), seen);
  if (twice !== undefined) return twice;
  try {
    return { ...head, resource, stated: statedVersion(value), warnings };
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) throw thrown;
    return faulty(
      head,
      "Invalid",
      ...thrown.causes.map(({ field, message }) => ({ path: field, message })),
    );
  }
}

export function faulty(
  head: Head,
  reason: Fault["reason"],
  ...problems: readonly Problem[]
): FaultyItem {
  return {
    ...head,
    fault: { reason, causes: problems.map(causeAt(head.index)) },
  };
}

/** The item, where another one has its key; `seen` has those of the others. */
export function duplicate(
  head: Head,
  key: string,
  seen: Map<string, number>,
): FaultyItem | undefined {
  const earlier = seen.get(key);
  if (earlier === undefined) seen.set(key, head.index);
  return earlier === undefined
    ? undefined
    : faulty(head, "Invalid", {
        path: "metadata.name",
        message: `${key} is in items[${earlier}] already`,
      });
}

export function problemsOf(value: unknown): readonly Problem[] {
  const validation = validate(value);
  return validation.ok ? [] : validation.problems;
}

/** As far as it may be repeated to its sender. */
function textIn(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, 253) : undefined;
}
