/** Calls without a pause through a sidecar while something happens to it: on new connections, on those that are kept, and on HTTP/2; each failure with its words. */
import { Agent, request } from "node:http";
import { connect, type ClientHttp2Session } from "node:http2";
import { systemClock, wait } from "../../../src/core/clock.ts";

/** Milliseconds between a response and the next call of the same caller. */
const PAUSE = 15;

export interface SteadyCalls {
  readonly made: number;
  /** How often each failure was seen. */
  readonly failures: ReadonlyMap<string, number>;
  /** Resolves when the last responses have come. */
  stop(): Promise<void>;
}

/** What is called, and what is noted of each failure besides its words. */
export interface CallsOptions {
  readonly path?: string;
  /** What is going on now. */
  readonly stage?: () => string;
}

/** `callers` of each sort: one call after the other, each. */
export function startCalls(
  port: number,
  host: string,
  callers: number,
  { path = "/", stage = (): string => "" }: CallsOptions = {},
): SteadyCalls {
  const never = new AbortController().signal;
  const kept = new Agent({ keepAlive: true });
  const called = { port, host, path };
  const http2 = new Http2Caller(called);
  const failures = new Map<string, number>();
  let made = 0;
  let over = false;
  const run = async (call: () => Promise<string>): Promise<void> => {
    while (!over) {
      const began = performance.now();
      const words = await call();
      made += 1;
      if (words !== "200") {
        const ms = Math.round(performance.now() - began);
        const what = `${words}${stage() && ` (after ${ms} ms, ${stage()})`}`;
        failures.set(what, (failures.get(what) ?? 0) + 1);
      }
      await wait(systemClock, PAUSE, never);
    }
  };
  const running = Array.from({ length: callers }, () => [
    run(() => callHttp1(called, false)),
    run(() => callHttp1(called, kept)),
    run(() => http2.call()),
  ]).flat();
  return {
    failures,
    get made() {
      return made;
    },
    async stop() {
      over = true;
      await Promise.all(running);
      kept.destroy();
      http2.close();
    },
  };
}

interface Called {
  readonly port: number;
  readonly host: string;
  readonly path: string;
}

/** Its status, or why there is none. */
function callHttp1(
  { port, host, path }: Called,
  agent: Agent | false,
): Promise<string> {
  return new Promise((resolve) => {
    const kind = agent === false ? "new" : "kept";
    const options = { host: "127.0.0.1", port, path, agent, headers: { host } };
    request(options, (response) => {
      let text = "";
      response.on("error", (error) => resolve(`${kind}: ${error.message}`));
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => {
        const { statusCode, headers } = response;
        const reason = headers["x-wherry-reason"]?.toString() ?? faultIn(text);
        resolve(
          statusCode === 200 ? "200" : `${kind}: ${statusCode} ${reason}`,
        );
      });
    })
      .on("error", (error) => resolve(`${kind}: ${error.message}`))
      .end();
  });
}

/** Of a page of the demo the parts that are missing, else the text. */
function faultIn(text: string): string {
  try {
    const parts = Object.entries(JSON.parse(text) as Record<string, object>);
    const missing = parts.filter(([, part]) => "error" in part);
    return JSON.stringify(Object.fromEntries(missing));
  } catch {
    return text;
  }
}

/** One connection, and another one once that has said GOAWAY. */
class Http2Caller {
  readonly #called: Called;
  #session: ClientHttp2Session | undefined;

  constructor(called: Called) {
    this.#called = called;
  }

  call(): Promise<string> {
    return new Promise((resolve) => {
      const stream = this.#open().request({
        ":path": this.#called.path,
        ":authority": this.#called.host,
      });
      let words = "no response";
      let text = "";
      stream.on("response", ({ ":status": status, ...fields }) => {
        const reason = String(fields["x-wherry-reason"] ?? "");
        words = status === 200 ? "200" : `${status} ${reason}`;
      });
      stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      stream.on("error", ({ message }) => (words = message));
      stream.on("close", () =>
        resolve(words === "200" ? words : `HTTP/2: ${words}${faultIn(text)}`),
      );
    });
  }

  close(): void {
    this.#session?.destroy();
  }

  #open(): ClientHttp2Session {
    const known = this.#session;
    if (known?.closed === false && !known.destroyed) return known;
    const session = connect(`http://127.0.0.1:${this.#called.port}`);
    session.on("error", () => undefined);
    this.#session = session;
    return session;
  }
}
