/** `GET /audit`: what was done to the mesh, by whom, from where, and what changed. */
import Type, { type Static, type TSchema } from "typebox";
import { pauses, type Pause } from "../../../core/slices.ts";
import { ROOT_NAMESPACE } from "../../../resources/envelope.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import type { AuditEntry, AuditPage, AuditQuery } from "../../audit/audit.ts";
import type { Store } from "../../store/store.ts";
import type { Principal } from "../../tokens.ts";
import type { Api } from "../api.ts";
import { answers } from "../documentation.ts";
import { sendLong } from "../long-list.ts";
import type { ApiOptions } from "../options.ts";
import { isFullAdmin } from "../rights/access.ts";
import { principalOf } from "../rights/authentication.ts";

/** Entries of one response. */
const MOST_ENTRIES = 500;
const FEW = 100;

const TEXT = Type.Optional(Type.String({ minLength: 1, maxLength: 300 }));

const QUERY = Type.Object(
  {
    by: TEXT,
    request: TEXT,
    verb: TEXT,
    kind: TEXT,
    namespace: TEXT,
    name: TEXT,
    since: Type.Optional(
      Type.String({
        pattern: "^[0-9]{1,15}$",
        description: "milliseconds since the Unix epoch",
      }),
    ),
    before: Type.Optional(
      Type.String({
        pattern: "^[0-9]{1,15}$",
        description: "only entries with lower ids: `next` of the last response",
      }),
    ),
    limit: Type.Optional(
      Type.String({
        pattern: "^([1-9][0-9]?|[1-4][0-9][0-9]|500)$",
        description: `entries of one response; at most ${MOST_ENTRIES}, ${FEW} where it is absent`,
      }),
    ),
  },
  CLOSED,
);

const AUDIT_ENTRY = Type.Object(
  {
    id: Type.Integer({ description: "later ones are higher" }),
    at: Type.Integer({ description: "milliseconds since the Unix epoch" }),
    by: Type.String({
      description: "ApiToken/ID, EnrolmentToken/ID or a SPIFFE ID",
    }),
    from: Type.String({ description: "address of the connection" }),
    request: Type.String({
      description: "the same for all that one request did",
    }),
    verb: Type.String({
      description: "create, update or delete; or what else was done",
    }),
    kind: Type.String(),
    namespace: Type.String({
      description: '"" for what concerns the whole mesh',
    }),
    name: Type.String(),
    revision: Type.Optional(
      Type.Integer({ description: "of the store, where a resource changed" }),
    ),
    changes: Type.Optional(
      Type.Array(
        Type.Object(
          {
            path: Type.String({
              description: "such as spec.rules[0].timeouts.request",
            }),
            before: Type.Optional(Type.Unknown()),
            after: Type.Optional(Type.Unknown()),
            hidden: Type.Optional(
              Type.Literal(true, { description: "the values may be secret" }),
            ),
          },
          CLOSED,
        ),
      ),
    ),
    moreChanges: Type.Optional(
      Type.Integer({ description: "changes that are not listed" }),
    ),
    note: Type.Optional(Type.String()),
  },
  CLOSED,
);

const AUDIT_LIST: TSchema = Type.Object(
  {
    items: Type.Array(AUDIT_ENTRY, { description: "the newest first" }),
    next: Type.Optional(
      Type.Integer({
        description: "there may be more: ask again with this as `before`",
      }),
    ),
  },
  CLOSED,
);

type Query = Static<typeof QUERY>;

export function addAuditRoute(api: Api, { store, clock }: ApiOptions): void {
  api.get(
    "/audit",
    {
      config: { callers: "any-token", long: true },
      schema: {
        tags: ["mesh"],
        operationId: "listAudit",
        summary:
          "The audit log: what was done, by which token, from where, and which fields changed",
        querystring: QUERY,
        response: answers({ 200: AUDIT_LIST }, 429),
      },
    },
    async (request, reply) => {
      const { since, before, limit, ...exact } = request.query as Query;
      const page = await readPage(
        store,
        {
          ...exact,
          ...(since === undefined ? {} : { since: Number(since) }),
          ...(before === undefined ? {} : { before: Number(before) }),
          limit: Number(limit ?? FEW),
          readable: readableBy(principalOf(request)),
        },
        pauses(clock),
      );
      const { entries: items, next } = page;
      const body = next === undefined ? { items } : { items, next };
      return sendLong(reply, body, "items", clock);
    },
  );
}

/** What concerns the whole mesh, tokens most of all, is for those that administer it. */
function readableBy(principal: Principal): AuditQuery["readable"] {
  if (isFullAdmin(principal)) return "all";
  const { namespaces } = principal;
  return namespaces === undefined
    ? "namespaced"
    : [...namespaces, ROOT_NAMESPACE];
}

/** Steps back until the page is full or the log ends. */
async function readPage(
  store: Store,
  query: AuditQuery,
  pause: Pause,
): Promise<AuditPage> {
  const entries: AuditEntry[] = [];
  let next = query.before;
  do {
    const step: AuditPage = await store.audited({
      ...query,
      ...(next === undefined ? {} : { before: next }),
      limit: query.limit - entries.length,
    });
    entries.push(...step.entries);
    next = step.next;
    await pause();
  } while (next !== undefined && entries.length < query.limit);
  return { entries, next };
}
