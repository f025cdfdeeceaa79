/** What the routes share that take many resources in one request: their query, their turn, and a line of the log for each resource. */
import type { FastifyReply, FastifyRequest } from "fastify";
import Type, { type TProperties, type TSchema } from "typebox";
import { CLOSED } from "../../../resources/schema-parts.ts";
import { principalOf } from "../authentication.ts";
import { JSON_TYPE } from "../bodies.ts";
import { ApiError } from "../errors.ts";
import { isObject } from "../merge-patch.ts";
import type { ApiOptions } from "../options.ts";
import { CAUSES } from "../schemas.ts";
import type { Turnstile } from "../turnstile.ts";
import { DRY_RUN } from "./route-parts.ts";

export const LIST_QUERY: TSchema = Type.Object(
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

/** Before the body is read: what waits takes no memory. */
export async function waitForTurn(
  turnstile: Turnstile,
  request: FastifyRequest,
  { raw }: FastifyReply,
): Promise<void> {
  // YAML would be read first and refused then, and it takes long.
  if (request.mediaType !== JSON_TYPE)
    throw new ApiError(
      "UnsupportedMediaType",
      `content-type ${request.mediaType ?? ""} is not taken here: send ${JSON_TYPE}`,
    );
  const leave = await turnstile.enter();
  raw.once("finish", leave);
  raw.once("close", leave);
  if (raw.destroyed) leave();
}

/** One line for each resource, as a write of it alone has. */
export function auditOf(
  { logger }: ApiOptions,
  request: FastifyRequest,
): (resource: string, outcome: string) => void {
  const { tokenId: token } = principalOf(request);
  const { method, url, ip: remote } = request;
  return (resource, outcome) =>
    logger.info({ method, url, resource, outcome, token, remote }, "API write");
}

export function listQueryOf({ query }: FastifyRequest): {
  readonly dryRun: boolean;
  readonly atomic: boolean;
} {
  const given = isObject(query) ? query : {};
  return {
    dryRun: given["dryRun"] !== undefined,
    atomic: given["atomic"] !== undefined,
  };
}

/** What became of a list. `outcomes`: of one item, which `meaning` explains; `item` and `more` are what the result has besides. */
export function listResult(options: {
  readonly kind: string;
  readonly outcomes: readonly string[];
  readonly meaning: string;
  readonly item?: TProperties;
  readonly more?: TProperties;
}): TSchema {
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
