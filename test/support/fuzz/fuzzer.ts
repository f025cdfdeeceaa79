/** Sends cases through several listeners at once, has them judged, and looks again, alone and with patience, at whatever seems to differ. */
import type { ListenerUnderTest } from "./listeners.ts";
import { Http1Lane } from "./http1-lane.ts";
import { Http2Lane } from "./http2-lane.ts";
import type { Seen } from "./judge.ts";
import type { AppUnderFuzz, Job, Outcome } from "./outcome.ts";
import { Pulse, TURNS } from "./pulse.ts";
import { chanceOf, type Random } from "./random.ts";
import type { FuzzRequest } from "./requests/request.ts";
import type { Target } from "./target/target-process.ts";

/** Connections of HTTP/1 at each listener. */
const LANES = 40;
/** Cases at once. */
const CASES = 800;
/** One case in so many goes through every listener. */
const EVERYWHERE = 20;
/** Turns without the end of any case after which none will come: each has its end after a few dozen. */
const STUCK = 40 * TURNS;
/** Of those that were in flight while the event loop was held, so many are looked at. */
const SUSPECTS = 12;
/** Microseconds of CPU that one request may use: the event loop serves all others beside it. */
const HELD = 50_000;

export interface Failure {
  readonly index: number;
  readonly wrong: readonly string[];
  readonly text: string;
}

export interface Result {
  requests: number;
  cases: number;
  allowed: number;
  refused: number;
  /** Seemed to differ, and did not when it was looked at again. */
  unconfirmed: number;
  /** The longest turn of the event loop that anybody's input has caused, by CPU, in milliseconds. */
  longest: number;
  readonly failures: Failure[];
}

type Lane = Http1Lane | Http2Lane;

interface Open {
  readonly request: FuzzRequest;
  readonly listeners: readonly ListenerUnderTest[];
  readonly seen: Seen[];
  missing: number;
}

/** What is sent, and how what comes of it is judged. */
export interface Game {
  request(index: number): FuzzRequest;
  /** Of those that speak its version. */
  listeners(
    request: FuzzRequest,
    fit: readonly ListenerUnderTest[],
    chance: Random,
  ): readonly ListenerUnderTest[];
  /** What is wrong, a sentence each. */
  judge(request: FuzzRequest, seen: readonly Seen[]): string[];
  show(request: FuzzRequest, seen: readonly Seen[]): string;
  /** Bytes of what may be costly about it. */
  size(request: FuzzRequest): number;
  /** Numbers of cases that came to the application behind their response, and are forgotten then. */
  late(): number[];
}

export class Fuzzer {
  readonly result: Result = {
    requests: 0,
    cases: 0,
    allowed: 0,
    refused: 0,
    unconfirmed: 0,
    longest: 0,
    failures: [],
  };
  readonly #seed: number;
  readonly #listeners: readonly ListenerUnderTest[];
  readonly #target: Target;
  readonly #game: Game;
  readonly #lanes = new Map<string, readonly Lane[]>();
  readonly #queues = new Map<string, Job[]>();
  readonly #open = new Map<number, Open>();
  readonly #suspects = new Set<number>();
  #onCaseDone: () => void = () => undefined;
  /** The turn in which a case ended last. */
  #progressed = 0;
  readonly #stuck = Promise.withResolvers<string>();
  readonly #pulse: Pulse;
  /** How often each case was tried that was tried again. */
  readonly #attempts = new Map<number, number>();

