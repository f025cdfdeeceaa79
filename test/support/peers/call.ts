/** HTTP calls of tests, with what a test looks at: status, fields, text and how long it took. */
import { Agent, request } from "node:http";

export interface Called {
  /** 0 where the call failed without an answer; `text` says why. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Milliseconds from the first byte sent to the last byte received. */
  readonly ms: number;
}

export interface CallOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Whose connections are used; those that all tests of a process share where it is not said. */
  readonly agent?: Agent | undefined;
}

// An idle connection ends here before a sidecar closes it after its 60 s: a call sent meanwhile would fail.
const shared = new Agent({ keepAlive: true, maxSockets: 64, timeout: 30_000 });

/** Closes idle connections, so that the test's process can end. */
export function closeCalls(): void {
  shared.destroy();
}

export function call(url: string, options: CallOptions = {}): Promise<Called> {
  const began = performance.now();
  return new Promise((resolve) => {
    const failed = (error: Error): void =>
      resolve({
        status: 0,
        headers: {},
        text: error.message,
        ms: performance.now() - began,
      });
    const sent = request(
      url,
      {
        agent: options.agent ?? shared,
        method: options.method ?? "GET",
        headers: {
          ...options.headers,
          ...(options.body === undefined
            ? {}
            : { "content-length": String(Buffer.byteLength(options.body)) }),
        },
      },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("error", failed);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            ms: performance.now() - began,
          }),
        );
      },
    );
    sent.on("error", failed);
    sent.end(options.body);
  });
}

/**
 * Milliseconds between an attempt and the next. One that starts a process, or reads much, leaves the machine to what it waits for; and
 * what has not come for a while is asked for less often.
 */
const [BRIEFLY, AT_MOST] = [20, 500];

/** Resolves with the first result that `accept` takes; rejects with the last one seen once `ms` have passed. */
export async function eventually<T>(
  what: string,
  ms: number,
  attempt: () => Promise<T>,
  accept: (value: T) => boolean,
): Promise<T> {
  const first = performance.now();
  const until = first + ms;
  for (;;) {
    const began = performance.now();
    const value = await attempt();
    if (accept(value)) return value;
    const now = performance.now();
    const pause = Math.max(3 * (now - began), (now - first) / 20, BRIEFLY);
    // In brackets: JSON has no functions, and there is a text of what is in a list.
    if (now > until)
      throw new Error(
        `${what}: not within ${ms} ms; last seen: ${JSON.stringify([value]).slice(0, 2000)}`,
      );
    await new Promise(
      (resolve) => void setTimeout(resolve, Math.min(pause, AT_MOST)),
    );
  }
}

export interface Load {
  readonly results: readonly Called[];
  /** Starts no more, and resolves when the last has its answer. */
  stop(): Promise<readonly Called[]>;
}

/** Calls evenly spaced in time, whether or not the earlier ones have their answers (open loop). */
export function openLoad(
  rate: number,
  make: (index: number) => Promise<Called>,
): Load {
  const results: Called[] = [];
  const pending = new Set<Promise<void>>();
  const began = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * rate);
    for (; sent < due; sent += 1) {
      const one = make(sent).then((result) => {
        results.push(result);
        pending.delete(one);
      });
      pending.add(one);
    }
  }, 5);
  // A test that fails before it stops this is over all the same.
  timer.unref();
  return {
    results,
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
      return results;
    },
  };
}

/** Exactly `count` calls, at most `rate` a second. */
export async function paced(
  count: number,
  rate: number,
  make: (index: number) => Promise<Called>,
): Promise<readonly Called[]> {
  const results: Promise<Called>[] = [];
  const began = performance.now();
  while (results.length < count) {
    const due = Math.min(
      count,
      Math.floor(((performance.now() - began) / 1000) * rate) + 1,
    );
    while (results.length < due) results.push(make(results.length));
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
  return Promise.all(results);
}
