/** Limits of a sidecar as a whole: connections, requests, memory and time. */
import { LATEST_DOUBT, SOONEST_DOUBT } from "../../../policy/balance/stall.ts";
import { CLOSE_GRACE } from "../../../proxy/exchange/web-socket.ts";
import { LONG_LIVED } from "../../../proxy/exchange/long-lived.ts";
import { ASK_TIMEOUT } from "../../../proxy/upstream/cluster/question.ts";
import {
  RESOLVE_WITHIN,
  MOST_OPEN,
  MOST_QUESTIONS,
  MOST_WAITING,
  NEW_QUESTIONS,
} from "../../../agent/interest/questions.ts";
import { MAX_CONFIG_BYTES } from "../../../agent/config.ts";
import { LONGEST_MESSAGE } from "../../../agent/follow.ts";
import { BARE_FRAMES } from "../../../agent/connections/paced-connection.ts";
import { MOST_UNASKED, MOST_UNREAD } from "../../../agent/stream.ts";
import { LONGEST_PACKED, MOST_UNPACKED } from "../../../push/packing.ts";
import { WORK_BURST, WORK_SHARE } from "../../../core/paced-work.ts";
import { LEAST_CHARACTERS, MOST_STEPS } from "../../../core/text/expression.ts";
import { PAGE_CONNECTIONS } from "../../../sidecar/admin/server.ts";
import { BEGIN } from "../../../proxy/downstream/eviction.ts";
import { MOST_DELAYED } from "../../../proxy/filters/faults.ts";
import { MOST_UNSEEN } from "../../../wire/tls/ciphertext.ts";
import {
  CONNECTION,
  DEFAULT_LIMITS as SIDECAR,
  EXCHANGE,
  IDENTITY_SHARE,
  MESSAGES,
} from "../../../proxy/downstream/limits.ts";
import { LEVELS } from "../../../proxy/downstream/memory-pressure.ts";
import { MOST_BYTES, MOST_COPIES } from "../../../proxy/filters/mirror.ts";
import { REFUSAL_LINES } from "../../../proxy/downstream/refusal-log.ts";
import { REPLAY_LIMIT, REPLAY_TOTAL } from "../../../proxy/exchange/replay.ts";
import {
  FAILED_HANDSHAKES,
  OFFENCES,
  TURNED_AWAY,
} from "../../../proxy/downstream/sources.ts";
import {
  ANSWER_WITHIN,
  LATE_WITHIN,
  ASKED_AFTER,
} from "../../../proxy/upstream/pool/link-watch.ts";
import { MAX_SERIES } from "../../../sidecar/workers/worker.ts";
import { MESH_DEFAULTS } from "../../../resources/mesh/schema.ts";
import { SNIFF_TIMEOUT } from "../../../wire/sniff.ts";
import {
  HANDSHAKE_TIMEOUT,
  HANDSHAKES_FROM_SOURCE,
  MAX_HANDSHAKES,
} from "../../../wire/tls/tls.ts";
import { UNACKNOWLEDGED } from "../../../wire/tls/dead-peer.ts";
import { DEFAULT_LIMITS as HTTP1 } from "../../../wire/http1/limits.ts";
import { bytes, count, perSecond, time } from "../markdown.ts";
import { acted, reasons, refused, type Limit } from "./limit.ts";

const budget = (of: {
  readonly burst: number;
  readonly rate: number;
}): string => `${count(of.burst)} at once, ${perSecond(of.rate)}`;
const share = (level: number): string =>
  `${Math.round((LEVELS[level]?.enter ?? 0) * 100)} %`;
const turnedAway = `its new connections are closed for ${time(TURNED_AWAY.first)}, up to ${time(TURNED_AWAY.most)} if it goes on`;