  constructor(
    seed: number,
    listeners: readonly ListenerUnderTest[],
    target: Target,
    app: AppUnderFuzz,
    game: Game,
  ) {
    this.#seed = seed;
    this.#listeners = listeners;
    this.#target = target;
    this.#game = game;
    for (const listener of listeners) {
      const pump = (): void => this.#pump(listener);
      this.#queues.set(listener.name, []);
      this.#lanes.set(
        listener.name,
        listener.version === "http1"
          ? Array.from(
              { length: LANES },
              () => new Http1Lane(listener, app, pump),
            )
          : [
              new Http2Lane(listener, app, pump),
              new Http2Lane(listener, app, pump),
            ],
      );
    }
    this.#pulse = new Pulse(target, (turn) => {
      for (const lanes of this.#lanes.values())
        for (const lane of lanes) lane.sweep(turn);
      if (this.#open.size === 0) this.#progressed = turn;
      else if (turn - this.#progressed > STUCK)
        this.#stuck.resolve(this.#waiting());
    });
    // Whoever is under way just now may be the one.
    target.onStall(() => {
      for (const index of this.#open.keys()) this.#suspects.add(index);
    });
  }

  /** Nothing ends any more, though the target answers: with what is left. */
  get stuck(): Promise<string> {
    return this.#stuck.promise;
  }

  close(): void {
    this.#pulse.stop();
    for (const lanes of this.#lanes.values())
      for (const lane of lanes) lane.close();
  }

  /** Until every listener has its connections and its code has run: what is late for that is nobody's fault. */
  async warmUp(): Promise<void> {
    for (let index = 0; index < 20; index += 1) await this.replay(index);
    Object.assign(this.result, { requests: 0 });
    this.#suspects.clear();
  }

  /** Until so many requests were sent, or so many failures found. */
  async run(requests: number, mostFailures: number): Promise<Result> {
    const { result } = this;
    const doubtful = new Set<number>();
    let index = 0;
    while (
      result.requests < requests &&
      result.failures.length < mostFailures
    ) {
      while (this.#open.size < CASES && result.requests < requests) {
        this.#start(
          index,
          this.#listenersFor(index),
          false,
          (request, seen) => {
            result.cases += 1;
            for (const { outcome } of seen)
              if (outcome.kind === "allowed") result.allowed += 1;
              else result.refused += 1;
            if (this.#game.judge(request, seen).length > 0)
              doubtful.add(request.index);
          },
        );
        index += 1;
      }
      await this.#someCaseDone();
      if (this.#suspects.size > 0) await this.#whoHeldIt();
      if (doubtful.size >= Math.min(20, mostFailures))
        await this.#lookAgain(doubtful);
    }
    while (this.#open.size > 0) await this.#someCaseDone();
    await this.#lookAgain(doubtful);
    await this.#whoHeldIt();
    // Behind its response nothing of a request may still come; of one that was given up it may.
    for (const late of this.#game.late()) doubtful.add(late);
    await this.#lookAgain(doubtful);
    await this.#pulse.turns(TURNS);
    for (const late of this.#game.late())
      this.#fail(late, ["it came to the application behind its response"]);
    return result;
  }

  /** One case through all listeners of its versions, alone. */
  async replay(index: number): Promise<Failure> {
    const request = this.#game.request(index);
    const listeners = this.#listeners.filter((listener) =>
      isFor(request, listener),
    );
    const seen: Seen[] = [];
    for (const listener of listeners)
      await new Promise<void>((resolve) =>
        this.#start(index, [listener], true, (_request, [one]) => {
          if (one !== undefined) seen.push(one);
          resolve();
        }),
      );
    return {
      index,
      wrong: this.#game.judge(request, seen),
      text: this.#game.show(request, seen),
    };
  }

  #listenersFor(index: number): readonly ListenerUnderTest[] {
    const request = this.#game.request(index);
    const chance = chanceOf(~this.#seed, index);
    const fit = this.#listeners.filter((listener) => isFor(request, listener));
    return chance.once(EVERYWHERE)
      ? fit
      : this.#game.listeners(request, fit, chance);
  }

  /** Microseconds of CPU for one such request at a listener: the least of several tries, since garbage is collected in some. */
  async cost(
    request: FuzzRequest,
    name: string,
    tries: number,
  ): Promise<number> {
    const listener = this.#listeners.find((each) => each.name === name);
    if (listener === undefined) throw new Error(`no listener ${name}`);
    let least = Number.POSITIVE_INFINITY;
    for (let left = tries; left > 0; left -= 1) {
      const before = await this.#target.cpu();
      await new Promise<void>((resolve) =>
        this.#send(request, [listener], true, () => resolve()),
      );
      least = Math.min(least, (await this.#target.cpu()) - before);
    }
    return least;
  }

  #start(
    index: number,
    listeners: readonly ListenerUnderTest[],
    alone: boolean,
    done: (request: FuzzRequest, seen: readonly Seen[]) => void,
  ): void {
    this.#send(this.#game.request(index), listeners, alone, done);
  }

  #send(
    request: FuzzRequest,
    listeners: readonly ListenerUnderTest[],
    alone: boolean,
    done: (request: FuzzRequest, seen: readonly Seen[]) => void,
  ): void {
    const { index } = request;
    if (alone) this.#attempts.set(index, (this.#attempts.get(index) ?? 0) + 1);
    const open: Open = {
      request,
      listeners,
      seen: [],
      missing: listeners.length,
    };
    this.#open.set(index, open);
    for (const listener of listeners) {
      this.result.requests += 1;
      const submit = (byItself: boolean): void => {
        this.#queues.get(listener.name)?.push({
          request,
          attempt: this.#attempts.get(index) ?? 0,
          alone: byItself,
          again: () => {
            this.#attempts.set(index, (this.#attempts.get(index) ?? 0) + 1);
            submit(true);
          },
          done: (outcome: Outcome) => {
            open.seen.push({ listener, outcome });
            open.missing -= 1;
            if (open.missing > 0) return;
            this.#open.delete(index);
            this.#progressed = this.#pulse.turn;
            done(request, open.seen);
            this.#onCaseDone();
          },
        });
        this.#pump(listener);
      };
      submit(alone);
    }
  }

  #pump(listener: ListenerUnderTest): void {
    const queue = this.#queues.get(listener.name) ?? [];
    for (const lane of this.#lanes.get(listener.name) ?? [])
      for (;;) {
        const [job] = queue;
        if (job === undefined) return;
        if (!lane.room || (job.alone && !lane.idle)) break;
        queue.shift();
        lane.run(job, this.#pulse.turn);
      }
  }

  #someCaseDone(): Promise<void> {
    return new Promise((resolve) => {
      this.#onCaseDone = resolve;
    });
  }

  /** Who waits for what, where nothing ends any more. */
  #waiting(): string {
    const queued = Array.from(
      this.#queues,
      ([name, jobs]) => `${name} ${jobs.length}`,
    );
    const missing = new Map<string, number>();
    for (const { listeners, seen } of this.#open.values())
      for (const { name } of listeners)
        if (!seen.some(({ listener }) => listener.name === name))
          missing.set(name, (missing.get(name) ?? 0) + 1);
    const [first] = this.#open.values();
    return [
      `no case ends: ${[...this.#open.keys()].slice(0, 10).join(", ")} of ${this.#open.size} are open`,
      `queued: ${queued.join(", ")}`,
      `missing: ${Array.from(missing, ([name, count]) => `${name} ${count}`).join(", ")}`,
      first === undefined ? "" : this.#game.show(first.request, first.seen),
    ].join("; ");
  }

  async #settled(): Promise<void> {
    while (this.#open.size > 0) await this.#someCaseDone();
  }

  /** A neighbour on this machine may have made a response late; three times it has not. */
  async #lookAgain(doubtful: Set<number>): Promise<void> {
    await this.#settled();
    for (const index of doubtful) {
      const again = await this.replay(index);
      if (again.wrong.length === 0) this.result.unconfirmed += 1;
      else this.result.failures.push(again);
    }
    doubtful.clear();
  }

