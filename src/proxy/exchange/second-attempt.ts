/**
 * A second attempt beside one whose endpoint stopped responding: the first good response is taken, and the other attempt is broken off.
 *
 * Only for a request that may be sent twice (law 3), of which all has come and is kept, and paid from the retry budget.
 */
import { MeshError } from "../../mesh/errors.ts";
import {
  EFFECTS,
  outcomeOfFailure,
  type Outcome,
} from "../../policy/outcome.ts";
import type { RequestRecord } from "./request-record.ts";
import type { RoutePlan, Target } from "./route-plan.ts";

/** What it asks of the exchange. */
export interface StalledExchange {
  readonly plan: Pick<RoutePlan, "repeatable" | "budget" | "choose">;
  readonly caller: {
    readonly ended: boolean;
    readonly replayable: boolean;
    readonly committed: boolean;
  };
}

/** The outcome of the endpoint that was too slow, or was not needed. */
export const CANCELLED: Outcome = outcomeOfFailure({
  code: "CLIENT_CLOSED",
  unprocessed: false,
  responseBegan: false,
});
export const QUICKER: MeshError = new MeshError(
  "CLIENT_CLOSED",
  "another endpoint was quicker",
  { source: "proxy" },
);

/** The attempts of one exchange. */
export interface AttemptPair<A extends PairedAttempt> {
  attempt: A | undefined;
  second: A | undefined;
  readonly record: Pick<RequestRecord, "repeated" | "took">;
}

interface PairedAttempt {
  readonly target: Target;
  abandon(error: MeshError): void;
}

/** One of two attempts has the head of a response. True where it fails and the other goes on; otherwise the other is broken off. */
export function yields<A extends PairedAttempt>(
  pair: AttemptPair<A>,
  attempt: A,
  outcome: Outcome,
): boolean {
  if (EFFECTS[outcome.kind].retry !== "no") return leaves(pair, attempt);
  const other = pair.attempt === attempt ? pair.second : pair.attempt;
  pair.attempt = attempt;
  pair.second = undefined;
  pair.record.took(attempt.target);
  other?.abandon(QUICKER);
  return false;
}

/** One of two attempts is over without a good response; true where the other goes on. */
export function leaves<A extends PairedAttempt>(
  pair: AttemptPair<A>,
  attempt: A,
): boolean {
  const { second } = pair;
  if (second === undefined) return false;
  const other = attempt === second ? pair.attempt : second;
  pair.attempt = other;
  pair.second = undefined;
  if (other !== undefined) pair.record.took(other.target);
  return true;
}

/** Where the second attempt goes, paid for; undefined where there is none. `stalled`: the first. */
export function secondTarget<A extends PairedAttempt>(
  exchange: StalledExchange & AttemptPair<A>,
  stalled: A,
  tried: ReadonlySet<string>,
  now: number,
): Target | undefined {
  const { plan, record, caller } = exchange;
  if (
    exchange.attempt !== stalled ||
    exchange.second !== undefined ||
    !plan.repeatable ||
    !caller.ended ||
    !caller.replayable ||
    caller.committed
  )
    return undefined;
  const target = otherTarget(plan, stalled.target, tried, now);
  if (target !== undefined) record.repeated("stalled");
  return target;
}

/** Another endpoint than `first` and those in `tried`, paid for from the budget; undefined where there is none, or none that `fits`. */
export function otherTarget(
  plan: Pick<RoutePlan, "budget" | "choose">,
  first: Target,
  tried: ReadonlySet<string>,
  now: number,
  fits: (target: Target) => boolean = () => true,
): Target | undefined {
  const target = plan.choose(new Set([...tried, first.key]), now);
  if (target instanceof MeshError) return undefined;
  if (target.key !== first.key && fits(target) && plan.budget.take(now))
    return target;
  target.answered(CANCELLED);
  target.done(CANCELLED, 0, now);
  return undefined;
}
