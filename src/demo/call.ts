/** A call to a service of the shop and its response: all that a service knows of HTTP. */
import type { Caller } from "./caller.ts";

/** What one request asks, once its body has been read. */
export interface Call {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly accept: string;
  /** Calls another service of the shop, passing the trace context on. */
  readonly caller: Caller;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** "application/json" unless said otherwise; a string body goes out as it is. */
  readonly type?: string;
}

/** What a service does: one function from call to response. */
export type Service = (call: Call) => Promise<Answer> | Answer;
