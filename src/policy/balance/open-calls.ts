/**
 * The requests that one endpoint has not responded to yet, in the order in which they were sent.
 *
 * ```
 *   sent ──▶ waiting ──head──▶ receiving ──end──▶ finished
 *              └── given up by the caller ──▶ remembered as evidence, until a younger request has a response
 * ```
 * A request that a younger one overtook is a slow request. Only those that nothing overtook speak against the endpoint.
 */
import type { MonotonicMs } from "../../core/units.ts";
import { Durations } from "./durations.ts";
import { Recent } from "./recent.ts";

/** A request of which all was sent. Its own object is its entry: to enter and to leave allocates nothing. */
export interface OpenCall {
  sentAt: MonotonicMs;
  /** The head of its response has come. */
  answering: boolean;
  /** Bytes of its response so far. */
  bytes: number;
  /** The list's own; `listed` while it is in one. */
  listed: boolean;
  older: OpenCall | undefined;
  younger: OpenCall | undefined;
  /** Its endpoint stopped responding: it may be sent elsewhere besides. */
  stalled(now: MonotonicMs): void;
}

/** Evidence that an endpoint stands still: requests that no younger one overtook. */
export interface Standstill {
  count: number;
  /** Milliseconds that the oldest of them has been waiting, or was when its caller gave up. */
  age: number;
  /** When the oldest of them was sent. */
  sentAt: MonotonicMs;
}

/** Bytes a second: a response that comes at this rate is on its way, however long it takes. */
const MOVING = 16_384;

/** Steps back from the newest: where more wait, the oldest of these is old enough. */
const MOST_LOOKED_AT = 64;

export class OpenCalls {
  newest: OpenCall | undefined;
  oldest: OpenCall | undefined;
  /** When the youngest request was sent whose response began, and the youngest whose response is complete. */
  answeredSentAt: MonotonicMs = -Infinity;
  finishedSentAt: MonotonicMs = -Infinity;
  /** What was sent before does not count: the endpoint has responded to a request of our own since. */
  provedAt: MonotonicMs = -Infinity;
  /** When the requests were sent whose responses began, or ended, lately. */
  readonly answered: Recent = new Recent();
  readonly finished: Recent = new Recent();
  /** Milliseconds from the request to the head of the response, and to its end. */
  readonly toHead: Durations = new Durations();
  readonly toEnd: Durations = new Durations();
  /** Requests whose callers gave up without a response: how many, since when, and for how long the most patient waited. */
  #given = 0;
  #givenSentAt = Infinity;
  #givenAfter = 0;

  sent(call: OpenCall, now: MonotonicMs): void {
    call.sentAt = now;
    call.listed = true;
    call.older = this.newest;
    if (this.newest === undefined) this.oldest = call;
    else this.newest.younger = call;
    this.newest = call;
  }

  /** The head of a response came; `own`: from the application, not from a sidecar before it. */
  headed(call: OpenCall, own: boolean, now: MonotonicMs): void {
    if (!call.listed) return;
    if (!own) {
      this.leave(call);
      return;
    }
    call.answering = true;
    this.toHead.add(now - call.sentAt);
    this.answered.add(call.sentAt);
    if (call.sentAt <= this.answeredSentAt) return;
    this.answeredSentAt = call.sentAt;
    this.#given = 0;
    this.#givenSentAt = Infinity;
    this.#givenAfter = 0;
  }

  /** The exchange is over; `complete`: the whole response came. */
  over(call: OpenCall, complete: boolean, now: MonotonicMs): void {
    if (!call.listed) return;
    this.leave(call);
    if (complete) {
      this.toEnd.add(now - call.sentAt);
      this.finished.add(call.sentAt);
      if (call.sentAt > this.finishedSentAt) this.finishedSentAt = call.sentAt;
    } else if (!call.answering && this.#isEvidence(call)) {
      this.#given += 1;
      this.#givenSentAt = Math.min(this.#givenSentAt, call.sentAt);
      this.#givenAfter = Math.max(this.#givenAfter, now - call.sentAt);
    }
  }

  /** It says nothing of the endpoint any more: its response has no end, say. */
  leave(call: OpenCall): void {
    if (!call.listed) return;
    call.listed = false;
    const { older, younger } = call;
    if (older === undefined) this.oldest = younger;
    else older.younger = younger;
    if (younger === undefined) this.newest = older;
    else younger.older = older;
    call.older = undefined;
    call.younger = undefined;
  }

  /** A request of our own got its response. */
  proved(now: MonotonicMs): void {
    this.provedAt = now;
    this.#given = 0;
    this.#givenSentAt = Infinity;
    this.#givenAfter = 0;
  }

  /** Milliseconds that the oldest request has been without any response; 0 where a younger one has one. */
  waited(now: MonotonicMs): number {
    const { oldest } = this;
    return oldest === undefined || oldest.answering || !this.#isEvidence(oldest)
      ? 0
      : now - oldest.sentAt;
  }

  /** Nothing is open, and nothing was given up without a response. */
  get quiet(): boolean {
    return this.newest === undefined && this.#given === 0;
  }

  /** Requests without a response that none overtook. */
  unanswered(now: MonotonicMs): Standstill {
    const found: Standstill = {
      count: this.#given,
      age: this.#givenAfter,
      sentAt: this.#givenSentAt,
    };
    const since = Math.max(this.answeredSentAt, this.provedAt);
    this.#look(found, since, false, now);
    return found;
  }

  /** Responses that began and do not end, while no younger one did. */
  unfinished(now: MonotonicMs): Standstill {
    const found: Standstill = { count: 0, age: 0, sentAt: Infinity };
    const since = Math.max(this.finishedSentAt, this.provedAt);
    this.#look(found, since, true, now);
    return found;
  }

  /** Tells those without a response that their endpoint stands still. */
  tell(now: MonotonicMs): void {
    // A call that hears of it may leave.
    const waiting: OpenCall[] = [];
    for (let call = this.newest; call !== undefined; call = call.older)
      if (!call.answering) waiting.push(call);
    for (const call of waiting) if (call.listed) call.stalled(now);
  }

  #isEvidence({ sentAt }: OpenCall): boolean {
    return sentAt > this.answeredSentAt && sentAt > this.provedAt;
  }

  #look(
    found: Standstill,
    since: number,
    answering: boolean,
    now: MonotonicMs,
  ): void {
    let call = this.newest;
    for (
      let looked = 0;
      call !== undefined && call.sentAt > since && looked < MOST_LOOKED_AT;
      looked += 1
    ) {
      if (call.answering === answering && !isMoving(call, now)) {
        found.count += 1;
        found.age = Math.max(found.age, now - call.sentAt);
        found.sentAt = Math.min(found.sentAt, call.sentAt);
      }
      call = call.older;
    }
  }
}

function isMoving({ bytes, sentAt }: OpenCall, now: MonotonicMs): boolean {
  return bytes > 0 && bytes * 1000 >= MOVING * (now - sentAt);
}
