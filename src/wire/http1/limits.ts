/** What one HTTP/1.1 connection may cost: every bound of the codec, with its default and where that comes from. */
import type { Bytes } from "../../core/units.ts";
import { LONGEST_REQUEST_LINE } from "../grammar.ts";

/** The limits that are reported when they act, by the names that a metric has for them. */
export type Http1Limit =
  | "header_time"
  | "drain_time"
  | "write_time"
  | "idle"
  | "tiny_chunks";

export interface Http1Limits {
  /** Bytes of a head, from the first of its start-line to its empty line. Envoy takes 60 KiB. Over it: 431. */
  readonly headBytes: Bytes;
  /** Field lines in a head, and in a trailer section. Envoy's `max_headers_count`. Over it: 431. */
  readonly headerCount: number;
  /** Bytes of a request line. Over it: 414. */
  readonly requestLineBytes: Bytes;
  /** Milliseconds from the first byte of a request head to its last; also for what is left of a body once its response is out. Over it: 408. */
  readonly headTimeout: number;
  /** Milliseconds that a connection may wait for the next request. */
  readonly idleTimeout: number;
  /** Milliseconds between our FIN and the end of the connection, in which the peer may read our last words (RFC 9112 9.6). */
  readonly lingerTimeout: number;
  /** Bytes of the extensions of one chunk (RFC 9112 7.1.1 asks for a bound). */
  readonly chunkExtensionBytes: Bytes;
  /** Chunks of less than 64 bytes a second, of all connections of a source; not the first of a body. */
  readonly tinyChunksPerSecond: number;
  /** Bytes of a trailer section. */
  readonly trailerBytes: Bytes;
  /** Bytes held of requests that were sent ahead; then the connection is read no further. */
  readonly pipelinedBytes: Bytes;
  /** Bytes of a body that are still read, for the sake of the connection, after its response is out; and of what comes after our FIN. */
  readonly drainBytes: Bytes;
  /** 1xx responses before the final one. */
  readonly informationalResponses: number;
}

export const DEFAULT_LIMITS: Http1Limits = {
  headBytes: 64 * 1024,
  headerCount: 100,
  requestLineBytes: LONGEST_REQUEST_LINE,
  headTimeout: 10_000,
  idleTimeout: 60_000,
  lingerTimeout: 2000,
  chunkExtensionBytes: 256,
  tinyChunksPerSecond: 10_000,
  trailerBytes: 8 * 1024,
  pipelinedBytes: 64 * 1024,
  drainBytes: 256 * 1024,
  informationalResponses: 16,
};

/** For requests between sidecars: a head that one of them took must not be too large for the next by what the mesh has added to it. Nothing is added to responses there. */
export const LINK_LIMITS: Http1Limits = {
  ...DEFAULT_LIMITS,
  headBytes: 80 * 1024,
  headerCount: 200,
};