  /** Which of those that were in flight uses the CPU for so long when it is alone: the largest are asked first. */
  async #whoHeldIt(): Promise<void> {
    if (this.#suspects.size === 0) return;
    await this.#settled();
    const largest = [...this.#suspects]
      .map((index) => this.#game.request(index))
      .toSorted((a, b) => this.#game.size(b) - this.#game.size(a))
      .slice(0, SUSPECTS);
    for (const request of largest) {
      const held = await this.#leastOf(request);
      this.result.longest = Math.max(this.result.longest, held / 1000);
      if (held <= HELD) continue;
      this.#fail(request.index, [
        `it holds the event loop for ${Math.round(held / 1000)} ms`,
      ]);
      break;
    }
    // These very looks are no new suspicion.
    this.#suspects.clear();
  }

  /** Microseconds that it costs in each of several tries, at the way in that leads through both sidecars. */
  async #leastOf(request: FuzzRequest): Promise<number> {
    let most = 0;
    for (const listener of this.#listeners.filter(
      (each) => each.where === "explicit" && isFor(request, each),
    )) {
      const once = await this.cost(request, listener.name, 1);
      if (once <= HELD) continue;
      most = Math.max(
        most,
        Math.min(once, await this.cost(request, listener.name, 2)),
      );
    }
    return most;
  }

  #fail(index: number, wrong: readonly string[]): void {
    const text = this.#game.show(this.#game.request(index), []);
    this.result.failures.push({ index, wrong, text });
  }
}

function isFor(
  { versions }: FuzzRequest,
  { version }: ListenerUnderTest,
): boolean {
  return versions === "both" || versions === version;
}
