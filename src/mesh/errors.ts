/** The one error family of the data path: what failed, whose fault it is, and whether the request is provably unprocessed. */
import type { Source } from "./codes.ts";
import type { Code } from "./reasons.ts";
import { REASONS } from "./reasons.ts";

export interface MeshErrorOptions {
  /** Whose fault it is, where this once it is not that which its reason has. */
  readonly source?: Source;
  /** True only where it is certain that no part of the request was processed (law 3). */
  readonly unprocessed?: boolean;
  /** The other end no longer says anything at all, whatever it is asked: no single request is the cause. */
  readonly silent?: boolean;
  /** The other end broke it off as it would for a caller that has gone, or may not go on: CANCEL. */
  readonly cancelled?: boolean;
  /** "NAMESPACE/NAME" of the policy that decided. */
  readonly policy?: string;
  readonly answer?: AnswerDetails;
  readonly cause?: unknown;
}

/** What the response to a failure has besides what its reason gives. */
export interface AnswerDetails {
  /** HTTP and gRPC status in place of the reason's, where a policy of the user's names them. */
  readonly status?: number;
  readonly grpc?: number;
  /** There is no response: the exchange is broken off. */
  readonly reset?: boolean;
  /** Milliseconds after which the caller may come again: `Retry-After`. */
  readonly retryAfter?: number;
  /** Further fields, by lower-case name. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
  /** In place of the page that says why. */
  readonly body?: Buffer;
}

export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: Code;
  readonly source: Source;
  readonly unprocessed: boolean;
  readonly silent: boolean;
  readonly cancelled: boolean;
  readonly policy: string | undefined;
  readonly answer: AnswerDetails | undefined;

  constructor(code: Code, detail: string, options: MeshErrorOptions = {}) {
    // Nobody reads where a failure of a call was made, and to note it costs more than all else here: under a flood there are thousands.
    const { stackTraceLimit } = Error;
    if (code !== "INTERNAL") Error.stackTraceLimit = 0;
    super(
      detail === "" ? REASONS[code].text : detail,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
    this.source = options.source ?? REASONS[code].fault;
    this.unprocessed = options.unprocessed ?? false;
    this.silent = options.silent ?? false;
    this.cancelled = options.cancelled ?? false;
    this.policy = options.policy;
    this.answer = options.answer;
  }
}
