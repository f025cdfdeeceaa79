/** What changes do to a proxy under load: its CPU, how long its event loop was held up, its calls, and how soon each change was in force. */
import { wait, type Clock } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { spreadOf, type Row } from "./figures.ts";
import type { Answer, Load, WindowResult } from "./load.ts";
import type { HeldUp } from "./probe.ts";
import type { Spent } from "./schedstat.ts";

export interface Observed {
  readonly calls: WindowResult;
  /** Of the event loop, by change; none where the proxy has no probe. */
  readonly held: readonly HeldUp[];
  /** Milliseconds of CPU, and of time. */
  readonly cpu: number;
  readonly took: number;
  /** Milliseconds that it took to write, by change. */
  readonly written: readonly number[];
  /** Milliseconds from then until it was in force, by change. */
  readonly inForce: readonly number[];
}

export interface Change {
  /** Resolves with the revision that it has, where there is such. */
  readonly apply: () => Promise<number>;
  /** Resolves when it is in force. Undefined where nothing tells: whoever does not use a Service need not hear of it. */
  readonly inForce?: (revision: number) => Promise<void>;
}

/** The proxy that is observed. */
export interface Target {
  readonly cpu: Spent;
  readonly heldUp?: () => Promise<HeldUp>;
  /** What stands in the way of its config; "" for nothing that it knows. */
  readonly fault?: () => Promise<string>;
}

/** Milliseconds in which a change has to be in force. */
const WITHIN = 60_000;

export class Observer {
  readonly #target: Target;
  readonly #load: Load;
  readonly #clock: Clock;

  constructor(target: Target, load: Load, clock: Clock) {
    this.#target = target;
    this.#load = load;
    this.#clock = clock;
  }

  /** Nothing changes for so many milliseconds. */
  quiet(ms: number): Promise<Observed> {
    return this.#observe(async (look) => {
      await this.#pause(ms);
      await look();
      return { written: [], inForce: [] };
    });
  }

  /** One change after the other, with so many milliseconds behind each: what it brings is over by then. */
  series(
    count: number,
    settle: number,
    make: (index: number) => Change,
  ): Promise<Observed> {
    return this.#observe(async (look) => {
      const times = { written: [] as number[], inForce: [] as number[] };
      for (let index = 1; index <= count; index += 1) {
        const { apply, inForce } = make(index);
        const begun = this.#clock.now();
        const revision = await apply();
        const from = this.#clock.now();
        times.written.push(from - begun);
        if (inForce !== undefined) {
          await inForce(revision);
          times.inForce.push(this.#clock.now() - from);
        }
        await this.#pause(settle);
        await look();
      }
      return times;
    });
  }

  /** Begins to look at once: a change may be in force before its writer hears that it was taken. Resolves at the first answer that shows it. */
  seen(
    service: number,
    shows: (answer: Answer) => boolean,
  ): () => Promise<void> {
    const seen = Promise.withResolvers<undefined>();
    const leave = this.#load.listen((answer) => {
      if (answer.service === service && shows(answer)) seen.resolve(undefined);
    });
    return async () => {
      const cancel = this.#clock.after(
        WITHIN,
        () => void this.#tooLate().then((error) => seen.reject(error)),
      );
      try {
        await seen.promise;
      } finally {
        cancel();
        leave();
      }
    };
  }

  /** Looks again and again until it is so. */
  async until(isSo: () => Promise<boolean>, every: number): Promise<void> {
    const last = this.#clock.now() + WITHIN;
    while (!(await isSo())) {
      if (this.#clock.now() > last) throw await this.#tooLate();
      await this.#pause(every);
    }
  }

  async #observe(
    run: (
      look: () => Promise<void>,
    ) => Promise<Pick<Observed, "written" | "inForce">>,
  ): Promise<Observed> {
    const { cpu, heldUp } = this.#target;
    const held: HeldUp[] = [];
    await heldUp?.();
    const before = cpu.ms();
    const from = this.#clock.now();
    const window = this.#load.window();
    const times = await run(async () => {
      if (heldUp !== undefined) held.push(await heldUp());
    });
    const calls = await window.end();
    const took = this.#clock.now() - from;
    return { ...times, calls, held, cpu: cpu.ms() - before, took };
  }

  async #tooLate(): Promise<UserError> {
    const why = await this.#target.fault?.().catch(String);
    return new UserError(
      `a change was not in force within ${WITHIN / 1000} s${why ? `: ${why}` : ""}`,
    );
  }

  #pause(ms: number): Promise<void> {
    return wait(this.#clock, ms, new AbortController().signal);
  }
}

export function quietRows({ calls, held, cpu, took }: Observed): Row[] {
  return [
    ...heldRows("quiet", held),
    ["quiet: CPU", "% of a core", (100 * cpu) / took],
    ["quiet: call p50", "ms", calls.p50],
    ["quiet: call p99", "ms", calls.p99],
    ["quiet: slowest call", "ms", calls.worst],
    ["quiet: failed calls", "", calls.failed],
  ];
}

/** Of so many changes. What is spent without a change is taken off. */
export function changeRows(
  name: string,
  { calls, held, cpu, took, written, inForce }: Observed,
  quiet: Observed,
  changes: number,
): Row[] {
  const force = spreadOf(inForce);
  const idle = (quiet.cpu / quiet.took) * took;
  return [
    [`${name}: CPU`, "ms a change", Math.max(0, cpu - idle) / changes],
    ...heldRows(name, held),
    [`${name}: call p99`, "ms", calls.p99],
    [`${name}: slowest call`, "ms", calls.worst],
    [`${name}: failed calls`, "", calls.failed],
    [`${name}: write, p50`, "ms", spreadOf(written).p50],
    ...(inForce.length === 0
      ? []
      : ([
          [`${name}: in force, p50`, "ms", force.p50],
          [`${name}: in force, p99`, "ms", force.p99],
        ] as const)),
  ];
}

function heldRows(name: string, held: readonly HeldUp[]): Row[] {
  if (held.length === 0) return [];
  const pause = spreadOf(held.map((each) => each.pause));
  const work = spreadOf(held.map((each) => each.work));
  return [
    ...(held.length === 1
      ? []
      : ([
          [`${name}: pause, median`, "ms", pause.p50],
          [`${name}: work in one go, median`, "ms CPU", work.p50],
        ] as const)),
    [`${name}: pause, longest`, "ms", pause.worst],
    [`${name}: work in one go, longest`, "ms CPU", work.worst],
  ];
}
