/** What a route responds by itself: another place to go, or leave for a browser's call (HTTPRoute's RequestRedirect and CORS). */
import type { HeaderPair } from "../../resources/route-filters/schema.ts";
import { corsEdits, preflightFields } from "../routing/cors.ts";
import {
  editedPairs,
  inTurn,
  type HeaderEdits,
} from "../routing/header-edits.ts";
import type { ReadRequest } from "../path.ts";
import type { PreflightDecision, RedirectDecision } from "../snapshot.ts";
import { locationOf } from "../routing/url-rewrite.ts";

export interface LocalAnswer {
  readonly status: number;
  /** Undefined for a preflight. */
  readonly location: string | undefined;
  /** All of its fields. */
  readonly fields: readonly HeaderPair[];
  /** What made them of `location` alone. */
  readonly edits: HeaderEdits | undefined;
}

/** `authority` is the caller's, `listener` the port that was called. */
export function localAnswer(
  decision: RedirectDecision | PreflightDecision,
  authority: string,
  { facts, target }: Extract<ReadRequest, { ok: true }>,
  listener: number,
): LocalAnswer {
  if (decision.kind === "preflight")
    return {
      status: 204,
      location: undefined,
      fields: preflightFields(decision.cors, facts),
      edits: undefined,
    };
  const { redirect, responseFilters, cors } = decision;
  const { scheme, host, path } = facts;
  const location = locationOf(
    redirect,
    { scheme, host, authority, path, target },
    listener,
  );
  const edits = inTurn(
    cors === undefined ? undefined : corsEdits(cors, facts),
    responseFilters,
  );
  return {
    status: redirect.status,
    location,
    fields: editedPairs([{ name: "location", value: location }], edits),
    edits,
  };
}
