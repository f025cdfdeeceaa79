/** Limits of the control plane: of its API, and of the port that sidecars call. */
import {
  BODY_LIMIT,
  DEEPEST,
  LIST_LIMIT,
  MOST_BODIES,
  MOST_BODIES_OF_TOKEN,
  MOST_ITEMS,
  MOST_LIST_VALUES,
  MOST_LISTS,
  MOST_LISTS_OF_TOKEN,
  MOST_VALUES,
  YAML_LIMIT,
} from "../../../control-plane/api/bodies.ts";
import { MOST_TERMS } from "../../../control-plane/api/label-selector.ts";
import { AUDIT_LIMITS } from "../../../control-plane/audit/audit.ts";
import { MOST_TOLD } from "../../../control-plane/api/apply/refusals.ts";
import type { ApiReason } from "../../../control-plane/api/errors.ts";
import {
  LATE,
  LONGEST_WAIT,
  MOST_LONG_READS,
  MOST_WAITING,
} from "../../../control-plane/api/reads.ts";
import {
  API_TIMEOUTS,
  MOST_CONNECTIONS as API_CONNECTIONS,
  MOST_OF_TOKEN,
  STRANGER_LIMITS as API_STRANGERS,
} from "../../../control-plane/api/server.ts";
import {
  MOST_UNREAD,
  TAKEN_WITHIN,
} from "../../../control-plane/api/unread.ts";
import { MOST_CAUSES } from "../../../control-plane/api/validation.ts";
import {
  PER_SOURCE,
  TOGETHER,
} from "../../../control-plane/enrolment/failure-limit.ts";
import { SIGNING } from "../../../control-plane/enrolment/signing-queue.ts";
import { MOST_GIVEN } from "../../../control-plane/enrolment/token-spending.ts";
import {
  HANDSHAKES_A_TURN,
  MOST_ARRIVING,
} from "../../../control-plane/push/arrivals.ts";
import {
  IDLE,
  PEER_LIMITS,
  STRANGER_LIMITS as PUSH_STRANGERS,
  WAITING_LIMITS,
} from "../../../control-plane/push/connection.ts";
import {
  HANDSHAKE_TIMEOUT,
  MOST_CONNECTIONS,
  MOST_OF_INSTANCE,
} from "../../../control-plane/push/listener.ts";
import { REQUESTS } from "../../../control-plane/push/pace.ts";
import { MOST_SUBSCRIPTIONS } from "../../../push/interest.ts";
import { NEW_NAME_WAITS } from "../../../control-plane/push/asked/asks.ts";
import {
  AT_ONCE,
  LONGEST_DEBT,
  SHARE,
} from "../../../control-plane/push/asked/debts.ts";
import { NEW_NAMES } from "../../../control-plane/push/asked/subscriptions.ts";
import { LONGEST_UNCONFIRMED } from "../../../control-plane/registry/expiry.ts";
import {
  MOST_REPORTERS,
  REPORT_COUNTS,
} from "../../../control-plane/registry/reports.ts";
import { TTL_BOUNDS } from "../../../control-plane/registry/registry.ts";
import { HISTORY_LIMITS } from "../../../control-plane/store/store.ts";
import type { StrangerLimits } from "../../../control-plane/strangers.ts";
import { MOST_REPORTED } from "../../../push/names.ts";
import { MOST_ALIASES } from "../../../resources/yaml-structure.ts";
import { bytes, count, perSecond, time } from "../markdown.ts";
import type { Limit } from "./limit.ts";

const LOG = "control plane's log";

/** Typed, so that a reason which is gone does not compile. */
function reasons(...of: readonly ApiReason[]): readonly string[] {
  return of;
}

function strangers(limits: StrangerLimits, proof: string): readonly Limit[] {
  const makesRoom =
    "the oldest is closed once it is 1 s old; until then, the new one is closed";
  const sharesOut =
    "the oldest is closed once it is 1 s old; until then, the last of the address that has most, where the new one's has fewer";
  return [
    {
      name: `connections without ${proof}, from one address`,
      default: `${count(limits.perSource)} (IPv6: a /64)`,
      beyond: makesRoom,
      seen: [LOG],
    },
    {
      name: `connections without ${proof}, in all`,
      default: count(limits.together),
      beyond: sharesOut,
      seen: [LOG],
    },
    {
      name: `time and bytes without ${proof}`,
      default: `${time(limits.time)}, ${bytes(limits.bytes)}`,
      beyond: "the connection is closed",
      seen: [LOG],
    },
  ];
}

