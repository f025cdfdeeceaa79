/** What a resource must pass before it is written: its schema and checks, what the URL says of it, and its references. */
import type { Resource } from "../../resources/envelope.ts";
import type { KindDefinition, Problem } from "../../resources/kind.ts";
import { validate } from "../../resources/validate.ts";
import { BODY_LIMIT } from "./bodies.ts";
import { invalid, type Cause } from "./errors.ts";
import { isObject } from "../../core/text/json.ts";

export interface ResourceUrl {
  readonly definition: KindDefinition;
  /** As the URL says; undefined for the kinds of the whole mesh. */
  readonly namespace: string | undefined;
  /** As the URL says; undefined where the body names the resource. */
  readonly name: string | undefined;
}

export interface ValidResource {
  readonly resource: Resource;
  readonly warnings: readonly string[];
}

/** Judges resources, as if all were written, by what the mesh holds beside them: references, and limits that the running control plane sets. */
export type CheckInPlace = (
  resources: readonly Resource[],
) => Promise<readonly (readonly Problem[])[]>;

/** Throws ApiError Invalid with every cause. */
export async function validateResource(
  body: unknown,
  url: ResourceUrl,
  checkInPlace: CheckInPlace,
): Promise<ValidResource> {
  const what = describe(body, url);
  const misplaced = misplacements(body, url);
  if (misplaced.length > 0) throw invalid(what, misplaced);
  const validation = validate(
    body,
    url.namespace === undefined ? {} : { namespace: url.namespace },
  );
  if (!validation.ok) throw invalid(what, validation.problems.map(causeOf));
  const { resource } = validation;
  // Patches add up, and every sidecar in reach would have to take the sum.
  const bytes = Buffer.byteLength(JSON.stringify(resource));
  if (bytes > BODY_LIMIT)
    throw invalid(what, [
      {
        field: "",
        message: `would have ${bytes} bytes as JSON, more than ${BODY_LIMIT}`,
      },
    ]);
  const [inPlace = []] = await checkInPlace([resource]);
  const errors = inPlace.filter(({ severity }) => severity !== "warning");
  if (errors.length > 0) throw invalid(what, errors.map(causeOf));
  return {
    resource,
    warnings: [...validation.warnings, ...inPlace].map(
      ({ path, message }) => `${path}: ${message}`,
    ),
  };
}

/** The version that the writer has read, where it says so. Throws ApiError Invalid. */
export function statedVersion(body: unknown): number | undefined {
  const metadata = isObject(body) ? body["metadata"] : undefined;
  const version = isObject(metadata) ? metadata["resourceVersion"] : undefined;
  if (version === undefined || version === null || version === "")
    return undefined;
  if (typeof version === "string" && /^[0-9]{1,15}$/.test(version))
    return Number(version);
  throw invalid("metadata", [
    {
      field: "metadata.resourceVersion",
      message:
        "is not a version that this store gave: send it as it was read, or leave it out to overwrite",
    },
  ]);
}

/** Where the body speaks of another kind, name or namespace than the URL. */
function misplacements(body: unknown, url: ResourceUrl): Cause[] {
  if (!isObject(body)) return [];
  const { definition } = url;
  const metadata = isObject(body["metadata"]) ? body["metadata"] : {};
  const wanted: readonly (readonly [string, unknown, string | undefined])[] = [
    ["apiVersion", body["apiVersion"], definition.apiVersion],
    ["kind", body["kind"], definition.kind],
    ["metadata.name", metadata["name"], url.name],
    ["metadata.namespace", metadata["namespace"], url.namespace],
  ];
  return wanted.flatMap(([field, found, expected]) =>
    typeof found === "string" && expected !== undefined && found !== expected
      ? [
          {
            field,
            message: `is ${JSON.stringify(found)}, but the URL says ${JSON.stringify(expected)}`,
          },
        ]
      : [],
  );
}

function describe(body: unknown, { definition }: ResourceUrl): string {
  const metadata = isObject(body) ? body["metadata"] : undefined;
  const name = isObject(metadata) ? metadata["name"] : undefined;
  return typeof name === "string"
    ? `${definition.kind} ${JSON.stringify(name.slice(0, 253))}`
    : `the ${definition.kind}`;
}

export function causeOf({ path, message }: Problem): Cause {
  return { field: path, message };
}
