/** `POST /apply`: many resources in one request, as `wherry apply` sends them. */
import Type, { type TSchema } from "typebox";
import { KINDS } from "../../../resources/registry.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import type { Api } from "../api.ts";
import { applyList, OUTCOMES } from "../apply/apply.ts";
import { LIST_FRAME } from "../apply/list.ts";
import { principalOf } from "../authentication.ts";
import {
  JSON_TYPE,
  LIST_LIMIT,
  MOST_ITEMS,
  MOST_LIST_VALUES,
} from "../bodies.ts";
import { answers } from "../documentation.ts";
import type { ApiOptions } from "../options.ts";
import { CAUSES } from "../schemas.ts";
import type { Turnstile } from "../turnstile.ts";
import {
  auditOf,
  LIST_QUERY,
  listQueryOf,
  listResult,
  waitForTurn,
} from "./list-parts.ts";

const LIST: TSchema = Type.Object(
  {
    ...LIST_FRAME,
    items: Type.Array(
      Type.Union(KINDS.map(({ kind }) => Type.Unsafe({ $ref: `${kind}#` }))),
      { maxItems: MOST_ITEMS },
    ),
  },
  { $id: "List", ...CLOSED },
);

const RESULT: TSchema = listResult({
  kind: "ApplyResult",
  outcomes: OUTCOMES,
  meaning:
    "refused: something is wrong with it; skipped: something is wrong with another one of its namespace",
  item: { resourceVersion: Type.Optional(Type.String()) },
  more: { warnings: CAUSES },
});

const APPLIED = { $ref: "ApplyResult#" };

export function addApplyRoutes(
  api: Api,
  options: ApiOptions,
  turnstile: Turnstile,
): void {
  api.addSchema(LIST);
  api.addSchema(RESULT);
  api.post(
    "/apply",
    {
      bodyLimit: LIST_LIMIT,
      config: { mostValues: MOST_LIST_VALUES },
      schema: {
        tags: ["resources"],
        operationId: "applyResources",
        summary:
          "Create or replace many resources in one transaction: each namespace as a whole, or not at all",
        querystring: LIST_QUERY,
        body: { content: { [JSON_TYPE]: { schema: { $ref: "List#" } } } },
        response: answers(
          {
            200: { ...APPLIED, description: "all of it is as the list says" },
            207: {
              ...APPLIED,
              description: "some namespaces are refused; causes say why",
            },
          },
          409,
          413,
          415,
          422,
        ),
      },
      onRequest: (request, reply) => waitForTurn(turnstile, request, reply),
    },
    async (request, reply) => {
      const result = await applyList(options, {
        principal: principalOf(request),
        body: request.body,
        ...listQueryOf(request),
        audit: auditOf(options, request),
      });
      return reply.code(result.causes.length === 0 ? 200 : 207).send(result);
    },
  );
}
