/** `POST /delete`: many resources go in one request, as `wherry delete -f` sends them. */
import Type, { type TSchema } from "typebox";
import { KINDS } from "../../../resources/registry.ts";
import type { Api } from "../api.ts";
import { deleteList, REMOVALS } from "../apply/delete.ts";
import type { ApiOptions } from "../options.ts";
import { CAUSES } from "../schemas.ts";
import type { SharedTurnstile } from "../turnstile.ts";
import { addListRoute } from "./list-route.ts";

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

export function addDeleteRoutes(
  api: Api,
  options: ApiOptions,
  turnstile: SharedTurnstile,
): void {
  addListRoute(api, options, turnstile, {
    path: "/delete",
    operationId: "deleteResources",
    summary:
      "Delete many resources in one transaction: each namespace as a whole, or not at all",
    list: "DeleteList",
    item: TARGET,
    result: {
      kind: "DeleteResult",
      outcomes: REMOVALS,
      meaning:
        "missing: there is none of that name; refused: it may not go; skipped: another one of its namespace is refused",
      more: { warnings: CAUSES },
    },
    done: "nothing of the list is there any more",
    errors: [413, 415, 422],
    run: deleteList,
  });
}
