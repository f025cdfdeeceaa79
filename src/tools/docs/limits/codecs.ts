/** Limits of one HTTP/1.1 or HTTP/2 connection. */
import { DEFAULT_LIMITS as SIDECAR } from "../../../proxy/downstream/limits.ts";
import {
  DEFAULT_LIMITS as HTTP1,
  LINK_LIMITS as HTTP1_ON_LINK,
} from "../../../wire/http1/limits.ts";
import {
  LINK_LIMITS as HTTP2_ON_LINK,
  resolveLimits,
} from "../../../wire/http2/limits.ts";
import { bytes, count, perSecond, time } from "../markdown.ts";
import { acted, reasons, type Limit } from "./limit.ts";

const HTTP2 = resolveLimits();
const REQUESTS = "wherry_requests_total";
const REFUSALS = "wherry_refusals_total";

export const HTTP1_LIMITS: readonly Limit[] = [
  {
    name: "head",
    default: `${bytes(HTTP1.headBytes)}, ${HTTP1.headerCount} fields; requests between sidecars ${bytes(HTTP1_ON_LINK.headBytes)}, ${HTTP1_ON_LINK.headerCount} fields`,
    fields: ["http1.headBytes", "http1.headerCount"],
    beyond: "431; from upstream 502",
    reasons: reasons("HEADERS_TOO_LARGE"),
    seen: [REFUSALS],
  },
  {
    name: "request line",
    default: bytes(HTTP1.requestLineBytes),
    fields: ["http1.requestLineBytes"],
    beyond: "414",
    reasons: reasons("HEADERS_TOO_LARGE"),
    seen: [REFUSALS],
  },
  {
    name: "extensions of a chunk",
    default: bytes(HTTP1.chunkExtensionBytes),
    fields: ["http1.chunkExtensionBytes"],
    beyond: "400",
    reasons: reasons("BAD_REQUEST"),
    seen: [REFUSALS],
  },
  {
    name: "chunks of less than 64 bytes",
    default: perSecond(HTTP1.tinyChunksPerSecond),
    fields: ["http1.tinyChunksPerSecond"],
    beyond:
      "503, and the connection is closed; all connections of a source count, the first chunk of a body does not",
    reasons: reasons("OVERLOADED"),
    seen: [acted("tiny_chunks")],
  },
  {
    name: "trailers",
    default: bytes(HTTP1.trailerBytes),
    fields: ["http1.trailerBytes"],
    beyond: "431",
    reasons: reasons("HEADERS_TOO_LARGE"),
    seen: [REFUSALS],
  },
  {
    name: "requests sent ahead (pipelining)",
    default: bytes(HTTP1.pipelinedBytes),
    fields: ["http1.pipelinedBytes"],
    beyond: "the connection is read no further",
  },
  {
    name: "1xx responses before the final one",
    default: String(HTTP1.informationalResponses),
    fields: ["http1.informationalResponses", "http2.informationalResponses"],
    beyond: "502; HTTP/2 has the same limit",
    reasons: reasons("UPSTREAM_PROTOCOL"),
    seen: [REQUESTS],
  },
  {
    name: "idle connection",
    default: `${time(HTTP1.idleTimeout)}, of the own application ${time(SIDECAR.idleLocal)}`,
    fields: ["http1.idleTimeout", "idleLocal"],
    beyond: "closed",
    seen: [acted("idle")],
  },
  {
    name: "rest of a body after its response",
    default: `${time(HTTP1.headTimeout)}, ${bytes(HTTP1.drainBytes)}`,
    fields: ["http1.drainBytes"],
    beyond: "closed",
    seen: [acted("drain_time")],
  },
  {
    name: "wait for the peer's FIN after the proxy's",
    default: time(HTTP1.lingerTimeout),
    fields: ["http1.lingerTimeout"],
    beyond: "the socket is destroyed",
  },
];

const OVERLOADED = reasons("OVERLOADED");

