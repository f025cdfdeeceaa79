/** A route's own response as the codec sends it. Failures are not among these: those are rescue.ts's. */
import { localAnswer } from "../../policy/compile/local-response.ts";
import type { ReadRequest } from "../../policy/path.ts";
import type {
  PreflightDecision,
  RedirectDecision,
} from "../../policy/snapshot.ts";
import type { ResponseHead } from "../../wire/exchange.ts";
import { makeField } from "../../wire/fields.ts";

export class LocalAnswer {
  readonly head: ResponseHead;
  /** "NAMESPACE/NAME#RULE", for the log and the span. */
  readonly route: string;

  constructor(
    decision: RedirectDecision | PreflightDecision,
    authority: string,
    read: Extract<ReadRequest, { ok: true }>,
    listener: number,
  ) {
    const { status, fields } = localAnswer(decision, authority, read, listener);
    this.head = {
      status,
      fields: fields.map(({ name, value }) =>
        makeField(name, value, "without"),
      ),
      // RFC 9110 8.6: 204 has none.
      contentLength: status === 204 ? undefined : 0,
    };
    this.route = `${decision.rule.route}#${decision.rule.rule}`;
  }
}