export const CONNECTION_LIMITS: readonly Limit[] = [
  {
    name: "open connections of callers",
    default: `${count(SIDECAR.connections)}, half of the file descriptors, or one for each ${bytes(CONNECTION)} of memory`,
    fields: ["connections"],
    setBy: "`--max-connections`",
    beyond: "a new connection is closed",
    seen: [refused("too many connections"), "wherry_connections"],
  },
  {
    name: "of these, on one listener",
    default: count(SIDECAR.connectionsPerListener),
    fields: ["connectionsPerListener"],
    setBy: "three quarters of all connections",
    beyond: "a new connection is closed",
    seen: [refused("too many connections on the listener")],
  },
  {
    name: "of these, from one address",
    default: count(SIDECAR.connectionsPerAddress),
    fields: ["connectionsPerAddress"],
    setBy: "`--max-connections-per-address`",
    beyond:
      "a new connection is closed, on the link before its handshake; loopback is exempt; an IPv6 /64 counts as one address",
    seen: [refused("too many connections from one address")],
  },
  {
    name: "of these, of one identity",
    default: count(SIDECAR.connectionsPerIdentity),
    fields: ["connectionsPerIdentity"],
    setBy: `${IDENTITY_SHARE} times those of an address`,
    beyond: "a new connection is closed",
    seen: [refused("too many connections of one identity")],
  },
  {
    name: "open HTTP/2 streams from one address",
    default: count(SIDECAR.streamsPerAddress),
    fields: ["streamsPerAddress"],
    setBy: "the connections of an address, or a quarter of the requests",
    beyond: `REFUSED_STREAM, which counts as a refused request; one identity may have ${IDENTITY_SHARE} times as many; loopback is exempt`,
    reasons: reasons("OVERLOADED"),
    seen: [acted("streams")],
  },
  {
    name: "TLS handshakes in progress",
    default: count(MAX_HANDSHAKES),
    beyond:
      "the oldest is closed once it is 1 s old; until then, the new one is closed",
    seen: [refused("too many handshakes")],
  },
  {
    name: "of these, from one address",
    default: count(HANDSHAKES_FROM_SOURCE),
    beyond:
      "the oldest of that address is closed once it is 1 s old; until then, the new one is closed",
    seen: [refused("too many handshakes")],
  },
  {
    name: "failed TLS handshakes of one address",
    default: budget(FAILED_HANDSHAKES),
    beyond: turnedAway,
    seen: [refused("source turned away")],
  },
  {
    name: "connections that were ended for what a source sent",
    default: budget(OFFENCES),
    beyond: `${turnedAway}; a source is an identity, which may have ${IDENTITY_SHARE} times as many, or else an address`,
    seen: [refused("source turned away")],
  },
  {
    name: "connections to the sidecar's own pages",
    default: count(PAGE_CONNECTIONS),
    beyond: "the oldest of the source that has most is closed",
  },
  {
    name: "requests in flight",
    default: `${count(SIDECAR.requests)}, or one for each ${bytes(EXCHANGE)} of memory`,
    fields: ["requests"],
    setBy: "memory",
    beyond: "503",
    reasons: reasons("OVERLOADED"),
    seen: ["wherry_requests_total", "wherry_active_requests"],
  },
  {
    name: "of these, WebSockets, tunnels, event streams and gRPC calls without a deadline of callers outside the mesh",
    default: `${LONG_LIVED.inAll * 100} % of the requests in flight, ${LONG_LIVED.perAddress * 100} % from one address`,
    setBy: "memory",
    beyond: "503; a tunnel is closed",
    reasons: reasons("OVERLOADED"),
    seen: ["wherry_requests_total"],
  },
];

