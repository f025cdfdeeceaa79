/** What the routes of the mesh share: their schemas' common parts, and the right that most of them need. */
import type { FastifyRequest } from "fastify";
import Type, { type TSchema } from "typebox";
import { CLOSED } from "../../../resources/schema-parts.ts";
import { isFullAdmin } from "../access.ts";
import { principalOf } from "../authentication.ts";
import { JSON_TYPE } from "../bodies.ts";
import { ApiError } from "../errors.ts";

export const NO_QUERY: TSchema = Type.Object({}, CLOSED);

export const DRY_RUN: Readonly<Record<string, TSchema>> = {
  dryRun: Type.Optional(
    Type.Literal("All", { description: "judge, and change nothing" }),
  ),
};

export function jsonBody(schema: object): object {
  return { content: { [JSON_TYPE]: { schema } } };
}

/** Throws ApiError Forbidden. `what`: "making API tokens". */
export function needAdmin(request: FastifyRequest, what: string): void {
  if (!isFullAdmin(principalOf(request)))
    throw new ApiError(
      "Forbidden",
      `${what} needs a token with the role admin and no list of namespaces`,
    );
}
