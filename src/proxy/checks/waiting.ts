/**
 * The step in which a request is checked, and waits where a check has to ask somebody: as long as the question and the caller's deadline
 * allow, counted among the exchanges in flight, and only while its caller is there.
 *
 * ```
 *   check ─▶ check ─▶ question { body ─▶ asked } ─▶ check ─▶ … ─▶ passed
 *     └── refused ──────┴── gone, late, too long ──────┘
 * ```
 */
import type { Cancel } from "../../core/clock.ts";
import type { Timed } from "../../core/deadlines.ts";
import { MeshError } from "../../mesh/errors.ts";
import { isGrpcCall } from "../exchange/grpc.ts";
import { overload } from "../exchange/refuse.ts";
import type { RelayHost } from "../exchange/relay-host.ts";
import type { RequestRecord } from "../exchange/request-record.ts";
import { asMeshError } from "../exchange/rescue.ts";
import { deadlineExceeded, deadlineFor } from "../exchange/time/deadline.ts";
import { IDLE_TICK, stoodStill, type Idler } from "../exchange/time/idle.ts";
import { TransferRate } from "../exchange/time/transfer-rate.ts";
import type { Check, Question, Settle } from "./check.ts";
import type { CheckedRequest } from "./checked-request.ts";
import type { HeldObserver } from "./held-stream.ts";

export interface Waiter {
  readonly host: RelayHost;
  readonly record: Pick<
    RequestRecord,
    "startedAt" | "readyAt" | "checked" | "refuse"
  >;
  readonly request: CheckedRequest;
  readonly checks: readonly Check[];
  /** The caller learns reasons. */
  readonly inside: boolean;
  /** Milliseconds above 0 that the caller's sidecar has left for it; undefined: no limit. */
  readonly left: number | undefined;
  /** All checks are passed. */
  passed(): void;
}

/** Takes the request through its checks; it is refused, or passed on, at once or later. */
export function runChecks(waiter: Waiter): void {
  advance(waiter, 0, undefined);
}

/** From check `from` on. `waiting`: the request has waited before. */
function advance(
  waiter: Waiter,
  from: number,
  waiting: Waiting | undefined,
): void {
  const { checks, request, record, inside } = waiter;
  for (let at = from; at < checks.length; at += 1) {
    const found = checks[at]?.begin(request);
    if (found instanceof MeshError) {
      waiting?.leave();
      record.refuse(found, inside);
      return;
    }
    if (found !== undefined) {
      const asking = waiting ?? begin(waiter);
      asking?.put(found, at + 1);
      return;
    }
  }
  waiting?.leave();
  waiter.passed();
}

function begin(waiter: Waiter): Waiting | undefined {
  const excess = overload(waiter.host);
  if (excess === undefined) return new Waiting(waiter);
  waiter.record.refuse(excess, waiter.inside);
  return undefined;
}