const HTTP2_SIZES: readonly Limit[] = [
  {
    name: "streams of a connection",
    default: count(HTTP2.concurrentStreams),
    fields: ["http2.concurrentStreams"],
    beyond: "REFUSED_STREAM, which counts as a refused request",
    reasons: OVERLOADED,
    seen: [acted("streams")],
  },
  {
    name: "field block",
    default: `${bytes(HTTP2.headerBlockBytes)}, ${HTTP2.continuations} CONTINUATION`,
    fields: ["http2.headerBlockBytes", "http2.continuations"],
    beyond: "GOAWAY",
    reasons: OVERLOADED,
    seen: [acted("field_block")],
  },
  {
    name: "header list",
    default: `${bytes(HTTP2.headerListBytes)}, ${HTTP2.headerFields} fields; between sidecars ${bytes(HTTP2_ON_LINK.headerListBytes)}, ${HTTP2_ON_LINK.headerFields} fields`,
    fields: ["http2.headerListBytes", "http2.headerFields"],
    beyond: "431; from upstream 502",
    reasons: reasons("HEADERS_TOO_LARGE"),
    seen: [acted("header_list")],
  },
  {
    name: "table of header compression",
    default: bytes(HTTP2.headerTableBytes),
    fields: ["http2.headerTableBytes"],
    beyond: "the peer's encoder may use no more",
  },
  {
    name: "frame",
    default: bytes(HTTP2.frameBytes),
    fields: ["http2.frameBytes"],
    beyond: "GOAWAY",
    reasons: reasons("BAD_REQUEST"),
    seen: [REFUSALS],
  },
  {
    name: "window of a stream",
    default: `${bytes(HTTP2.streamWindow)}, up to ${bytes(HTTP2.streamWindowMax)} for a fast one, and in proportion where the connection's has grown`,
    fields: ["http2.streamWindow", "http2.streamWindowMax"],
    beyond: "the peer waits; if it does not, the stream is reset",
    reasons: reasons("BAD_REQUEST"),
    seen: [REFUSALS],
  },
  {
    name: "window of a connection",
    default: `${bytes(HTTP2.connectionWindow)}, up to ${bytes(HTTP2.connectionWindowMax)} for a peer that is far away; those of its streams may grow by ${bytes(HTTP2.windowGrowth)} together`,
    fields: [
      "http2.connectionWindow",
      "http2.connectionWindowMax",
      "http2.windowGrowth",
    ],
    beyond: "the peer waits; if it does not, GOAWAY",
    reasons: reasons("BAD_REQUEST"),
    seen: [REFUSALS],
  },
  {
    name: "bytes held for paused streams",
    default: bytes(HTTP2.heldBytes),
    fields: ["http2.heldBytes"],
    beyond:
      "the connection gets no window until less is held; one that many callers share, only once half of the bytes of messages are in use",
    seen: [acted("held")],
  },
  {
    name: "response that waits on a stream",
    default: bytes(HTTP2.streamQueueBytes),
    fields: ["http2.streamQueueBytes"],
    beyond: "the upstream is read no further; less where much is held",
    seen: ["wherry_buffered_bytes"],
  },
  {
    name: "frames that wait on a connection",
    default: `${bytes(HTTP2.outputBytes)} of DATA, ${bytes(HTTP2.outputBytesMax)} of all`,
    fields: ["http2.outputBytes", "http2.outputBytesMax"],
    beyond: "no request is read; to upstreams, none is sent",
    seen: [acted("output")],
  },
];

const HTTP2_RATES: readonly Limit[] = [
  {
    name: "resets",
    default: perSecond(HTTP2.resetsPerSecond),
    fields: ["http2.resetsPerSecond"],
    beyond: "GOAWAY; streams without a response count (rapid reset)",
    reasons: OVERLOADED,
    seen: [acted("resets")],
  },
  {
    name: "refused requests",
    default: perSecond(HTTP2.malformedPerSecond),
    fields: ["http2.malformedPerSecond"],
    beyond: "GOAWAY; malformed, too large, or too many streams",
    reasons: OVERLOADED,
    seen: [acted("malformed")],
  },
  {
    name: "SETTINGS",
    default: perSecond(HTTP2.settingsPerSecond),
    fields: ["http2.settingsPerSecond"],
    beyond: "GOAWAY",
    reasons: OVERLOADED,
    seen: [acted("settings")],
  },
  {
    name: "PING",
    default: perSecond(HTTP2.pingsPerSecond),
    fields: ["http2.pingsPerSecond"],
    beyond: "GOAWAY",
    reasons: OVERLOADED,
    seen: [acted("pings")],
  },
  {
    name: "empty DATA",
    default: perSecond(HTTP2.emptyFramesPerSecond),
    fields: ["http2.emptyFramesPerSecond"],
    beyond: "GOAWAY",
    reasons: OVERLOADED,
    seen: [acted("empty_data")],
  },
  {
    name: "DATA of less than 64 bytes",
    default: perSecond(HTTP2.tinyFramesPerSecond),
    fields: ["http2.tinyFramesPerSecond"],
    beyond: "GOAWAY",
    reasons: OVERLOADED,
    seen: [acted("tiny_data")],
  },
  {
    name: "WINDOW_UPDATE of less than 256 bytes",
    default: perSecond(HTTP2.tinyUpdatesPerSecond),
    fields: ["http2.tinyUpdatesPerSecond"],
    beyond: "GOAWAY",
    reasons: OVERLOADED,
    seen: [acted("tiny_window_updates")],
  },
  {
    name: "frames without effect",
    default: perSecond(HTTP2.strayFramesPerSecond),
    fields: ["http2.strayFramesPerSecond"],
    beyond: "GOAWAY; PRIORITY, unknown frames, and frames of closed streams",
    reasons: OVERLOADED,
    seen: [acted("stray_frames")],
  },
];

const HTTP2_TIMES: readonly Limit[] = [
  {
    name: "idle connection",
    default: `${time(HTTP2.idleTimeout)}, on the link ${time(SIDECAR.idleLink)}`,
    fields: ["http2.idleTimeout", "idleLink"],
    beyond: "GOAWAY, then closed",
    seen: [acted("idle")],
  },
  {
    name: "acknowledgement of SETTINGS",
    default: time(HTTP2.settingsTimeout),
    fields: ["http2.settingsTimeout"],
    beyond: "GOAWAY",
    reasons: reasons("REQUEST_STALLED"),
    seen: [acted("settings_ack")],
  },
  {
    name: "frames that the peer does not read",
    default: time(HTTP2.writeTimeout),
    fields: ["http2.writeTimeout"],
    beyond: "closed; a stream that gets no window is reset",
    reasons: reasons("RESPONSE_STALLED"),
    seen: [acted("write_time")],
  },
  {
    name: "wait for the peer after GOAWAY",
    default: time(HTTP2.closeTimeout),
    fields: ["http2.closeTimeout"],
    beyond: "the socket is destroyed",
  },
];

export const HTTP2_LIMITS: readonly Limit[] = [
  ...HTTP2_SIZES,
  ...HTTP2_RATES,
  ...HTTP2_TIMES,
];
