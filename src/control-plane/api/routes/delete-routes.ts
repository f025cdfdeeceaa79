/** `POST /delete`: many resources go in one request, as `wherry delete -f` sends them. */
import Type, { type TSchema } from "typebox";
import { KINDS } from "../../../resources/registry.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import type { Api } from "../api.ts";
import { deleteList, REMOVALS } from "../apply/delete.ts";
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
import type { Turnstile } from "../turnstile.ts";
import {
  auditOf,
  LIST_QUERY,
  listQueryOf,
  listResult,
  waitForTurn,
} from "./list-parts.ts";

const TARGET: TSchema = Type.Object(
  {
    apiVersion: Type.Union(
      [...new Set(KINDS.map(({ apiVersion }) => apiVersion))].map((each) =>
        Type.Literal(each),
      ),
    ),
    kind: Type.Union(KINDS.map(({ kind }) => Type.Literal(kind))),
    metadata: Type.Object({
      name: Type.String({ minLength: 1, maxLength: 253 }),
      namespace: Type.Optional(Type.String()),
    }),
  },
  { description: "what else a resource has may be there, and is not read" },
);

const LIST: TSchema = Type.Object(
  { ...LIST_FRAME, items: Type.Array(TARGET, { maxItems: MOST_ITEMS }) },
  { $id: "DeleteList", ...CLOSED },
);

const RESULT: TSchema = listResult({
  kind: "DeleteResult",
  outcomes: REMOVALS,
  meaning:
    "missing: there is none of that name; refused: it may not go; skipped: another one of its namespace is refused",
});

const DELETED = { $ref: "DeleteResult#" };

export function addDeleteRoutes(
  api: Api,
  options: ApiOptions,
  turnstile: Turnstile,
): void {
  api.addSchema(LIST);
  api.addSchema(RESULT);
  api.post(
    "/delete",
    {
      bodyLimit: LIST_LIMIT,
      config: { mostValues: MOST_LIST_VALUES },
      schema: {
        tags: ["resources"],
        operationId: "deleteResources",
        summary:
          "Delete many resources in one transaction: each namespace as a whole, or not at all",
        querystring: LIST_QUERY,
        body: { content: { [JSON_TYPE]: { schema: { $ref: "DeleteList#" } } } },
        response: answers(
          {
            200: {
              ...DELETED,
              description: "nothing of the list is there any more",
            },
            207: {
              ...DELETED,
              description: "some namespaces are refused; causes say why",
            },
          },
          413,
          415,
          422,
        ),
      },
      onRequest: (request, reply) => waitForTurn(turnstile, request, reply),
    },
    async (request, reply) => {
      const result = await deleteList(options, {
        principal: principalOf(request),
        body: request.body,
        ...listQueryOf(request),
        audit: auditOf(options, request),
      });
      return reply.code(result.causes.length === 0 ? 200 : 207).send(result);
    },
  );
}
