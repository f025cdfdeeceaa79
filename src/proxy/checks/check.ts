/**
 * What has to be found out about a request before its policies can judge it: whether a token is genuine, or what a provider of
 * authorization says. Checks run in turn; one that has to ask somebody makes the request wait (`waiting.ts`).
 */
import type { Cancel } from "../../core/clock.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { InboundPort, Snapshot } from "../../policy/snapshot.ts";
import type { CheckedRequest } from "./checked-request.ts";

export interface Check {
  /** Why the request is refused, or what has to be asked; undefined where neither. What it finds out it notes on the request. */
  begin(request: CheckedRequest): Question | MeshError | undefined;
}

/** What a request waits for. */
export interface Question {
  /** Milliseconds that the response may take, from when `ask` was called. */
  readonly timeout: number;
  /** How much of the request's body has to be there before it is asked; absent: nothing. */
  readonly body?: BodyNeed | undefined;
  /** Calls `done` once at most, possibly from within. Returns how to call it off. */
  ask(done: Answered): Cancel;
  /** The time is up, and the question called off: why the request is refused, if it is. */
  late(): MeshError | undefined;
}

/** `settle` does what the response says, and tells why the request is refused, if it is; it is called at once, or not at all. */
export type Answered = (settle: Settle) => void;

export type Settle = () => MeshError | undefined;

export interface BodyNeed {
  /** At most so many bytes. */
  readonly bytes: number;
  /** A longer body is asked about by its beginning; otherwise it is refused. */
  readonly partial: boolean;
}

/** The checks of a port. */
export interface Checks {
  /** In the order in which they run; undefined where there is none, as for most ports. */
  of(snapshot: Snapshot, port: InboundPort): readonly Check[] | undefined;
}
