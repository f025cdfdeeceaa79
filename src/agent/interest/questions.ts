/**
 * What is asked of the control plane, and what it said: one question for all that wait for it, within bounds, so that a scan of
 * names or addresses fills neither this sidecar nor the control plane.
 */
import type { Clock } from "../../core/clock.ts";
import { Deadlines, type Timed } from "../../core/deadlines.ts";
import { tokenBucket, type TokenBucket } from "../../core/token-bucket.ts";
import { ownCopy } from "../../core/text/own-copy.ts";
import type { HeldQuestion } from "./held-view.ts";
import type { NotKnown, OnKnown } from "./lookups.ts";

/**
 * Milliseconds that a result may take; requests that come later, while there is none, do not wait at all. Envoy waits as long for a cluster
 * on demand, Linkerd for 3 s. Where processes get a small part of a core, the rounds to the control plane take more than a second.
 */
export const RESOLVE_WITHIN = 5000;
/** Questions that are kept with their results: the one that was of no use for longest makes room. */
export const MOST_QUESTIONS = 4096;
/** Questions without a result. */
export const MOST_OPEN = 256;
/** Requests that wait. */
export const MOST_WAITING = 1024;
/** New questions: a scan goes on at that rate, and takes so much of the control plane's time. */
export const NEW_QUESTIONS = { rate: 100, burst: 500 } as const;

/** By the names of their questions. */
type Results = ReadonlyMap<string, { readonly services: readonly string[] }>;

interface Waiter {
  /** Questions without a result. */
  left: number;
  /** Undefined once it was told. */
  done: OnKnown | undefined;
}

class Question implements Timed {
  dueAt = Infinity;
  dueSlot: number | undefined;
  readonly name: string;
  /** Wanted from the start, and for good. */
  readonly declared: boolean;
  /** The result; undefined until there is one. */
  services: readonly string[] | undefined;
  /** Why it has no result, and is not waited for: it was not resolved in time, or the config with its result was refused. */
  failure: NotKnown | undefined;
  /** The minute in which it was asked, or its result was of use. */
  seen: number;
  waiters: Waiter[] = [];
  readonly #onDue: (question: Question) => void;

  constructor(
    name: string,
    declared: boolean,
    seen: number,
    onDue: (question: Question) => void,
  ) {
    this.name = name;
    this.declared = declared;
    this.seen = seen;
    this.#onDue = onDue;
  }

  due(): void {
    this.#onDue(this);
  }
}

export interface QuestionsOptions {
  readonly clock: Clock;
  /** Names that are asked from the start, and for good. */
  readonly declared: Iterable<string>;
  /** A question that is new: it is to be asked. */
  readonly onAsk: (name: string) => void;
  /** A question that is of no use any more. */
  readonly onDrop: (name: string) => void;
  /** Whether the config that is in force has the Service, "NAMESPACE/NAME". */
  readonly has: (service: string) => boolean;
  /** The result that is in force still, of a question that was given back a moment ago. */
  readonly held: (name: string) => readonly string[] | undefined;
}

export class Questions {
  readonly #options: QuestionsOptions;
  /** The one that was of no use for longest comes first. */
  readonly #all = new Map<string, Question>();
  readonly #deadlines: Deadlines<Question>;
  readonly #fresh: TokenBucket = tokenBucket(NEW_QUESTIONS);
  #open = 0;
  #waiting = 0;
  #minute = 0;

