/** What became of one request at one listener, in words that do not depend on the version of HTTP. */
import { REASONS } from "../../../src/mesh/reasons.ts";
import type { Recorded } from "./applications/recording-app.ts";
import type { FuzzRequest, Pair } from "./requests/request.ts";

/** A response as the caller got it. */
export interface Received {
  readonly fields: readonly Pair[];
  readonly body: string;
  readonly trailers: readonly string[];
  /** It came to its end in order. */
  readonly complete: boolean;
}

/** The application at the other end, as far as whoever calls it needs it. */
export interface AppUnderFuzz {
  /** What came under this number; it is forgotten then. */
  take(id: string): readonly Recorded[];
}

export interface Outcome {
  readonly kind: "allowed" | "refused" | "tunnel" | "unfinished";
  /** Of the response; 400 where the refusal has none, as a reset has not. */
  readonly status: number;
  /** The reason, "" where nobody says it: strangers are not told, and HEAD has no content. */
  readonly code: string;
  readonly arrived: readonly Recorded[];
  /** What must never be, whatever other listeners do. */
  readonly flaw: string | undefined;
  /** Undefined where there was none. */
  readonly received?: Received | undefined;
}

export interface Job {
  readonly request: FuzzRequest;
  /** From 0: what comes late of an earlier one is not this one's. */
  readonly attempt: number;
  /** It has a connection of its own. */
  readonly alone: boolean;
  done(outcome: Outcome): void;
  /** Its connection ended for the sake of another. */
  again(): void;
}

const SENTENCES: ReadonlyMap<string, string> = new Map(
  Object.entries(REASONS).map(([code, { text }]) => [`${text}.\n`, code]),
);

/** The reason of a refusal from the header, or from the words that strangers get. */
export function codeOf(reason: string | undefined, body: string): string {
  if (reason !== undefined) return reason.split(";", 1)[0] ?? "";
  return SENTENCES.get(body) ?? "";
}
