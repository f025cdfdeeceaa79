/** What one HTTP/2 connection may cost: every bound on memory, work and time that a peer can cause, with its default (decision 013). */
import type { Clock } from "../../core/clock.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import type { Bytes } from "../../core/units.ts";
import type { Nuisance, Source } from "../flood-guard.ts";
import type { Buffers } from "../buffers.ts";

/** The limits that are reported when they act, by the names that a metric has for them. */
export type Http2Limit =
  | Exclude<Nuisance, "tiny_chunks">
  | "field_block"
  | "header_list"
  | "streams"
  | "informational"
  | "output"
  | "held"
  | "settings_ack"
  | "header_time"
  | "write_time"
  | "idle";

export interface Http2Limits {
  /** Bytes of a header list: names, values and 32 for each field (RFC 9113 6.5.2). Over it: 431, or a reset. */
  readonly headerListBytes: Bytes;
  /** Fields of a header list. */
  readonly headerFields: number;
  /** Bytes of an encoded field block over all its frames. Over it the connection ends. */
  readonly headerBlockBytes: Bytes;
  /** CONTINUATION frames of one field block. Over it the connection ends (CVE-2024-27316). */
  readonly continuations: number;
  /** Bytes of the dynamic table that we keep for the peer's encoder, and at most use in our own. */
  readonly headerTableBytes: Bytes;
  /** Streams that a client may have open at once. */
  readonly concurrentStreams: number;
  /** Bytes of the largest frame that we take. */
  readonly frameBytes: Bytes;
  /** Bytes of window that a stream starts with. */
  readonly streamWindow: number;
  /** Bytes that the window of a fast stream may grow to; it is raised by the factor by which the connection's grows. */
  readonly streamWindowMax: number;
  /** Bytes by which the windows of all streams of a connection may have grown together. */
  readonly windowGrowth: number;
  /** Bytes of window of the connection as a whole. */
  readonly connectionWindow: number;
  /** Bytes that it may grow to where the peer is far away. */
  readonly connectionWindowMax: number;
  /**
   * Bytes that paused streams may have taken in together before the connection's window is withheld as well. Only for a connection that is
   * one caller's: where many share it, some that stand still would stop the others, and the proxy's bound has to do.
   */
  readonly heldBytes: Bytes;
  /** 1xx responses before the final one. Over it the stream is reset. */
  readonly informationalResponses: number;
  /** Bytes queued on a stream at which `write` says false. */
  readonly streamQueueBytes: Bytes;
  /** Bytes of frames waiting for the socket at which DATA waits in its stream instead. */
  readonly outputBytes: Bytes;
  /** Bytes of frames waiting for the socket at which a server reads no more and a client takes no request. */
  readonly outputBytesMax: number;
  // What is counted by the second is counted over all connections of a source, where the connection's owner names one.
  /**
   * Resets a second of streams without a response yet: by the peer within a second of opening them (CVE-2023-44487; later
   * ones are bounded by the streams at once), or provoked by a message that is malformed (CVE-2025-8671).
   */
  readonly resetsPerSecond: number;
  /** Requests a second that are refused before anybody hears of them: malformed, too large, or above the number of streams. */
  readonly malformedPerSecond: number;
  /** SETTINGS, acknowledgements too, and GOAWAY (CVE-2019-9515). */
  readonly settingsPerSecond: number;
  /** CVE-2019-9512. Some clients measure the way by one PING a round trip. */
  readonly pingsPerSecond: number;
  /** DATA frames without content or END_STREAM, a second, whatever their padding (CVE-2019-9518). */
  readonly emptyFramesPerSecond: number;
  /** DATA frames of less than 64 bytes, a second: neither a body's first, nor with END_STREAM. */
  readonly tinyFramesPerSecond: number;
  /** WINDOW_UPDATE frames of less than 256 bytes, a second. */
  readonly tinyUpdatesPerSecond: number;
  /** PRIORITY, unknown frames, and frames for streams that are over, a second. */
  readonly strayFramesPerSecond: number;
  /** Milliseconds until the peer must have acknowledged our SETTINGS. */
  readonly settingsTimeout: number;
  /** Milliseconds that a frame or field block may take from its first byte to its last. */
  readonly headerTimeout: number;
  /** Milliseconds in which the peer must take something: of what waits for the socket, and of a whole response that waits for its window. */
  readonly writeTimeout: number;
  /** Milliseconds that a client's connection may be without a stream; then it is drained. */
  readonly idleTimeout: number;
  /** Milliseconds that a closing connection waits: for the acknowledgement of a PING while draining, and for the peer's FIN. */
  readonly closeTimeout: number;
}

const DEFAULT_LIMITS: Http2Limits = {
  headerListBytes: 65_536,
  headerFields: 100,
  headerBlockBytes: 131_072,
  continuations: 16,
  headerTableBytes: 16_384,
  concurrentStreams: 1000,
  frameBytes: 16_384,
  streamWindow: 65_535,
  streamWindowMax: 786_432,
  windowGrowth: 4_194_304,
  connectionWindow: 524_288,
  connectionWindowMax: 4_194_304,
  heldBytes: 4_194_304,
  informationalResponses: 16,
  streamQueueBytes: 65_536,
  outputBytes: 65_536,
  outputBytesMax: 1_048_576,
  resetsPerSecond: 500,
  malformedPerSecond: 2000,
  settingsPerSecond: 100,
  pingsPerSecond: 10_000,
  emptyFramesPerSecond: 1000,
  tinyFramesPerSecond: 10_000,
  tinyUpdatesPerSecond: 50_000,
  strayFramesPerSecond: 50_000,
  settingsTimeout: 10_000,
  headerTimeout: 10_000,
  writeTimeout: 60_000,
  idleTimeout: 600_000,
  closeTimeout: 1000,
};

export interface Http2Options {
  readonly clock: Clock;
  /** What all connections wait for; absent: a timer of its own. */
  readonly deadlines?: Deadlines | undefined;
  readonly limits?: Partial<Http2Limits>;
  /** Whose connection it is; absent: nobody else's counts with it. */
  readonly source?: Source | undefined;
  /** What the proxy holds in all; absent: no bound but those of the connection. */
  readonly buffers?: Buffers | undefined;
  /** A limit acted: for a metric. Must not throw. */
  readonly onLimit?: ((limit: Http2Limit) => void) | undefined;
}

/** For a connection on which the streams of many callers meet. */
export const SHARED_LIMITS: Pick<Http2Limits, "heldBytes"> = {
  heldBytes: Number.POSITIVE_INFINITY,
};

/**
 * Between sidecars: also, a head that one of them took must not be too large for the next by what the mesh has added to it. As HTTP/2
 * counts, every field has 32 bytes more, and what is a line before the fields in HTTP/1 is fields too.
 */
export const LINK_LIMITS: Pick<
  Http2Limits,
  "heldBytes" | "headerListBytes" | "headerFields"
> = { ...SHARED_LIMITS, headerListBytes: 81_920, headerFields: 200 };

export function resolveLimits(limits: Partial<Http2Limits> = {}): Http2Limits {
  return { ...DEFAULT_LIMITS, ...limits };
}
