/** One request of `wherry apply` or `wherry delete -f`: what became of each resource, and what is said of it, at its place in the files. */
import { bodyWith, itemsIn } from "./answers.ts";
import { isObject } from "../core/text/json.ts";
import { ApiError, textOf, type ApiClient, type Cause } from "./client.ts";
import { findingLine, type Manifests } from "./manifests.ts";
import { titleOf } from "./paths.ts";

export type Manifest = Manifests["resources"][number];

/** What is said of a field of one of them. */
export interface ItemCause {
  /** In the batch; undefined where it is about none in particular. */
  readonly index: number | undefined;
  /** In the resource. */
  readonly path: string;
  readonly message: string;
}

export interface Sent {
  readonly batch: readonly Manifest[];
  /** "created", "configured" or "unchanged", "deleted" or "missing", in the order of the batch; undefined of one that was refused, or stayed because another was. */
  readonly outcomes: readonly (string | undefined)[];
  /** Why some were not. */
  readonly causes: readonly ItemCause[];
  readonly warnings: readonly ItemCause[];
}

export async function sendBatch(
  api: ApiClient,
  batch: readonly Manifest[],
  options: {
    readonly verb: "apply" | "delete";
    readonly dryRun: boolean;
    readonly atomic: boolean;
  },
): Promise<Sent> {
  const query = new URLSearchParams({
    ...(options.dryRun ? { dryRun: "All" } : {}),
    ...(options.atomic ? { atomic: "true" } : {}),
  });
  const path = `/${options.verb}${query.size === 0 ? "" : "?"}${query.toString()}`;
  const items = batch.map(({ resource }) => resource);
  try {
    const { body } = await api.call("POST", path, { items });
    const told = itemsIn(body).map(({ outcome }) => textOf(outcome));
    const result = bodyWith(body, "items");
    const causes = listIn(result["causes"]).map(causeOf);
    const outcomes = batch.map((_manifest, index) =>
      DONE.includes(told[index] ?? "") ? told[index] : undefined,
    );
    const silent = outcomes.findIndex((outcome) => outcome === undefined);
    return {
      batch,
      outcomes,
      // What was skipped was so for the refusal of another.
      causes:
        silent >= 0 && causes.length === 0
          ? [unsaid(batch, silent, told[silent])]
          : causes,
      warnings: listIn(result["warnings"]).map(causeOf),
    };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const causes = error.causes.map(causeOf);
    // A refusal of the request, not of what is in it.
    if (causes.every(({ index }) => index === undefined)) throw error;
    return { batch, outcomes: [], causes, warnings: [] };
  }
}

/** Outcomes of what was done, or needed not to be. */
const DONE = ["created", "configured", "unchanged", "deleted", "missing"];

/** A success is what the response says to be one. */
function unsaid(
  batch: readonly Manifest[],
  index: number,
  outcome: string | undefined,
): ItemCause {
  const resource = batch[index]?.resource;
  const title = resource === undefined ? "" : `${titleOf(resource)}: `;
  return {
    index: undefined,
    path: "",
    message: `${title}the response does not say what became of it${outcome === undefined || outcome === "" ? "" : ` ("${outcome}")`}`,
  };
}

export function faultLines({ batch, causes }: Sent): string[] {
  return causes.map((cause) => causeLine(batch, cause));
}

/** "shop.yaml:12:7: spec.rules[0]: …" */
export function causeLine(
  batch: readonly Manifest[],
  { index, path, message }: ItemCause,
): string {
  const manifest = index === undefined ? undefined : batch[index];
  if (manifest === undefined) return message;
  const { line, column } = manifest.locate(path);
  const { file } = manifest;
  return findingLine({ file, line, column, path, message, severity: "error" });
}

/** Namespaces that a message names; more are counted. */
const MOST_NAMED = 10;

/** What the refusals mean for the mesh. */
export function unchangedText(applied: readonly Sent[]): string {
  const done = new Set<string>();
  const left = new Set<string>();
  for (const { batch, outcomes } of applied)
    for (const [index, { resource }] of batch.entries())
      (outcomes[index] === undefined ? left : done).add(
        resource.metadata.namespace ?? "",
      );
  if (done.size === 0) return "nothing was changed";
  const whole = [...left].filter((namespace) => !done.has(namespace));
  const parts = [...left].filter((namespace) => done.has(namespace));
  return [
    ...(whole.length === 0 ? [] : [`nothing was changed in ${nameAll(whole)}`]),
    ...(parts.length === 0
      ? []
      : [`only some was changed in ${nameAll(parts)}`]),
  ].join("; ");
}

function nameAll(namespaces: readonly string[]): string {
  const named = namespaces
    .slice(0, MOST_NAMED)
    .map((namespace) =>
      namespace === "" ? "the whole mesh" : `namespace ${namespace}`,
    );
  const more = namespaces.length - named.length;
  return `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function listIn(value: unknown): readonly Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** "items[17].spec.rules[0]" is about the one at 17. */
function causeOf(cause: Partial<Record<keyof Cause, unknown>>): ItemCause {
  const message = textOf(cause.message);
  const [whole, index, path = ""] =
    /^items\[(\d+)\]\.?(.*)$/s.exec(textOf(cause.field)) ?? [];
  return {
    index: whole === undefined ? undefined : Number(index),
    path,
    message:
      whole === undefined && textOf(cause.field) !== ""
        ? `${textOf(cause.field)}: ${message}`
        : message,
  };
}
