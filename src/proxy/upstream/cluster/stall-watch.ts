/**
 * Watches whether the endpoints of one cluster go on responding, and brings those back that were out.
 *
 * ```
 *   in ──stalled──▶ doubted ──still, not to a request of our own either──▶ ejected ──time over──▶ asked ──▶ on trial ──▶ in
 *        ▲             │ it responds                                           ▲                     │ no response │ stalled
 *        └─────────────┘                                                        └─────────────────────┴──────────────┘
 * ```
 * A doubted endpoint gets no new request, and what waits there and may be repeated is sent to a sibling besides. One that was ejected,
 * for whatever reason, is first asked by a request of our own, then tried by one request at a time.
 */
import type { Clock } from "../../../core/clock.ts";
import type { MonotonicMs } from "../../../core/units.ts";
import type {
  OpenCalls,
  OpenCall,
} from "../../../policy/balance/open-calls.ts";
import {
  Peers,
  stallOf,
  wordsOf,
  type Stall,
} from "../../../policy/balance/stall.ts";
import { UnaryMethods } from "../../../policy/balance/unary-methods.ts";
import type {
  EjectionReason,
  OutlierDetector,
} from "../../../policy/outlier.ts";
import {
  askQuestion,
  ASK_TIMEOUT,
  type Question,
  type Questioner,
} from "./question.ts";
import { STALL_TICK, type StallTicks, type Watch } from "./stall-ticks.ts";

export interface StallWatchOptions {
  readonly clock: Clock;
  readonly ticks: StallTicks;
  readonly detector: OutlierDetector;
  callsOf(endpoint: string): OpenCalls | undefined;
  readonly asker: Questioner;
  eject(endpoint: string, reason: EjectionReason, evidence: string): void;
}

interface Watched {
  phase: "doubted" | "ejected" | "trial";
  /** When the phase began. */
  since: MonotonicMs;
  question: Question | undefined;
  /** `answeredSentAt` of its requests when the phase began: what comes after it is a sign of life. */
  answered: MonotonicMs;
  /** On trial: to any request, not only to one that may be repeated. */
  offered: boolean;
  /** When what waits there was told last. */
  toldAt: MonotonicMs;
  /** When it is asked again, however long its ejection lasts; Infinity where it has not failed to respond. */
  askAt: MonotonicMs;
  /** Its sidecar says that the application responds again: it is asked at once. */
  ready: boolean;
}

/** Milliseconds that our own request is waited for before what waits is sent elsewhere. */
const SHORT_DOUBT = 50;
/** Milliseconds, half more or less, after which one that did not respond is asked again: that costs no customer anything, and an ejection may have a minute to go. */
export const ASK_AGAIN = 10_000;
/** Milliseconds after which what waits at an ejected endpoint has another chance to go elsewhere: there was no budget before, or no response there. */
const TELL_AGAIN = 250;
/** Milliseconds on trial after which it is offered to requests that may not be repeated. */
export const TRIAL_PATIENCE = 2000;
/** Milliseconds after which latencies weigh half. */
const FADE = 10_000;

