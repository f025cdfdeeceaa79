/** A route that takes many resources in one request: what it reads, its turn, and a line of the log for each resource. */
import type { FastifyReply, FastifyRequest } from "fastify";
import Type, { type TProperties, type TSchema } from "typebox";
import { CLOSED } from "../../../resources/schema-parts.ts";
import type { Api } from "../api.ts";
import { LIST_FRAME, type ListRequest } from "../apply/list.ts";
import { authorIn, principalOf } from "../rights/authentication.ts";
import {
  JSON_TYPE,
  LIST_LIMIT,
  MOST_ITEMS,
  MOST_LIST_VALUES,
} from "../bodies.ts";
import { answers } from "../documentation.ts";
import { ApiError, type Cause } from "../errors.ts";
import { isObject } from "../../../core/text/json.ts";
import type { ApiOptions } from "../options.ts";
import { CAUSES } from "../schemas.ts";
import type { SharedTurnstile } from "../turnstile.ts";
import { DRY_RUN, jsonBody } from "./route-parts.ts";

const LIST_QUERY: TSchema = Type.Object(
  {
    ...DRY_RUN,
    atomic: Type.Optional(
      Type.Literal("true", {
        description:
          "change nothing where anything is refused; without it, that holds for each namespace by itself",
      }),
    ),
  },
  CLOSED,
);

export interface ListRoute<O> {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  /** Name of the request's schema. */
  readonly list: string;
  readonly item: TSchema;
  readonly result: ResultOptions;
  /** What 200 says. */
  readonly done: string;
  /** Statuses of errors, besides those that all routes have. */
  readonly errors: readonly number[];
  readonly run: (
    options: ApiOptions,
    request: ListRequest<O>,
  ) => Promise<{ readonly causes: readonly Cause[] }>;
}

export function addListRoute<O extends string>(
  api: Api,
  options: ApiOptions,
  turnstile: SharedTurnstile,
  route: ListRoute<O>,
): void {
  const { path, list, operationId, summary } = route;
  const response = { $ref: `${route.result.kind}#` };
  api.addSchema(listOf(route.item, list));
  api.addSchema(resultOf(route.result));
  api.post(
    path,
    {
      bodyLimit: LIST_LIMIT,
      config: { callers: "list-writers", mostValues: MOST_LIST_VALUES },
      schema: {
        tags: ["resources"],
        operationId,
        summary,
        querystring: LIST_QUERY,
        body: jsonBody({ $ref: `${list}#` }),
        response: answers(
          {
            200: { ...response, description: route.done },
            207: {
              ...response,
              description: "some namespaces are refused; causes say why",
            },
          },
          ...route.errors,
        ),
      },
      onRequest: (request, reply) => waitForTurn(turnstile, request, reply),
    },
    async (request, reply) => {
      const result = await route.run(options, {
        principal: principalOf(request),
        author: authorIn(request),
        body: request.body,
        ...listQueryOf(request),
        audit: auditOf(options, request),
      });
      return reply.code(result.causes.length === 0 ? 200 : 207).send(result);
    },
  );
}

/** Before the body is read: what waits takes no memory. */
async function waitForTurn(
  turnstile: SharedTurnstile,
  request: FastifyRequest,
  { raw }: FastifyReply,
): Promise<void> {
  // YAML would be read first and refused then, and it takes long.
  if (request.mediaType !== JSON_TYPE)
    throw new ApiError(
      "UnsupportedMediaType",
      `content-type ${request.mediaType ?? ""} is not taken here: send ${JSON_TYPE}`,
    );
  const leave = await turnstile.enter(principalOf(request).tokenId);
  raw.once("finish", leave);
  raw.once("close", leave);
  if (raw.destroyed) leave();
}

/** One line for each resource, as a write of it alone has. */
function auditOf(
  { logger }: ApiOptions,
  request: FastifyRequest,
): (resource: string, outcome: string) => void {
  const { tokenId: token } = principalOf(request);
  const { method, url, ip: remote } = request;
  return (resource, outcome) =>
    logger.info({ method, url, resource, outcome, token, remote }, "API write");
}

function listQueryOf({ query }: FastifyRequest): {
  readonly dryRun: boolean;
  readonly atomic: boolean;
} {
  const given = isObject(query) ? query : {};
  return {
    dryRun: given["dryRun"] !== undefined,
    atomic: given["atomic"] !== undefined,
  };
}

function listOf(item: TSchema, $id: string): TSchema {
  return Type.Object(
    { ...LIST_FRAME, items: Type.Array(item, { maxItems: MOST_ITEMS }) },
    { $id, ...CLOSED },
  );
}

/** What became of a list. */
export interface ResultOptions {
  readonly kind: string;
  /** What may become of one item; `meaning` explains them. */
  readonly outcomes: readonly string[];
  readonly meaning: string;
  /** What an item has besides. */
  readonly item?: TProperties;
  /** What the result has besides. */
  readonly more?: TProperties;
}

function resultOf(options: ResultOptions): TSchema {
  const { kind, outcomes, meaning, item = {}, more = {} } = options;
  return Type.Object(
    {
      apiVersion: Type.Literal("v1"),
      kind: Type.Literal(kind),
      metadata: Type.Object(
        {
          resourceVersion: Type.String({
            description: "the newest version in the store: watch from here",
          }),
        },
        CLOSED,
      ),
      items: Type.Array(
        Type.Object(
          {
            kind: Type.Optional(Type.String()),
            namespace: Type.Optional(Type.String()),
            name: Type.Optional(Type.String()),
            outcome: Type.Union(
              outcomes.map((outcome) => Type.Literal(outcome)),
              { description: meaning },
            ),
            ...item,
          },
          CLOSED,
        ),
        { description: "in the order of the request" },
      ),
      ...more,
      causes: CAUSES,
    },
    { $id: kind, ...CLOSED },
  );
}
