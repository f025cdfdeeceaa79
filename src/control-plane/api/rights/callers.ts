/** The callers that a route of the API can have: every route names one of these, and the table says what each asks of a token. */
import type { Principal } from "../../tokens.ts";
import { isFullAdmin, refusal } from "./access.ts";

export type Callers =
  | "anybody"
  | "any-token"
  | "namespace-readers"
  | "readers-of-all"
  | "namespace-writers"
  | "mesh-writers"
  | "list-writers"
  | "administrators";

export interface CallersRow {
  /** In words, as the reference and the OpenAPI document have it. */
  readonly tokens: string;
  /** False: it responds without a token, and looks at none. */
  readonly needsToken: boolean;
  /** Whether some token is refused. */
  readonly refuses: boolean;
  /** Why the principal may not; `namespace` is that of the path. */
  refusal(
    principal: Principal,
    namespace: string | undefined,
  ): string | undefined;
}

const NOBODY_REFUSED = { refuses: false, refusal: () => undefined } as const;

export const CALLERS: Readonly<Record<Callers, CallersRow>> = {
  anybody: {
    ...NOBODY_REFUSED,
    tokens: "anybody, without a token",
    needsToken: false,
  },
  "any-token": {
    ...NOBODY_REFUSED,
    tokens: "every token: it is shown what it may read",
    needsToken: true,
  },
  "namespace-readers": {
    ...judgedBy((principal, namespace) =>
      refusal(principal, "read", namespace ?? ""),
    ),
    tokens:
      "every token that is not bound to other namespaces; all may read in the root namespace",
  },
  "readers-of-all": {
    ...judgedBy((principal) => refusal(principal, "read", undefined)),
    tokens: "every token that is not bound to namespaces",
  },
  "namespace-writers": {
    ...judgedBy((principal, namespace) =>
      refusal(principal, "write", namespace ?? ""),
    ),
    tokens:
      "editors and administrators that are not bound to other namespaces; in the root namespace, administrators that are not bound",
  },
  "mesh-writers": {
    ...judgedBy((principal) => refusal(principal, "write", "")),
    tokens: "administrators that are not bound to namespaces",
  },
  "list-writers": {
    ...judgedBy((principal) =>
      principal.role === "viewer" ? refusal(principal, "write", "") : undefined,
    ),
    tokens:
      "editors and administrators; each resource of the list is judged as in a write by itself",
  },
  administrators: {
    ...judgedBy((principal) =>
      isFullAdmin(principal)
        ? undefined
        : "this needs a token with the role admin and no list of namespaces",
    ),
    tokens: "administrators that are not bound to namespaces",
  },
};

function judgedBy(judge: CallersRow["refusal"]): Omit<CallersRow, "tokens"> {
  return { needsToken: true, refuses: true, refusal: judge };
}