export class StallWatch implements Watch {
  /** What is stamped with it costs no look at the clock, and is a tick too old at most. */
  #latest: MonotonicMs;
  /** Those whose gRPC calls are watched without a deadline. */
  readonly methods: UnaryMethods = new UnaryMethods();
  readonly #options: StallWatchOptions;
  #endpoints: readonly string[] = [];
  /** Those that take no calls at present, by their own word. */
  #unready = new Set<string>();
  readonly #watched = new Map<string, Watched>();
  #awake = false;
  #fadedAt: MonotonicMs;

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#latest = options.clock.now();
    this.#fadedAt = this.#latest;
  }

  update(
    endpoints: readonly { readonly key: string; readonly ready: boolean }[],
  ): void {
    this.#endpoints = endpoints.map(({ key }) => key);
    const present = new Set(this.#endpoints);
    for (const [key, each] of this.#watched)
      if (!present.has(key)) this.#forget(key, each);
    const unready = this.#unready;
    this.#unready = new Set();
    for (const { key, ready } of endpoints)
      if (!ready) this.#unready.add(key);
      else if (unready.has(key)) this.#becameReady(key);
  }

  /** A time that was looked at for another reason. */
  saw(now: MonotonicMs): void {
    if (now > this.#latest) this.#latest = now;
  }

  /** All of a request was sent. */
  sent(calls: OpenCalls, call: OpenCall): void {
    calls.sent(call, this.#latest);
    if (!this.#awake) this.#wake();
  }

  /** It was ejected, for whatever reason: from then on it comes back by the way that starts with a request of our own. */
  ejected(endpoint: string, now: MonotonicMs): void {
    if (!this.#options.detector.hold(endpoint, now)) return;
    this.#enter(endpoint, "ejected", now);
    this.#wake();
  }

  /** On probation it may be tried by any request. */
  isOffered(endpoint: string): boolean {
    return this.#watched.get(endpoint)?.offered ?? true;
  }

  close(): void {
    this.#options.ticks.forget(this);
    for (const [key, each] of [...this.#watched]) this.#forget(key, each);
  }

  look(now: MonotonicMs): number {
    this.saw(now);
    if (now - this.#fadedAt >= FADE) this.#fade(now);
    const peers = new Peers(() => this.#calls());
    let open = false;
    let next = Infinity;
    for (const key of this.#endpoints) {
      const calls = this.#options.callsOf(key);
      if (calls === undefined) continue;
      if (calls.newest !== undefined) open = true;
      const watched = this.#watched.get(key);
      if (watched === undefined) this.#judge(key, calls, peers, now);
      else next = Math.min(next, this.#follow(key, calls, watched, peers, now));
    }
    if (open) next = now + STALL_TICK;
    this.#awake = open;
    return next;
  }

  /** Its sidecar has found the application again: what it was ejected for may be over. */
  #becameReady(endpoint: string): void {
    const watched = this.#watched.get(endpoint);
    if (watched?.phase !== "ejected") return;
    // An open question was asked of an application that was not there.
    watched.question?.abort.abort();
    watched.question = undefined;
    watched.askAt = Infinity;
    watched.ready = true;
    this.#wake();
  }

  #wake(): void {
    this.#awake = true;
    this.#options.ticks.wake(this, this.#latest);
  }

  #calls(): OpenCalls[] {
    const all: OpenCalls[] = [];
    for (const key of this.#endpoints) {
      const calls = this.#options.callsOf(key);
      if (calls !== undefined) all.push(calls);
    }
    return all;
  }

  #judge(key: string, calls: OpenCalls, peers: Peers, now: MonotonicMs): void {
    if (calls.quiet || this.#stallOf(key, calls, peers, now) === undefined)
      return;
    if (this.#options.detector.hold(key, now)) this.#doubt(key, now);
    // Too many are out: it stays in, but what may be repeated does not have to wait for it.
    else calls.tell(now);
  }

  #stallOf(
    key: string,
    calls: OpenCalls,
    peers: Peers,
    now: MonotonicMs,
  ): Stall | undefined {
    return stallOf(calls, peers, this.#options.detector.onProbation(key), now);
  }

  #doubt(key: string, now: MonotonicMs): void {
    this.#ask(key, this.#enter(key, "doubted", now));
  }

  /** When it is to be looked at next. */
  #follow(
    key: string,
    calls: OpenCalls,
    watched: Watched,
    peers: Peers,
    now: MonotonicMs,
  ): number {
    switch (watched.phase) {
      case "doubted":
        this.#followDoubt(key, calls, watched, peers, now);
        return now + STALL_TICK;
      case "ejected":
        this.#tellAgain(calls, watched, peers, now);
        return this.#followEjected(key, calls, watched, now);
      case "trial":
        return this.#followTrial(key, calls, watched, peers, now);
    }
  }

  #followDoubt(
    key: string,
    calls: OpenCalls,
    watched: Watched,
    peers: Peers,
    now: MonotonicMs,
  ): void {
    const stall = this.#stallOf(key, calls, peers, now);
    if (stall === undefined) {
      this.#release(key, watched, now);
      return;
    }
    const { question } = watched;
    const result = question?.result;
    // One response to a request of our own clears it; the next one does so only after a response to a request of a caller.
    const believed = calls.provedAt <= lastOf(stall, calls);
    if (result?.kind === "healthy" && believed) {
      calls.proved(now);
      this.#release(key, watched, now);
      return;
    }
    if (result !== undefined || now - watched.since >= SHORT_DOUBT)
      calls.tell(now);
    // Callers that gave up, or were helped elsewhere, wait no longer: then it is our own request that shows how long it lasts.
    if (
      result !== undefined &&
      (stall.proven ||
        result.kind === "unhealthy" ||
        now - watched.since >= ASK_TIMEOUT)
    )
      this.#options.eject(
        key,
        "stalled",
        result.kind === "unhealthy"
          ? `${wordsOf(stall)}; ${result.evidence}`
          : wordsOf(stall),
      );
  }

  #tellAgain(
    calls: OpenCalls,
    watched: Watched,
    peers: Peers,
    now: MonotonicMs,
  ): void {
    if (now - watched.toldAt < TELL_AGAIN) return;
    watched.toldAt = now;
    // One that was ejected for something else may only be slow.
    if (stallOf(calls, peers, false, now) !== undefined) calls.tell(now);
  }

  #followEjected(
    key: string,
    calls: OpenCalls,
    watched: Watched,
    now: MonotonicMs,
  ): number {
    const { detector } = this.#options;
    const until = detector.until(key);
    const { question } = watched;
    if (question?.result === undefined) {
      if (question !== undefined) return now + STALL_TICK;
      // A late response is a sign of life, for which it need not wait.
      const due = Math.min(until, watched.askAt);
      const alive = watched.ready || calls.answeredSentAt > watched.answered;
      if (now < due && !alive) return Math.min(due, now + ASK_TIMEOUT);
      watched.answered = calls.answeredSentAt;
      watched.ready = false;
      this.#ask(key, watched);
      return now + STALL_TICK;
    }
    const { result } = question;
    if (
      result.kind === "healthy" ||
      (result.kind === "unknown" && !(now < until && watched.askAt <= now))
    ) {
      calls.proved(now);
      detector.release(key, now);
      if (!detector.onProbation(key)) this.#watched.delete(key);
      else this.#enter(key, "trial", now);
      return now + TRIAL_PATIENCE;
    }
    watched.question = undefined;
    if (now >= until) this.#options.eject(key, "probe", result.evidence);
    const ejected = this.#watched.get(key) ?? watched;
    ejected.askAt = now + ASK_AGAIN * (0.5 + this.#options.clock.random());
    return now + STALL_TICK;
  }

  #followTrial(
    key: string,
    calls: OpenCalls,
    watched: Watched,
    peers: Peers,
    now: MonotonicMs,
  ): number {
    const { detector } = this.#options;
    if (!detector.onProbation(key)) {
      this.#watched.delete(key);
      return Infinity;
    }
    if (
      this.#stallOf(key, calls, peers, now) !== undefined &&
      detector.hold(key, now)
    ) {
      this.#doubt(key, now);
      return now + STALL_TICK;
    }
    const patientUntil = watched.since + TRIAL_PATIENCE;
    if (now < patientUntil) return patientUntil;
    watched.offered = true;
    return Infinity;
  }

  #enter(key: string, phase: Watched["phase"], now: MonotonicMs): Watched {
    const before = this.#watched.get(key);
    before?.question?.abort.abort();
    const watched: Watched = {
      phase,
      since: now,
      question: undefined,
      answered: this.#options.callsOf(key)?.answeredSentAt ?? -Infinity,
      offered: false,
      toldAt: now,
      askAt: Infinity,
      ready: false,
    };
    this.#watched.set(key, watched);
    return watched;
  }

  /** It responds: as it was before the doubt, be that on trial. */
  #release(key: string, watched: Watched, now: MonotonicMs): void {
    const { detector } = this.#options;
    detector.release(key, now);
    if (detector.onProbation(key)) this.#enter(key, "trial", now);
    else this.#forget(key, watched);
  }

  #forget(key: string, watched: Watched): void {
    watched.question?.abort.abort();
    this.#watched.delete(key);
  }

  #ask(key: string, watched: Watched): void {
    const { clock, asker } = this.#options;
    watched.question = askQuestion(asker, clock, key);
  }

  #fade(now: MonotonicMs): void {
    this.#fadedAt = now;
    for (const key of this.#endpoints) {
      const calls = this.#options.callsOf(key);
      calls?.toHead.fade();
      calls?.toEnd.fade();
    }
  }
}

/** When the youngest request was sent that ended as the stalled ones do not. */
function lastOf({ kind }: Stall, calls: OpenCalls): MonotonicMs {
  return kind === "unanswered" ? calls.answeredSentAt : calls.finishedSentAt;
}