export const MEMORY_LIMITS: readonly Limit[] = [
  {
    name: "memory, level 1",
    default: `${share(1)} of what the container may use`,
    fields: ["memoryBytes", "shortTimeout"],
    setBy: "`--max-memory`",
    beyond: `connections are not kept alive (Connection: close, GOAWAY); garbage is collected; an exchange that holds bytes and stands still for ${time(SIDECAR.shortTimeout)} is broken off`,
    reasons: reasons("OVERLOADED"),
    seen: ["wherry_overload_level", "wherry_memory_pressure"],
  },
  {
    name: "memory, level 2",
    default: share(2),
    beyond: "new connections are closed too",
    seen: ["wherry_overload_level", refused("overloaded")],
  },
  {
    name: "memory, level 3",
    default: share(3),
    beyond: "every request gets 503",
    reasons: reasons("OVERLOADED"),
    seen: ["wherry_overload_level"],
  },
  {
    name: "bytes of messages in memory",
    default: `${bytes(SIDECAR.bufferedBytes)}, or 1/${MESSAGES} of memory`,
    fields: ["bufferedBytes"],
    setBy: "memory",
    beyond:
      "from half of them on, exchanges that hold bytes are read no further, and each queue may hold less; at all of them, 503 and memory level 1",
    reasons: reasons("OVERLOADED"),
    seen: ["wherry_buffered_bytes"],
  },
  {
    name: "exchanges that stand still",
    default: `from ${BEGIN.bytes * 100} % of these bytes on, or ${BEGIN.requests * 100} % of the requests`,
    beyond:
      "those that have stood still for longest, 1 s at least, are broken off: whole responses that are not read, and half-read heads",
    reasons: reasons("OVERLOADED"),
    seen: ["wherry_requests_total", acted("write_time"), acted("header_time")],
  },
  {
    name: "request bodies kept for a retry",
    default: `${bytes(REPLAY_LIMIT)} each, ${bytes(REPLAY_TOTAL)} in all`,
    beyond: "the request is not retried",
    seen: ["wherry_retries_refused_total"],
  },
  {
    name: "copies of mirrored requests",
    default: `${count(MOST_COPIES)}, with ${bytes(MOST_BYTES)} of bodies`,
    beyond: "no copy is made",
    seen: ["wherry_mirrors_dropped_total"],
  },
  {
    name: "requests that an injected fault delays",
    default: count(MOST_DELAYED),
    beyond: "further requests are not delayed",
  },
  {
    name: "size of the configuration",
    default: bytes(MAX_CONFIG_BYTES),
    setBy: "`--max-config-bytes`",
    beyond: "it is refused, and the one in force stays",
    seen: ["wherry_config_refused"],
  },
  {
    name: "messages of the control plane",
    default: `${bytes(LONGEST_MESSAGE)} each; ${count(MOST_UNASKED)} before the one before is acknowledged, of ${bytes(MOST_UNREAD)} together`,
    beyond:
      "the stream ends, the config in force stays, and the sidecar comes back after 1 to 30 s",
    seen: ["wherry_config_refused"],
  },
  {
    name: "frames of the control plane that carry nothing of a message",
    default: budget(BARE_FRAMES),
    beyond:
      "the connection ends, the config in force stays, and the sidecar comes back after 1 to 30 s",
  },
  {
    name: "what TLS keeps to itself of the control plane's bytes, such as tickets and new keys",
    default: bytes(MOST_UNSEEN),
    beyond:
      "the connection ends, the config in force stays, and the sidecar comes back after 1 to 30 s",
  },
  {
    name: "packed resources of the control plane",
    default: `${bytes(LONGEST_PACKED)} unpacked each, ${bytes(MOST_UNPACKED)} of a message`,
    beyond:
      "the stream ends, the config in force stays, and the sidecar comes back after 1 to 30 s",
    seen: ["wherry_config_refused"],
  },
  {
    name: "CPU time that reading config takes from calls",
    default: `${WORK_SHARE * 100} % of a core, after a burst of ${time(WORK_BURST)}`,
    beyond: "the control plane is read more slowly",
  },
  {
    name: "questions to the control plane about what is not held",
    default: `${count(MOST_OPEN)} open, ${count(NEW_QUESTIONS.rate)} new ones a second, ${count(NEW_QUESTIONS.burst)} at once`,
    beyond: "503; what is held is called as ever",
    reasons: reasons("NO_CONFIG"),
    seen: ['wherry_config_wait_seconds{result="busy"}'],
  },
  {
    name: "requests that wait for these questions",
    default: count(MOST_WAITING),
    beyond: "503",
    reasons: reasons("NO_CONFIG"),
    seen: ['wherry_config_wait_seconds{result="busy"}'],
  },
  {
    name: "results of questions that are kept",
    default: count(MOST_QUESTIONS),
    beyond: "the one that was of no use for longest is asked anew",
  },
  {
    name: "text that a regular expression of a route is matched against",
    default: `${count(MOST_STEPS)} characters, divided by the instructions of the expression; ${count(LEAST_CHARACTERS)} at least`,
    beyond:
      "a longer text does not match; most expressions have 10 to 60 instructions, `a{1,500}` has 500",
  },
  {
    name: "series of metrics",
    default: count(MAX_SERIES),
    beyond: "further label values are counted together under `_other`",
  },
  {
    name: "log lines of refusals, for each reason",
    default: perSecond(REFUSAL_LINES),
    beyond: "the number of lines left out is logged",
  },
];