export const API_LIMITS: readonly Limit[] = [
  ...strangers(API_STRANGERS, "a valid token"),
  {
    name: "connections of one token",
    default: count(MOST_OF_TOKEN),
    beyond: "its oldest is closed",
    seen: [LOG],
  },
  {
    name: "connections in all",
    default: count(API_CONNECTIONS),
    beyond: "a new connection is closed",
  },
  {
    name: "head of a request",
    default: time(API_TIMEOUTS.headersTimeout),
    beyond: "408",
    reasons: reasons("RequestTimeout"),
  },
  {
    name: "whole request",
    default: time(API_TIMEOUTS.requestTimeout),
    beyond: "408",
    reasons: reasons("RequestTimeout"),
  },
  {
    name: "idle connection",
    default: time(API_TIMEOUTS.keepAliveTimeout),
    beyond: "closed",
  },
  {
    name: "body, and a resource as JSON",
    default: bytes(BODY_LIMIT),
    beyond: "413; a resource that a patch makes larger, 422",
    reasons: reasons("RequestEntityTooLarge", "Invalid"),
  },
  {
    name: "body in YAML",
    default: `${bytes(YAML_LIMIT)}, ${count(MOST_ALIASES)} aliases`,
    beyond: "413; too many aliases, 400",
    reasons: reasons("RequestEntityTooLarge", "BadRequest"),
  },
  {
    name: "list of resources (`POST /apply`, `POST /delete`)",
    default: `${count(MOST_ITEMS)} resources, ${bytes(LIST_LIMIT)}, ${count(MOST_LIST_VALUES)} values`,
    beyond:
      "422, 413 or 400; `wherry apply` and `wherry delete -f` send several lists",
    reasons: reasons("Invalid", "RequestEntityTooLarge", "BadRequest"),
  },
  {
    name: "lists that are judged at one time",
    default: `${count(MOST_LISTS)}, ${count(MOST_LISTS_OF_TOKEN)} of a token`,
    beyond: "further lists wait in their order",
  },
  {
    name: "reads of many resources, of the status and of a sidecar's config at one time",
    default: `${count(MOST_LONG_READS)}; ${count(MOST_WAITING.together)} wait, ${count(MOST_WAITING.ofToken)} of a token, ${time(LONGEST_WAIT)} at most`,
    beyond: "429 with Retry-After",
    reasons: reasons("TooManyRequests"),
    seen: ["wherry_control_plane_api_shed_total"],
  },
  {
    name: "lateness of the event loop at three looks in a row",
    default: `${time(LATE.long)} for reads of many resources, ${time(LATE.short)} for other reads`,
    beyond: "429 with Retry-After; writes and sidecars are served",
    reasons: reasons("TooManyRequests"),
    seen: ["wherry_control_plane_api_shed_total"],
  },
  {
    name: "responses that were made and not yet taken by their readers",
    default: `${bytes(MOST_UNREAD.together)}, ${bytes(MOST_UNREAD.ofToken)} of a token; ${time(TAKEN_WITHIN)} for each`,
    beyond: "429 with Retry-After; the response is cut off",
    reasons: reasons("TooManyRequests"),
    seen: ["wherry_control_plane_api_shed_total"],
  },
  {
    name: "causes and warnings of a list",
    default: `${count(MOST_TOLD)} each`,
    beyond: "further ones are counted",
  },
  {
    name: "bodies that are read at one time",
    default: `${count(MOST_BODIES)}, ${count(MOST_BODIES_OF_TOKEN)} of a token`,
    beyond: "503 with Retry-After",
    reasons: reasons("ServiceUnavailable"),
  },
  {
    name: "depth and values of a body",
    default: `${count(DEEPEST)} levels, ${count(MOST_VALUES)} values`,
    beyond: "400",
    reasons: reasons("BadRequest"),
  },
  {
    name: "causes in a Status",
    default: count(MOST_CAUSES),
    beyond: "further causes are counted",
  },
  {
    name: "terms of a label selector, with the values of its sets",
    default: count(MOST_TERMS),
    beyond: "400",
    reasons: reasons("BadRequest"),
  },
  {
    name: "history for watches",
    default: `${count(HISTORY_LIMITS.rows)} changes, ${bytes(HISTORY_LIMITS.bytes)}`,
    beyond: "a watch that begins before it gets 410",
    reasons: reasons("Expired"),
  },
  {
    name: "audit log",
    default: `${count(AUDIT_LIMITS.entries)} entries, ${bytes(AUDIT_LIMITS.bytes)}, ${AUDIT_LIMITS.age / 86_400_000} days`,
    beyond:
      "the oldest entries of the author that takes the most go; older ones than that go in any case",
    reasons: [],
  },
];

