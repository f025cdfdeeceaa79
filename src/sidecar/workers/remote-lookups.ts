/** What a thread asks by way of the main thread, which alone talks with the control plane; what it was told once it remembers. */
import type {
  Lookups,
  Named,
  NotKnown,
  OnKnown,
  Want,
} from "../../agent/interest/lookups.ts";
import {
  RESOLVE_WITHIN,
  MOST_QUESTIONS,
  MOST_WAITING,
} from "../../agent/interest/questions.ts";
import { Uses } from "../../agent/interest/uses.ts";
import type { Cancel, Clock } from "../../core/clock.ts";
import { Deadlines, type Timed } from "../../core/deadlines.ts";
import type { Destination } from "../../policy/snapshot.ts";
import { formatName } from "../../resources/envelope.ts";
import type { Looked } from "./protocol.ts";
import type { Post } from "./remote-sinks.ts";

/** Milliseconds. */
const MINUTE = 60_000;

const LATE: NotKnown = {
  kind: "late",
  detail: `there was no result within ${RESOLVE_WITHIN / 1000} s`,
};
const BUSY: NotKnown = {
  kind: "busy",
  detail: `${MOST_WAITING} requests wait for results: no more are asked`,
};

class Asked implements Timed {
  dueAt = Infinity;
  dueSlot: number | undefined;
  readonly want: Want;
  readonly done: OnKnown;
  readonly #onDue: () => void;

  constructor(want: Want, done: OnKnown, onDue: () => void) {
    this.want = want;
    this.done = done;
    this.#onDue = onDue;
  }

  due(): void {
    this.#onDue();
  }
}

export interface RemoteLookupsOptions {
  readonly clock: Clock;
  readonly post: Post;
  /** Services with open exchanges. */
  readonly inUse: () => Iterable<string>;
}

export class RemoteLookups implements Lookups {
  readonly #options: RemoteLookupsOptions;
  readonly #uses = new Uses();
  /** Questions that are resolved, and whether the result was of use in this minute. */
  readonly #known = new Map<string, boolean>();
  readonly #asked = new Map<number, Asked>();
  readonly #deadlines: Deadlines<Asked>;
  readonly #stop: Cancel;
  #numbers = 0;

  constructor(options: RemoteLookupsOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock);
    this.#stop = options.clock.every(MINUTE, () => this.#report());
  }

  holds({ key, service }: Destination): boolean {
    if (this.#uses.called(key)) return true;
    const name = formatName(service.namespace, service.name);
    if (!this.#uses.has(name)) return false;
    this.#uses.note(name, key);
    return true;
  }

  knows(question: string): boolean {
    const known = this.#known.get(question);
    if (known === false) this.#known.set(question, true);
    return known !== undefined;
  }

  look(want: Want, done: OnKnown): void {
    const { clock, post } = this.#options;
    if (this.#asked.size >= MOST_WAITING) {
      done(BUSY);
      return;
    }
    this.#numbers += 1;
    const number = this.#numbers;
    const asked = new Asked(want, done, () => {
      this.#asked.delete(number);
      done(LATE);
    });
    this.#asked.set(number, asked);
    this.#deadlines.set(asked, clock.now() + RESOLVE_WITHIN);
    post({ kind: "look", number, want });
  }

  /** The main thread has said what becomes of it. */
  looked(number: number, looked: Looked): void {
    const asked = this.#asked.get(number);
    if (asked === undefined) return;
    this.#asked.delete(number);
    this.#deadlines.leave(asked);
    const { want, done } = asked;
    if (looked.kind === "granted" && want.service !== undefined)
      this.#uses.note(want.service);
    if (looked.kind === "known") this.#remember(want.questions);
    done(looked.kind === "failed" ? looked.failure : undefined);
  }

  /** What the main thread knows no more. */
  forget({ services, questions }: Named): void {
    for (const service of services) this.#uses.remove(service);
    for (const question of questions) this.#known.delete(question);
  }

  /** Another snapshot is in force. */
  swapped(): void {
    this.#uses.forgetDestinations();
  }

  close(): void {
    this.#stop();
    this.#deadlines.close();
  }

  #remember(questions: readonly string[]): void {
    if (this.#known.size + questions.length > MOST_QUESTIONS)
      this.#known.clear();
    for (const question of questions) this.#known.set(question, true);
  }

  #report(): void {
    const { post, inUse } = this.#options;
    const questions: string[] = [];
    for (const [question, used] of this.#known)
      if (used) {
        questions.push(question);
        this.#known.set(question, false);
      }
    const services = [...new Set([...this.#uses.recent(), ...inUse()])];
    this.#uses.tick();
    if (services.length > 0 || questions.length > 0)
      post({ kind: "used", used: { services, questions } });
  }
}
