/** `POST /apply`: many resources in one request, as `wherry apply` sends them. */
import Type from "typebox";
import { KINDS } from "../../../resources/registry.ts";
import type { Api } from "../api.ts";
import { applyList, OUTCOMES } from "../apply/apply.ts";
import type { ApiOptions } from "../options.ts";
import { CAUSES } from "../schemas.ts";
import type { SharedTurnstile } from "../turnstile.ts";
import { addListRoute } from "./list-route.ts";

export function addApplyRoutes(
  api: Api,
  options: ApiOptions,
  turnstile: SharedTurnstile,
): void {
  addListRoute(api, options, turnstile, {
    path: "/apply",
    operationId: "applyResources",
    summary:
      "Create or replace many resources in one transaction: each namespace as a whole, or not at all",
    list: "List",
    item: Type.Union(
      KINDS.map(({ kind }) => Type.Unsafe({ $ref: `${kind}#` })),
    ),
    result: {
      kind: "ApplyResult",
      outcomes: OUTCOMES,
      meaning:
        "refused: something is wrong with it; skipped: something is wrong with another one of its namespace",
      item: { resourceVersion: Type.Optional(Type.String()) },
      more: { warnings: CAUSES },
    },
    done: "all of it is as the list says",
    errors: [409, 413, 415, 422],
    run: applyList,
  });
}
