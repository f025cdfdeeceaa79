/** The OpenAPI 3.1 document, made from the schemas that the routes validate with. */
import swagger from "@fastify/swagger";
import type { FastifySchema } from "fastify";
import { isObject } from "../../core/text/json.ts";
import Type, { type TSchema } from "typebox";
import type { KindDefinition } from "../../resources/kind.ts";
import { KINDS } from "../../resources/registry.ts";
import type { Api } from "./api.ts";
import { CALLERS, type Callers } from "./rights/callers.ts";
import { API_REASONS } from "./errors.ts";
import { STATUS, STATUS_SCHEMA } from "./schemas.ts";

/** A scheme of OpenAPI 3.1 that the types of the library lack. */
const CERTIFICATE = {
  type: "mutualTLS",
  description:
    "a client certificate with a name that --api-client gives a role to",
} as never;

export async function documentApi(api: Api): Promise<void> {
  await api.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Wherry control plane",
        version: "v1alpha1",
        description:
          "The mesh's resources, as Kubernetes has them: optimistic concurrency by metadata.resourceVersion, merge patch, dry run, watch. " +
          "Every error is a Status; what is wrong with a field is in details.causes.",
      },
      components: {
        securitySchemes: {
          token: {
            type: "http",
            scheme: "bearer",
            description: "an API token, such as that in admin.token",
          },
          certificate: CERTIFICATE,
        },
      },
      security: [{ token: [] }, { certificate: [] }],
    },
    transform: ({ schema, url, route }) => ({
      url,
      schema: withCallers(schema, route.config?.callers ?? "any-token"),
    }),
    convertConstToEnum: false,
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json["$id"] === "string" ? json["$id"] : `schema-${index}`,
    },
  });
  api.addSchema(STATUS_SCHEMA);
  for (const definition of KINDS) {
    api.addSchema({ ...definition.schema, $id: definition.kind });
    api.addSchema(listSchema(definition));
    api.addSchema(eventSchema(definition));
  }
}

/** Adds the callers of an operation, and leaves out the refusals that it has for nobody. */
function withCallers(
  schema: FastifySchema,
  callers: Callers,
): FastifySchema & { readonly "x-wherry-callers": Callers } {
  const { tokens, needsToken, refuses } = CALLERS[callers];
  const responses = isObject(schema.response) ? schema.response : {};
  const { 401: unauthorized, 403: forbidden, ...rest } = responses;
  return {
    ...schema,
    description: `Callers: ${tokens}.`,
    ...(needsToken ? {} : { security: [] }),
    "x-wherry-callers": callers,
    response: {
      ...rest,
      ...(needsToken ? { 401: unauthorized } : {}),
      ...(refuses ? { 403: forbidden } : {}),
    },
  };
}

function listSchema({ kind, apiVersion }: KindDefinition): TSchema {
  return Type.Object(
    {
      apiVersion: Type.Literal(apiVersion),
      kind: Type.Literal(`${kind}List`),
      metadata: Type.Object(
        { resourceVersion: Type.String() },
        { additionalProperties: false },
      ),
      items: Type.Array(Type.Unsafe({ $ref: `${kind}#` })),
    },
    { $id: `${kind}List`, additionalProperties: false },
  );
}

function eventSchema({ kind }: KindDefinition): TSchema {
  return Type.Object(
    {
      type: Type.Union(
        ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"].map((type) =>
          Type.Literal(type),
        ),
      ),
      object: Type.Object({}),
    },
    {
      $id: `${kind}Event`,
      additionalProperties: false,
      description: `one line of a watch; object is a ${kind}, at ERROR a Status, at BOOKMARK only its resourceVersion`,
    },
  );
}

/** What every route may respond with besides success. */
const ALWAYS: readonly number[] = [400, 401, 403, 404, 405, 408, 431, 500, 503];

/** The `response` schema of a route: its successes, and the errors as Status. */
export function answers(
  successes: Readonly<Record<number, object>>,
  ...errors: readonly number[]
): Record<number, object> {
  const described = [...ALWAYS, ...errors].map(
    (code) => [code, { ...STATUS, description: reasonsOf(code) }] as const,
  );
  return { ...successes, ...Object.fromEntries(described) };
}

function reasonsOf(code: number): string {
  return Object.entries(API_REASONS)
    .filter(([, { status }]) => status === code)
    .map(([reason, { text }]) => `${reason}: ${text}`)
    .join("; or ");
}
