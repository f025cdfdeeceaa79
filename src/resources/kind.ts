/** What the registry knows of a kind: its names, its schema and the checks that a schema cannot state. */
import Type, { type TSchema } from "typebox";
import { DEFAULT_NAMESPACE, type Resource } from "./envelope.ts";
import {
  CLOSED,
  DNS_LABEL,
  DNS_NAME,
  field,
  LABEL_KEY,
  LABEL_VALUE,
} from "./schema-parts.ts";

/** The API group of the kinds that are Wherry's own. */
export const OWN_GROUP = "mesh.wherry.dev";

/** What is wrong with a resource, and where. A warning does not refuse it. */
export interface Problem {
  /** Like `spec.rules[0].matches[1].path.value`; "" for the document as a whole. */
  readonly path: string;
  /** Says what is wrong and what is allowed. */
  readonly message: string;
  /** Absent means "error". */
  readonly severity?: "error" | "warning";
  /** The fault is the field's name, not its value. */
  readonly at?: "key";
}

export interface KindDefinition<S = unknown> {
  readonly kind: string;
  /** "gateway.networking.k8s.io/v1" */
  readonly apiVersion: string;
  readonly group: string;
  readonly version: string;
  /** Lower-case, as in the REST path. */
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  /** What the kind is for, in a sentence. */
  readonly meaning: string;
  /** JSON schema of the whole resource. */
  readonly schema: TSchema;
  /**
   * Fields that upstream has and this version does not, by their path with "[]" for any index, with the advice to give.
   * Every other field that the schema does not name is unknown.
   */
  readonly unsupported: Readonly<Record<string, string>>;
  /** What the schema cannot state. Runs only on a resource that the schema accepts. */
  check(resource: Resource<S>): Problem[];
}

export interface KindOptions<S> {
  readonly kind: string;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly namespaced?: boolean;
  readonly meaning: string;
  readonly spec: TSchema;
  readonly unsupported?: Readonly<Record<string, string>>;
  check(resource: Resource<S>): Problem[];
}

export function defineKind<S>(options: KindOptions<S>): KindDefinition<S> {
  const apiVersion = `${options.group}/${options.version}`;
  const namespaced = options.namespaced ?? true;
  return {
    kind: options.kind,
    apiVersion,
    group: options.group,
    version: options.version,
    plural: options.plural,
    singular: options.kind.toLowerCase(),
    shortNames: options.shortNames,
    namespaced,
    meaning: options.meaning,
    schema: Type.Object(
      {
        apiVersion: Type.Literal(apiVersion),
        kind: Type.Literal(options.kind),
        metadata: metadataSchema(namespaced),
        spec: options.spec,
        status: Type.Optional(Type.Object({})),
      },
      { ...CLOSED, description: options.meaning },
    ),
    unsupported: options.unsupported ?? {},
    check: (resource) => options.check(resource),
  };
}

/** Narrows a resource to its kind's spec. */
export function isKind<S>(
  definition: KindDefinition<S>,
  resource: Resource,
): resource is Resource<S> {
  return (
    resource.kind === definition.kind &&
    resource.apiVersion === definition.apiVersion
  );
}

function metadataSchema(namespaced: boolean): TSchema {
  const common = {
    name: field(
      "The name, unique for the kind in its namespace.",
      Type.String(DNS_NAME),
    ),
    labels: field(
      "By these, `wherry get -l` and selectors find the resource.",
      Type.Optional(
        Type.Record(Type.String(), Type.String(LABEL_VALUE), {
          propertyNames: LABEL_KEY,
        }),
      ),
    ),
    annotations: field(
      "Notes for people and tools. They change nothing in the mesh.",
      Type.Optional(
        Type.Record(Type.String(), Type.String({ maxLength: 65_536 }), {
          propertyNames: LABEL_KEY,
        }),
      ),
    ),
    uid: field(
      "Set by the store: another one for each resource ever made.",
      Type.Optional(Type.String({ maxLength: 128 })),
    ),
    resourceVersion: field(
      "Set by the store at each write. In a PUT it names the version to replace.",
      Type.Optional(Type.String({ maxLength: 128 })),
    ),
    generation: field(
      "Set by the store: the number of changes of the spec.",
      Type.Optional(Type.Integer({ minimum: 0 })),
    ),
    creationTimestamp: field(
      "Set by the store. The older of two conflicting resources wins; a restore keeps it.",
      Type.Optional(
        Type.String({
          pattern:
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?(Z|[+\\-][0-9]{2}:[0-9]{2})$",
          expected: 'an RFC 3339 time such as "2026-12-01T00:00:00Z"',
        }),
      ),
    ),
  };
  return namespaced
    ? Type.Object(
        {
          ...common,
          namespace: field(
            "The namespace. Policies in `wherry-system` act on the whole mesh.",
            Type.Optional(Type.String(DNS_LABEL)),
            DEFAULT_NAMESPACE,
          ),
        },
        CLOSED,
      )
    : Type.Object(common, CLOSED);
}