export const TIME_LIMITS: readonly Limit[] = [
  {
    name: "TLS handshake",
    default: time(HANDSHAKE_TIMEOUT),
    beyond: "the connection is closed",
    seen: [refused("handshake time-out")],
  },
  {
    name: "first bytes of a connection",
    default: time(SNIFF_TIMEOUT),
    beyond: "the protocol is the one that they begin, or else HTTP",
  },
  {
    name: "result of a question to the control plane",
    default: time(RESOLVE_WITHIN),
    beyond: "503, and for later calls at once, until the result is there",
    reasons: reasons("NO_CONFIG"),
    seen: ['wherry_config_wait_seconds{result="late"}'],
  },
  {
    name: "head of a request",
    default: time(HTTP1.headTimeout),
    fields: ["http1.headTimeout", "http2.headerTimeout"],
    beyond: "408; HTTP/2: GOAWAY",
    reasons: reasons("REQUEST_STALLED"),
    seen: ["wherry_refusals_total", acted("header_time")],
  },
  {
    name: "body of a request",
    default: `${SIDECAR.bodyRate} bytes a second, after ${time(SIDECAR.sendGrace)} of grace`,
    fields: ["bodyRate", "sendGrace"],
    setBy: "`--min-body-rate`",
    beyond:
      "408; exempt are loopback, gRPC, tunnels, requests before 100 (Continue) or after the response began, and time in which the sidecar itself does not read",
    reasons: reasons("REQUEST_STALLED"),
    seen: ["wherry_requests_total"],
  },
  {
    name: "response that a caller without an identity does not read",
    default: time(SIDECAR.takeTimeout),
    fields: ["takeTimeout"],
    beyond:
      "the exchange is broken off; gRPC and tunnels are exempt; callers in the mesh have the next limit",
    reasons: reasons("RESPONSE_STALLED"),
    seen: ["wherry_requests_total"],
  },
  {
    name: "exchange in which nothing moves",
    default: time(MESH_DEFAULTS.defaults.timeouts.streamIdle),
    setBy: "`spec.defaults.timeouts.streamIdle` of the Mesh",
    beyond:
      "504, 408, or broken off; event streams are exempt; tunnels and WebSockets have `tcp.idleTimeout` of the TrafficPolicy",
    reasons: reasons("IDLE_TIMEOUT", "REQUEST_STALLED"),
    seen: ["wherry_requests_total"],
  },
  {
    name: "closing of a WebSocket: frames in flight end, and both sides go",
    default: time(CLOSE_GRACE),
    beyond: "the connection is broken off",
    reasons: reasons("DENIED", "NOT_ALLOWED", "DRAINING", "IDLE_TIMEOUT"),
    seen: ["wherry_requests_total"],
  },
  {
    name: "a WebSocket that one side has left, by Close or FIN",
    default: `${time(CLOSE_GRACE)} for the application to follow, ${time(SIDECAR.takeTimeout)} for the caller`,
    beyond: "the connection is broken off",
    reasons: reasons("CLIENT_CLOSED", "RESPONSE_STALLED"),
    seen: ["wherry_requests_total"],
  },
  {
    name: "silence of a link with requests in flight",
    default: `4 times what is usual, ${time(ASKED_AFTER.least)} to ${time(ASKED_AFTER.most)}`,
    beyond: `a PING; where nothing comes within ${time(ANSWER_WITHIN)}, its endpoint is ejected, the link ends, and requests that may be repeated go elsewhere; a link whose other kernel still acknowledges ends ${time(LATE_WITHIN)} later (Linux), or ${time(ANSWER_WITHIN)} after its process took another connection`,
    reasons: reasons("UPSTREAM_RESET"),
    seen: ['wherry_ejections_total{reason="silent-link"}'],
  },
  {
    name: "requests in flight to an endpoint that none overtook",
    default: `3 times the p99 of its siblings, and ${time(SOONEST_DOUBT)} to ${time(LATEST_DOUBT)} by their number`,
    beyond: `no new request goes there; where a request of our own has no response within ${time(ASK_TIMEOUT)}, the endpoint is ejected, and requests that may be repeated go elsewhere`,
    seen: ['wherry_ejections_total{reason="stalled"}'],
  },
  {
    name: "the peer of a link acknowledges nothing",
    default: time(UNACKNOWLEDGED),
    beyond: "the kernel ends the connection (Linux)",
  },
];