class Waiting implements Idler, HeldObserver {
  readonly #waiter: Waiter;
  readonly #begunAt: number;
  /** The time of the question that is open. */
  readonly #limit: Timed = {
    dueAt: 0,
    dueSlot: undefined,
    due: () => this.#late(),
  };
  #question: Question | undefined;
  #next = 0;
  #cancel: Cancel | undefined;
  #asked = false;
  #over = false;
  #pace: TransferRate | undefined;
  movedAt = 0;
  readonly idleLimit: number;
  dueAt = 0;
  dueSlot: number | undefined;

  constructor(waiter: Waiter) {
    const { host, record, request, inside, left } = waiter;
    const { held, snapshot } = request;
    this.#waiter = waiter;
    this.#begunAt = host.clock.now();
    this.idleLimit = snapshot.mesh.defaults.timeouts.streamIdle;
    const timeouts = { request: left ?? 0, backendRequest: 0 };
    const grpc = isGrpcCall(held, inside);
    host.idle.enter(this, deadlineFor(held, grpc, timeouts, record.startedAt));
    held.hold(this);
  }

  /** The request waits for the response, and then goes on with check `next`. */
  put(question: Question, next: number): void {
    if (this.#over) return;
    this.#question = question;
    this.#next = next;
    this.#asked = false;
    const { body } = question;
    if (body !== undefined) {
      const { request } = this.#waiter;
      if (!request.held.complete) request.proceed();
      request.held.readUpTo(body.bytes);
    }
    this.arrived();
  }

  /** It waits no more. */
  leave(): undefined {
    const { host, record } = this.#waiter;
    this.#over = true;
    this.#cancel?.();
    this.#cancel = undefined;
    host.deadlines.clear(this.#limit);
    host.idle.leave(this);
    const now = host.clock.now();
    record.readyAt = now;
    record.checked = now - this.#begunAt;
    return undefined;
  }

  // ── its caller ───────────────────────────────────────────────────────────────────────────────────────────────────────

  arrived(): void {
    const { host, request } = this.#waiter;
    this.movedAt = host.idle.tick;
    const question = this.#question;
    if (this.#over || this.#asked || question === undefined) return;
    const { body } = question;
    if (body !== undefined) {
      const { held } = request;
      const whole = held.complete && held.bytes <= body.bytes;
      if (!whole && held.bytes <= body.bytes) {
        if (!host.buffers.full) return;
        this.giveUp(overload(host) ?? new MeshError("OVERLOADED", ""));
        return;
      }
      if (!whole && !body.partial) {
        this.giveUp(tooLong(body.bytes));
        return;
      }
    }
    this.#ask(question);
  }

  gone(error: MeshError): void {
    this.giveUp(error);
  }

  // ── its questions ────────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(question: Question): void {
    const { host } = this.#waiter;
    this.#asked = true;
    host.deadlines.set(this.#limit, host.clock.now() + question.timeout);
    this.#guarded(() => {
      const cancel = question.ask((settle) => this.#answered(question, settle));
      if (this.#question === question) this.#cancel = cancel;
    });
  }

  #answered(question: Question, settle: Settle): void {
    if (this.#over || this.#question !== question) return;
    this.#cancel = undefined;
    this.#goOn(settle);
  }

  #late(): void {
    const question = this.#question;
    if (this.#over || question === undefined) return;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#goOn(() => question.late());
  }

  #goOn(settle: Settle): void {
    this.#question = undefined;
    this.#waiter.host.deadlines.clear(this.#limit);
    const refusal = settled(settle);
    if (refusal === undefined)
      this.#guarded(() => advance(this.#waiter, this.#next, this));
    else this.giveUp(refusal);
  }

  /** A defect on the way is an INTERNAL for this one request. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (defect) {
      // What comes after the wait may be at fault, too.
      if (!this.#over) this.leave();
      const { record, inside } = this.#waiter;
      record.refuse(asMeshError(defect), inside);
    }
  }

  // ── what ends it ─────────────────────────────────────────────────────────────────────────────────────────────────────

  giveUp(error: MeshError): void {
    if (this.#over) return;
    this.leave();
    this.#waiter.record.refuse(error, this.#waiter.inside);
  }

  /** The caller's deadline passed. */
  due(): void {
    this.giveUp(
      deadlineExceeded("the caller's deadline passed while it was checked"),
    );
  }

  idled(): void {
    this.giveUp(stoodStill({ isAwaited: !this.#asked, responded: false }));
  }

  get holds(): boolean {
    return this.#waiter.request.held.bytes > 0 || !this.#asked;
  }

  paced(ms: number, mayEnd: boolean): boolean {
    const { host, request, inside } = this.#waiter;
    this.#pace ??= new TransferRate(host, request.held, inside);
    const error = this.#pace.judge(ms, {
      still: (host.idle.tick - this.movedAt) * IDLE_TICK,
      holds: request.held.bytes > 0,
      waits: !this.#asked,
      responded: false,
      received: request.held.bytes,
      continued: false,
    });
    if (error === undefined) return false;
    if (!mayEnd && !host.short) return true;
    this.giveUp(error);
    return false;
  }
}

/** A defect refuses the request: nobody knows what the response would have made of it. */
function settled(settle: Settle): MeshError | undefined {
  try {
    return settle();
  } catch (defect) {
    return asMeshError(defect);
  }
}

function tooLong(bytes: number): MeshError {
  return new MeshError(
    "BODY_TOO_LARGE",
    `its provider of authorization has to see the body, and sees at most ${bytes} bytes`,
    { source: "downstream", unprocessed: true },
  );
}
