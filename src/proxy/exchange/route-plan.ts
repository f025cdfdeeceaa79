/** Interface between the relay and the route plan, and between an attempt and its target. */
import type { Cancel } from "../../core/clock.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { Injection } from "../../policy/fault.ts";
import type { Outcome } from "../../policy/outcome.ts";
import type { RetryBudget, RetryPolicy } from "../../policy/retry.ts";
import type { Timeouts } from "../../policy/timeout.ts";
import type {
  ClientConnection,
  RequestHead,
  ResponseHead,
} from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import type { BodyFilter } from "./body-filter.ts";

/** One endpoint, chosen for one attempt. `answered` and `done` are each called once at most, `done` always. */
export interface Target {
  /** The endpoint's key; a retry prefers another. */
  readonly key: string;
  /** "10.0.0.7:15008", for the log and the span. */
  readonly address: string;
  /** It proves a mesh identity before a byte is sent, so that its `x-wherry-reason` is believed. */
  readonly trusted: boolean;
  /** The breaker lets this one attempt through to see; it waits for the head only. */
  readonly probing: boolean;
  connect(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined;
  /** The breaker's part: the response head came, or it will not come. */
  answered(outcome: Outcome): void;
  /**
   * The balancer's and the ejection's part: the attempt is over. `latency` in milliseconds to the response head, or to the failure.
   * What the attempt led to, in words for its span: an ejection, a break.
   */
  done(outcome: Outcome, latency: number, now: number): string | undefined;
  /** Its answer has no end that could be waited for: it takes none of the places that are for requests. */
  endless?(): void;
  /** The endpoint has yet to prove itself after an ejection, and this attempt is its trial. */
  readonly trial?: boolean;
  /** All of the request was sent, and a response is due. `grpc`: the method, where the call has no deadline, and may be a stream. */
  sent?(grpc?: string): void;
  /** A piece of a response came. */
  received?(chunk: Uint8Array): void;
  /** The caller does not take the response as fast as it comes: what takes long says nothing of the endpoint. */
  slowed?(): void;
  /** The head of a response came. */
  headed?(outcome: Outcome, now: number): void;
}

/** Hears a request's body, for copies of it. */
export interface RequestTee extends BodyFilter {
  /** The exchange itself is on its way: the copies may follow. */
  open(): void;
}

/** How one request goes, with the snapshot that it started with (law 1). */
export interface RoutePlan {
  /** "orders.shop:80", for metrics and the log. */
  readonly destination: string;
  /** "NAMESPACE/NAME#RULE" of the route, for the log and the span. */
  readonly route: string | undefined;
  /** "NAMESPACE/NAME" of the external Service that it goes to; absent or undefined where it goes to none. */
  readonly external?: string | undefined;
  /** Path without query, as policy saw it. */
  readonly path: string;
  readonly timeouts: Timeouts;
  /** Milliseconds; 0 is off. */
  readonly streamIdle: number;
  /** The same for a WebSocket once it is open. */
  readonly dialogueIdle: number;
  readonly retry: RetryPolicy;
  readonly budget: RetryBudget;
  /** May be sent twice (RFC 9110 9.2.2, or `idempotency-key`). */
  readonly repeatable: boolean;
  /** Where it goes HTTP/2 is spoken, in which either side may take its time. */
  readonly dialogues: boolean;
  /** The caller learns reasons: it is the local application, or on the link. */
  readonly inside: boolean;
  /** This is the side of the callee, and the time-outs are what its caller's sidecar gave it. */
  readonly callee: boolean;
  /** Milliseconds after which a caller that was refused may try again; 0 where nobody knows. */
  readonly retryAfter: number;
  /** The trouble that the request is given on purpose. */
  readonly fault?: Injection | undefined;
  /** Hears the request's body, for copies of it. */
  readonly tee?: RequestTee | undefined;
  /** Where the next attempt goes; keys in `tried` only if there is nothing else. */
  choose(tried: ReadonlySet<string>, now: number): Target | MeshError;
  /** There is an endpoint that is not in `tried`. */
  hasOther(tried: ReadonlySet<string>): boolean;
  /** The head of attempt `attempt` (from 1), with `trace` in place of the trace fields that came. `left`: milliseconds to the deadline, `attemptLeft`: to the end of the attempt. */
  requestHead(
    received: RequestHead,
    attempt: number,
    trace: Fields,
    left: number,
    attemptLeft: number,
  ): RequestHead;
  /** The response head as the caller gets it. */
  responseHead(received: ResponseHead, target: Target): ResponseHead;
}
export interface ConnectionNeed {
  /** The request may be sent twice. Where not, it gets no connection that may have died unnoticed (law 3). */
  readonly mayRepeat: boolean;
}
/** All that a request needs of a connection. */

export type Requestable = Pick<ClientConnection, "request">;
/** Waits for a connection; exactly one of the two is called, once, possibly from within `acquire`. */

export interface ConnectionWaiter {
  /** A request must be opened on it before returning, or never. */
  connected(connection: Requestable, reused: boolean): void;
  failed(error: MeshError): void;
  /** No other endpoint would be tried after this one. */
  isLast?(): boolean;
  /** The endpoint stopped responding: where that does no harm, the request is sent elsewhere as well. */
  stalled?(now: number): void;
}