  constructor(options: QuestionsOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock);
    for (const name of options.declared) this.#add(name, true);
  }

  get names(): string[] {
    return [...this.#all.keys()];
  }

  /** Whether it is resolved: its result was of use then. */
  knows(name: string): boolean {
    const question = this.#all.get(name);
    if (question?.services?.every(this.#options.has) !== true) return false;
    this.#touch(question);
    return true;
  }

  /** Whether a result names the Service. */
  leadTo(service: string): boolean {
    for (const { services } of this.#all.values())
      if (services?.includes(service) === true) return true;
    return false;
  }

  /** Calls `done` once all of them are resolved, or one will not be in time; at once where that is known. */
  wait(names: readonly string[], done: OnKnown): void {
    const open: Question[] = [];
    for (const name of names) {
      const question = this.#all.get(name) ?? this.#ask(name);
      if ("kind" in question) {
        done(question);
        return;
      }
      this.#touch(question);
      const missing = question.services?.find(
        (service) => !this.#options.has(service),
      );
      if (question.services !== undefined && missing === undefined) continue;
      const failure =
        missing === undefined ? question.failure : notHeld(name, missing);
      if (failure !== undefined) {
        done(failure);
        return;
      }
      open.push(question);
    }
    if (open.length === 0) {
      done(undefined);
      return;
    }
    if (this.#waiting >= MOST_WAITING) {
      done(tooMany(`${MOST_WAITING} requests wait for results`));
      return;
    }
    this.#waiting += 1;
    const waiter = { left: open.length, done };
    for (const { waiters } of open) waiters.push(waiter);
  }

  /** The results that are in force now. */
  resolve(results: Results): void {
    for (const question of this.#all.values()) {
      const services = results.get(question.name)?.services;
      const before = question.services;
      question.services = services;
      if (services === undefined) {
        // It was given back and asked again in between: the result comes again, too.
        if (before !== undefined) this.#reopen(question);
      } else if (before === undefined) this.#settle(question, undefined);
    }
  }

  /** Results that were in force before this process began. */
  restore(results: Results): void {
    for (const [name, { services }] of results) {
      if (this.#all.size >= MOST_QUESTIONS) return;
      const question = this.#all.get(name) ?? this.#add(name, false);
      question.services = services;
      this.#settle(question, undefined);
    }
  }

  /** None that is open will be resolved: they are forgotten, to be asked anew. */
  fail(failure: NotKnown): void {
    for (const question of [...this.#all.values()]) {
      if (question.services !== undefined) continue;
      const { declared, name } = question;
      this.#settle(question, failure);
      if (declared) {
        this.#reopen(question);
        // It stays asked: no push but another one, which can be used, brings its result.
        if (failure.kind === "refused") question.failure = failure;
      } else {
        this.#all.delete(name);
        this.#options.onDrop(name);
      }
    }
  }

  /** A minute is over: gives back what was of no use in the last so many. */
  tick(unused: number): void {
    this.#minute += 1;
    for (const question of [...this.#all.values()]) {
      const { declared, services, seen } = question;
      // Where no result came in a minute, the question was lost.
      const lost = services === undefined && seen < this.#minute - 1;
      if (!declared && (lost || this.#minute - seen >= unused))
        this.#drop(question);
    }
  }

  list(): HeldQuestion[] {
    return Array.from(this.#all.values(), ({ name, services, seen }) => ({
      question: name,
      ...(services === undefined ? {} : { services }),
      idleMinutes: this.#minute - seen,
    }));
  }

  /** Requests that wait for a result. */
  get waiting(): number {
    return this.#waiting;
  }

  close(): void {
    this.#deadlines.close();
  }

  /** A new one, or why there cannot be one now. */
  #ask(name: string): Question | NotKnown {
    if (this.#open >= MOST_OPEN)
      return tooMany(`${MOST_OPEN} questions wait for their results`);
    if (!this.#fresh.take(this.#options.clock.now()))
      return tooMany(`over ${NEW_QUESTIONS.rate} new questions a second`);
    if (this.#all.size >= MOST_QUESTIONS) this.#makeRoom();
    // A name may be a view of a request's head: what outlives that is a copy of its own.
    const question = this.#add(ownCopy(name), false);
    this.#options.onAsk(question.name);
    question.services = this.#options.held(name);
    if (question.services !== undefined) this.#settle(question, undefined);
    return question;
  }

  #add(name: string, declared: boolean): Question {
    const question = new Question(name, declared, this.#minute, (due) => {
      due.failure ??= lateness(due.name);
      this.#tell(due, due.failure);
    });
    this.#all.set(name, question);
    this.#reopen(question);
    return question;
  }

  #reopen(question: Question): void {
    this.#open += 1;
    question.failure = undefined;
    this.#deadlines.set(question, this.#options.clock.now() + RESOLVE_WITHIN);
  }

  #makeRoom(): void {
    for (const question of this.#all.values())
      if (!question.declared && question.services !== undefined) {
        this.#drop(question);
        return;
      }
  }

  #drop(question: Question): void {
    if (question.services === undefined)
      this.#settle(question, lateness(question.name));
    this.#all.delete(question.name);
    this.#options.onDrop(question.name);
  }

  /** It is open no more. */
  #settle(question: Question, failure: NotKnown | undefined): void {
    this.#open -= 1;
    this.#deadlines.leave(question);
    // Before the waiters hear of it: one that asks again at once must not wait for what is about to be forgotten.
    question.failure = failure;
    this.#tell(question, failure);
  }

  #tell(question: Question, failure: NotKnown | undefined): void {
    const { waiters } = question;
    question.waiters = [];
    for (const waiter of waiters) {
      waiter.left -= 1;
      const { done } = waiter;
      if (done === undefined || (failure === undefined && waiter.left > 0))
        continue;
      waiter.done = undefined;
      this.#waiting -= 1;
      done(failure);
    }
  }

  #touch(question: Question): void {
    if (question.seen === this.#minute) return;
    question.seen = this.#minute;
    this.#all.delete(question.name);
    this.#all.set(question.name, question);
  }
}

function lateness(name: string): NotKnown {
  return {
    kind: "late",
    detail: `the control plane did not resolve ${name} within ${RESOLVE_WITHIN / 1000} s`,
  };
}

/** Without it the call would pass through to whatever else has the name. */
function notHeld(name: string, service: string): NotKnown {
  return {
    kind: "refused",
    detail: `${name} leads to the Service ${service}, of which this sidecar can use nothing: it is of a newer version, or its config is incomplete`,
  };
}

function tooMany(what: string): NotKnown {
  return { kind: "busy", detail: `${what}: no more are asked` };
}
