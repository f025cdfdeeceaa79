/** What one HTTP/2 connection may cost: every bound on memory and on work that a peer can cause, with its default. */
import type { Clock } from "../../core/clock.ts";

export interface Http2Limits {
  /** Octets of a header list: names, values and 32 for each field (RFC 9113 6.5.2). Over it: 431, or a reset. */
  readonly headerListBytes: number;
  /** Fields of a header list. */
  readonly headerFields: number;
  /** Octets of an encoded field block over all its frames. Over it the connection ends. */
  readonly headerBlockBytes: number;
  /** CONTINUATION frames of one field block. Over it the connection ends (CVE-2024-27316). */
  readonly continuations: number;
  /** Octets of the dynamic table that we keep for the peer's encoder, and at most use in our own. */
  readonly headerTableBytes: number;
  /** Streams that a client may have open at once. */
  readonly concurrentStreams: number;
  /** Octets of the largest frame that we take. */
  readonly frameBytes: number;
  /** Octets of window that a stream starts with. */
  readonly streamWindow: number;
  /** Octets that the window of a fast stream may grow to. */
  readonly streamWindowMax: number;
  /** Octets by which the windows of all streams of a connection may have grown together. */
  readonly windowGrowth: number;
  /** Octets of window of the connection as a whole. */
  readonly connectionWindow: number;
  /** Octets that paused streams may have taken in together before the connection's window is withheld as well. */
  readonly heldBytes: number;
  /** Octets queued on a stream at which `write` says false. */
  readonly streamQueueBytes: number;
  /** Octets of frames waiting for the socket at which DATA waits in its stream instead. */
  readonly outputBytes: number;
  /** Octets of frames waiting for the socket at which a server reads no more and a client takes no request. */
  readonly outputBytesMax: number;
  /** Resets a second, by the peer or provoked by it, of streams that were not yet answered (CVE-2023-44487, CVE-2025-8671). */
  readonly resetsPerSecond: number;
  readonly settingsPerSecond: number;
  readonly pingsPerSecond: number;
  /** DATA frames without content or END_STREAM, a second. */
  readonly emptyFramesPerSecond: number;
  /** WINDOW_UPDATE frames of less than 256 octets, a second. */
  readonly tinyUpdatesPerSecond: number;
  /** PRIORITY, unknown frames, and frames for streams that are over, a second. */
  readonly strayFramesPerSecond: number;
  /** Milliseconds until the peer must have acknowledged our SETTINGS. */
  readonly settingsTimeout: number;
  /** Milliseconds that a closing connection waits: for a PING's answer while draining, and for the peer's FIN. */
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
  streamWindowMax: 1_048_576,
  windowGrowth: 4_194_304,
  connectionWindow: 1_048_576,
  heldBytes: 4_194_304,
  streamQueueBytes: 65_536,
  outputBytes: 65_536,
  outputBytesMax: 1_048_576,
  resetsPerSecond: 2000,
  settingsPerSecond: 1000,
  pingsPerSecond: 10_000,
  emptyFramesPerSecond: 10_000,
  tinyUpdatesPerSecond: 50_000,
  strayFramesPerSecond: 50_000,
  settingsTimeout: 10_000,
  closeTimeout: 1000,
};

export interface Http2Options {
  readonly clock: Clock;
  readonly limits?: Partial<Http2Limits>;
}

export function resolveLimits(limits: Partial<Http2Limits> = {}): Http2Limits {
  return { ...DEFAULT_LIMITS, ...limits };
}
