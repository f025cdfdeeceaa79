/**
 * Whether an endpoint has stopped responding: the age of its oldest request without a response, compared with what its siblings take.
 *
 * ```
 *   oldest unanswered > max(floor, 3 × p99 of the siblings), and a sibling responded to a request that is younger  ─▶ doubted: no new request
 *   doubted, and older than max(1 s, 3 × p99)                                                                 ─▶ to be ejected
 * ```
 * The more requests wait the lower the floor: one alone may be the slow one in a hundred. Where all are slow, as with long polling,
 * nobody is quicker to compare with, and nobody is doubted. While twenty younger ones were served elsewhere, five that wait are enough
 * from the floor on, whatever is usual, and one alone is doubted sooner: the balancer lets nobody follow it.
 */
import type { MonotonicMs } from "../../core/units.ts";
import { emptySums, quantileOf, type Durations } from "./durations.ts";
import type { OpenCalls, Standstill } from "./open-calls.ts";
import type { Recent } from "./recent.ts";

export interface Stall {
  /** Requests without a response, or responses without an end. */
  readonly kind: "unanswered" | "unfinished";
  readonly count: number;
  /** Milliseconds that the oldest has been waiting, or had when its caller gave up. */
  readonly age: number;
  /** Milliseconds that 99 % of the siblings' requests take at most. */
  readonly usual: number;
  /** It has lasted for long enough to take the endpoint out. */
  readonly proven: boolean;
}

/** Milliseconds that the oldest must have waited, by how many wait: from so many on, so long. */
export const SOONEST_DOUBT = 50;
export const LATEST_DOUBT = 1000;
const FLOORS: readonly (readonly [count: number, ms: number])[] = [
  [5, SOONEST_DOUBT],
  [3, 100],
  [2, 250],
  [1, LATEST_DOUBT],
];
/** The same for one alone that is outpaced. An application that drips has begun its response after a second, as a rule: too late to send a GET elsewhere. */
const ALONE = LATEST_DOUBT / 2;
/** An endpoint that is back from an ejection, on trial: one request is enough. */
const TRIAL_FLOOR: number = SOONEST_DOUBT;
/** Milliseconds: nothing younger takes an endpoint out. */
const PROVEN = 1000;
const TIMES = 3;
const SHARE = 0.99;
/** So many younger ones were served. Were both alike, five in a row would not all be later than twenty younger ones elsewhere. */
const OUTPACED = { waiting: 5, served: 20 };

/** What the endpoints of a cluster are compared with: each other. Worked out when it is asked for, once for all of them. */
export class Peers {
  readonly #find: () => readonly OpenCalls[];
  #found: readonly OpenCalls[] | undefined;
  #latest: Readonly<Record<Stall["kind"], MonotonicMs>> | undefined;
  #outpaces: Readonly<Record<Stall["kind"], MonotonicMs>> | undefined;
  #sums: Readonly<Record<Stall["kind"], Float64Array>> | undefined;

  constructor(find: () => readonly OpenCalls[]) {
    this.#find = find;
  }

  get #all(): readonly OpenCalls[] {
    return (this.#found ??= this.#find());
  }

  /** When the youngest request was sent that has its response. An endpoint whose younger requests are responded to is not stalled, so it may be any. */
  latest(kind: Stall["kind"]): MonotonicMs {
    this.#latest ??= {
      unanswered: latestOf(this.#all, (each) => each.answeredSentAt),
      unfinished: latestOf(this.#all, (each) => each.finishedSentAt),
    };
    return this.#latest[kind];
  }

  /** When the oldest was sent of the youngest twenty that have their responses: they outpace what was sent before. */
  outpaces(kind: Stall["kind"]): MonotonicMs {
    this.#outpaces ??= {
      unanswered: oldestOfYoungest(this.#all, (each) => each.answered),
      unfinished: oldestOfYoungest(this.#all, (each) => each.finished),
    };
    return this.#outpaces[kind];
  }

  /** Milliseconds that 99 % of the requests to the others take at most; undefined where they had none. */
  usual(kind: Stall["kind"], self: OpenCalls): number | undefined {
    this.#sums ??= {
      unanswered: sumOf(this.#all, "unanswered"),
      unfinished: sumOf(this.#all, "unfinished"),
    };
    const others = this.#sums[kind].slice();
    durationsOf(self, kind).addTo(others, -1);
    return quantileOf(others, SHARE);
  }
}

function latestOf(
  all: readonly OpenCalls[],
  at: (calls: OpenCalls) => MonotonicMs,
): MonotonicMs {
  return all.reduce((latest, each) => Math.max(latest, at(each)), -Infinity);
}

function oldestOfYoungest(
  all: readonly OpenCalls[],
  recent: (calls: OpenCalls) => Recent,
): MonotonicMs {
  const youngest = new Float64Array(OUTPACED.served).fill(-Infinity);
  for (const each of all) recent(each).latest(youngest);
  return youngest[0] ?? -Infinity;
}

function sumOf(all: readonly OpenCalls[], kind: Stall["kind"]): Float64Array {
  const sums = emptySums();
  for (const each of all) durationsOf(each, kind).addTo(sums);
  return sums;
}

function durationsOf(calls: OpenCalls, kind: Stall["kind"]): Durations {
  return kind === "unanswered" ? calls.toHead : calls.toEnd;
}

/** Undefined where nothing speaks against it. `onTrial`: it has yet to prove itself after an ejection. */
export function stallOf(
  self: OpenCalls,
  peers: Peers,
  onTrial: boolean,
  now: MonotonicMs,
): Stall | undefined {
  return (
    judge("unanswered", self, self.unanswered(now), peers, onTrial) ??
    judge("unfinished", self, self.unfinished(now), peers, onTrial)
  );
}

function judge(
  kind: Stall["kind"],
  self: OpenCalls,
  { count, age, sentAt }: Standstill,
  peers: Peers,
  onTrial: boolean,
): Stall | undefined {
  const floor = onTrial ? TRIAL_FLOOR : floorOf(count);
  // The usual case ends here.
  if (count === 0 || age < Math.min(floor, ALONE)) return undefined;
  if (peers.latest(kind) <= sentAt) return undefined;
  const isOutpaced = peers.outpaces(kind) > sentAt;
  if (age < floor && !isOutpaced) return undefined;
  const usual = peers.usual(kind, self);
  if (usual === undefined) return undefined;
  // So many that what is usual does not matter: on the first calls all are slow.
  const isBeyondDoubt = isOutpaced && count >= OUTPACED.waiting;
  if (age < TIMES * usual && !isBeyondDoubt) return undefined;
  return { kind, count, age, usual, proven: age >= PROVEN };
}

function floorOf(count: number): number {
  for (const [least, ms] of FLOORS) if (count >= least) return ms;
  return Infinity;
}

/** "3 requests without a response, the oldest for 1204 ms; siblings respond to 99 % within 8 ms" */
export function wordsOf({ kind, count, age, usual }: Stall): string {
  const what =
    kind === "unanswered"
      ? `${count} ${count === 1 ? "request" : "requests"} without a response`
      : `${count} ${count === 1 ? "response" : "responses"} without an end`;
  const deed = kind === "unanswered" ? "respond to 99 %" : "complete 99 %";
  return `${what}, the oldest for ${Math.round(age)} ms; siblings ${deed} within ${Math.ceil(usual)} ms`;
}
