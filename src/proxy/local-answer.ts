/** What a route answers by itself: another place to go, or leave for a browser's call. Failures are not among it: those are rescue.ts's. */
import { corsEdits, preflightFields } from "../policy/cors.ts";
import { applyEdits, inTurn } from "../policy/header-edits.ts";
import type { ReadRequest } from "../policy/path.ts";
import type {
  PreflightDecision,
  RedirectDecision,
} from "../policy/snapshot.ts";
import { locationOf } from "../policy/url-rewrite.ts";
import type { RequestHead, ResponseHead } from "../wire/exchange.ts";
import { makeField } from "../wire/fields.ts";

export class LocalAnswer {
  readonly head: ResponseHead;
  /** "NAMESPACE/NAME#RULE", for the log and the span. */
  readonly route: string;

  constructor(head: ResponseHead, route: string) {
    this.head = head;
    this.route = route;
  }
}

/** `listener` is the port that was called. */
export function localAnswer(
  decision: RedirectDecision | PreflightDecision,
  head: RequestHead,
  { facts, target }: Extract<ReadRequest, { ok: true }>,
  listener: number,
): LocalAnswer {
  const { rule } = decision;
  const route = `${rule.route}#${rule.rule}`;
  if (decision.kind === "preflight")
    return new LocalAnswer(
      {
        status: 204,
        fields: preflightFields(decision.cors, facts).map(({ name, value }) =>
          makeField(name, value, "without"),
        ),
        contentLength: undefined,
      },
      route,
    );
  const { redirect, responseFilters, cors } = decision;
  const { scheme, host, path } = facts;
  const location = locationOf(
    redirect,
    { scheme, host, authority: head.authority, path, target },
    listener,
  );
  const fields = [makeField("location", location, "without")];
  const edits = inTurn(
    cors === undefined ? undefined : corsEdits(cors, facts),
    responseFilters,
  );
  return new LocalAnswer(
    {
      status: redirect.status,
      fields:
        edits === undefined ? fields : applyEdits(fields, edits, makeField),
      contentLength: 0,
    },
    route,
  );
}
