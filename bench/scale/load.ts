/** The caller beside the sidecar: so many requests a second at the moments that a schedule has, each measured from its moment, in windows. */
import { Pool } from "undici";
import type { Clock } from "../../src/core/clock.ts";
import { quantile } from "./figures.ts";

export interface Answer {
  readonly service: number;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Monotonic milliseconds at which it came. */
  readonly at: number;
}

/** Latency in milliseconds. */
export interface WindowResult {
  readonly calls: number;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
  /** Of the failures, as many as were alike. */
  readonly reasons: Readonly<Record<string, number>>;
}

export interface LoadOptions {
  readonly port: number;
  /** Requests a second in all. */
  readonly rate: number;
  /** Each call's service, in turn. */
  readonly services: readonly number[];
  readonly hostOf: (service: number) => string;
  readonly clock: Clock;
}

/** Milliseconds between two looks at the schedule. */
const STEP = 1;
/** Milliseconds after which a call is a failure. */
const DEADLINE = 5000;

export class Load {
  readonly #options: LoadOptions;
  readonly #pool: Pool;
  readonly #windows = new Set<Window>();
  readonly #listeners = new Set<(answer: Answer) => void>();
  #next: number;
  #count = 0;
  #stopped = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#pool = poolTo(options.port);
    this.#next = options.clock.now();
    this.#step();
  }

  /** Records the calls that become due from now on, until it is ended. */
  window(): Window {
    const window = new Window(() => this.#windows.delete(window));
    this.#windows.add(window);
    return window;
  }

  /** Hears of every answer until the result is called. */
  listen(listener: (answer: Answer) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#pool.destroy();
  }

  #step(): void {
    const { clock, rate, services } = this.#options;
    if (this.#stopped) return;
    const now = clock.now();
    for (; this.#next <= now; this.#next += 1000 / rate) {
      const service = services[this.#count % services.length] ?? 0;
      this.#count += 1;
      const windows = [...this.#windows];
      for (const window of windows) window.begin();
      void this.#call(service, this.#next, windows);
    }
    clock.after(STEP, () => this.#step());
  }

  async #call(
    service: number,
    due: number,
    windows: readonly Window[],
  ): Promise<void> {
    const { clock, hostOf } = this.#options;
    const outcome = await callOnce(this.#pool, hostOf(service));
    if (this.#stopped) return;
    const at = clock.now();
    for (const window of windows) window.record(at - due, outcome.fault);
    if (outcome.fault !== undefined) return;
    const { status, headers } = outcome;
    for (const listener of this.#listeners)
      listener({ service, status, headers, at });
  }
}

export function poolTo(port: number): Pool {
  return new Pool(`http://127.0.0.1:${port}`, {
    connections: 32,
    pipelining: 1,
    headersTimeout: DEADLINE,
    bodyTimeout: DEADLINE,
  });
}

export type Outcome =
  | {
      readonly fault: undefined;
      readonly status: number;
      readonly headers: Answer["headers"];
    }
  | { readonly fault: string };

/** Anything but 200 is a failure. */
export async function callOnce(pool: Pool, host: string): Promise<Outcome> {
  try {
    const response = await pool.request({
      method: "GET",
      path: "/",
      headers: { host },
    });
    await response.body.dump();
    const { statusCode: status, headers } = response;
    const reason = headers["x-wherry-reason"];
    return status === 200
      ? { fault: undefined, status, headers }
      : { fault: `${status} ${String(reason ?? "")}`.trim() };
  } catch (thrown) {
    return { fault: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

export class Window {
  readonly #took: number[] = [];
  readonly #reasons = new Map<string, number>();
  readonly #leave: () => void;
  readonly #settled = Promise.withResolvers<undefined>();
  #begun = 0;
  #failed = 0;
  #over = false;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  begin(): void {
    this.#begun += 1;
  }

  record(ms: number, fault: string | undefined): void {
    this.#took.push(ms);
    if (fault !== undefined) {
      this.#failed += 1;
      this.#reasons.set(fault, (this.#reasons.get(fault) ?? 0) + 1);
    }
    if (this.#over && this.#took.length === this.#begun)
      this.#settled.resolve(undefined);
  }

  /** Resolves when the last of its calls is over. */
  async end(): Promise<WindowResult> {
    this.#leave();
    this.#over = true;
    if (this.#took.length < this.#begun) await this.#settled.promise;
    const sorted = Float64Array.from(this.#took).sort();
    return {
      calls: sorted.length,
      failed: this.#failed,
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
      worst: sorted.at(-1) ?? Number.NaN,
      reasons: Object.fromEntries(this.#reasons),
    };
  }
}