export const PUSH_LIMITS: readonly Limit[] = [
  ...strangers(WAITING_LIMITS, "a handshake"),
  ...strangers(PUSH_STRANGERS, "a valid certificate"),
  {
    name: "TLS handshake",
    default: time(HANDSHAKE_TIMEOUT),
    beyond: "the connection is closed",
  },
  {
    name: "TLS handshakes that begin in one turn of the event loop",
    default: count(HANDSHAKES_A_TURN),
    beyond:
      "further connections wait; sources have turns, and of each the first and the last",
  },
  {
    name: "connections between their handshake and their first config",
    default: count(MOST_ARRIVING),
    beyond:
      "further connections wait as above, a second at most for each of these",
  },
  {
    name: "message and streams of a connection without a certificate",
    default: `${bytes(PUSH_STRANGERS.message)}, ${PUSH_STRANGERS.streams} streams`,
    beyond: "the stream ends with RESOURCE_EXHAUSTED, or waits",
  },
  {
    name: "message and streams of a sidecar",
    default: `${bytes(PEER_LIMITS.message)}, ${PEER_LIMITS.streams} streams`,
    beyond: "the stream ends with RESOURCE_EXHAUSTED, or waits",
  },
  {
    name: "names that a sidecar subscribes to",
    default: `${count(MOST_SUBSCRIPTIONS)}; ${count(NEW_NAMES.rate)} new ones a second, ${count(NEW_NAMES.burst)} at once`,
    beyond:
      "the stream ends with RESOURCE_EXHAUSTED; with too many, the sidecar comes back and asks for everything",
    seen: [LOG],
  },
  {
    name: "time for what one sidecar asks",
    default: `${SHARE * 100} % of the control plane's thread, ${time(AT_ONCE)} at once`,
    beyond: `its new names are gathered for ${time(NEW_NAME_WAITS)}; what it gives back, and a new stream, waits for up to ${time(LONGEST_DEBT)}`,
    reasons: [],
  },
  {
    name: "connections in all",
    default: count(MOST_CONNECTIONS),
    beyond: "a new connection is closed",
  },
  {
    name: "connections of one instance",
    default: count(MOST_OF_INSTANCE),
    beyond: "its oldest is closed",
    seen: [LOG],
  },
  {
    name: "idle connection",
    default: time(IDLE),
    beyond: "closed; a stream of configuration is not idle",
  },
  {
    name: "failed enrolments that are reported one by one",
    default: `from one address ${PER_SOURCE.burst} at once, ${perSecond(PER_SOURCE.rate)}; in all ${count(TOGETHER.burst)} at once, ${perSecond(TOGETHER.rate)}`,
    beyond:
      "RESOURCE_EXHAUSTED in place of the reason; a valid token still works",
    seen: [LOG],
  },
  {
    name: "certificates that are signed",
    default: `${SIGNING.atOnce} at a time, ${count(SIGNING.waiting)} that wait, each for ${time(SIGNING.timeout)} at most`,
    beyond:
      "UNAVAILABLE: the sidecar keeps its certificate and tries again; no use of its token is spent",
    seen: [LOG],
  },
  {
    name: "certificates for one use of a token, under the same key and name",
    default: count(MOST_GIVEN),
    beyond: "another use is taken",
  },
  {
    name: "registrations and renewals of an instance at one address (IPv6: a /64)",
    default: `of each ${count(REQUESTS.burst)} at once, ${perSecond(REQUESTS.rate)}`,
    beyond: "RESOURCE_EXHAUSTED: the sidecar tries again",
    seen: ["the sidecar's log"],
  },
  {
    name: "lease of a registered workload",
    default: `${time(TTL_BOUNDS.least)} to ${time(TTL_BOUNDS.most)}`,
    setBy: "`wherry sidecar --ttl`",
    beyond: "registration is refused",
    seen: ["the sidecar's log"],
  },
  {
    name: "time that a workload stays after its lease has run out",
    default: time(LONGEST_UNCONFIRMED),
    beyond: "removed, unless it is one of many or the last of a Service",
    seen: [LOG],
  },
  {
    name: "workloads in a caller's report, reached or not",
    default: count(MOST_REPORTED),
    beyond: "the rest is ignored",
  },
  {
    name: "callers whose reports of a workload are kept",
    default: `${count(MOST_REPORTERS)}, for ${time(REPORT_COUNTS)}`,
    beyond: "callers that reach it take the place of those that do not",
  },
];
