/** The schema of FaultInjection, and the kind. */
import Type, { type TSchema } from "typebox";
import { REQUEST_MATCHES } from "../http-route/schema.ts";
import { defineKind, OWN_GROUP, type KindDefinition } from "../kind.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DURATION,
  field,
  PERCENT,
  WANTED_LABELS,
} from "../schema-parts.ts";
import { TARGET_REFS } from "../traffic-policy/schema.ts";
import { checkFaultInjection } from "./check.ts";
import type { FaultInjectionSpec } from "./spec.ts";

const percentage = field(
  "Percentage of the calls. Each fault draws by itself.",
  Type.Optional(Type.Number(PERCENT)),
  0,
);

const caller = Type.Object(
  {
    namespace: field("Its namespace.", Type.Optional(Type.String(DNS_LABEL))),
    labels: field(
      "Labels that its certificate binds, all of them.",
      Type.Optional(WANTED_LABELS),
    ),
  },
  { ...CLOSED, minProperties: 1 },
);

const abort = Type.Object(
  {
    httpStatus: field(
      "The HTTP status. gRPC callers get the status that it maps to.",
      Type.Optional(Type.Integer({ minimum: 400, maximum: 599 })),
    ),
    grpcStatus: field(
      "The gRPC status. HTTP callers get the status that it maps to. Not with httpStatus.",
      Type.Optional(
        Type.Enum([
          "CANCELLED",
          "UNKNOWN",
          "INVALID_ARGUMENT",
          "DEADLINE_EXCEEDED",
          "NOT_FOUND",
          "ALREADY_EXISTS",
          "PERMISSION_DENIED",
          "RESOURCE_EXHAUSTED",
          "FAILED_PRECONDITION",
          "ABORTED",
          "OUT_OF_RANGE",
          "UNIMPLEMENTED",
          "INTERNAL",
          "UNAVAILABLE",
          "DATA_LOSS",
          "UNAUTHENTICATED",
        ]),
      ),
    ),
    percentage,
  },
  CLOSED,
);

const spec: TSchema = describes<FaultInjectionSpec>()(
  Type.Object(
    {
      targetRefs: field(
        "The Services whose calls are disturbed, or ports of them.",
        TARGET_REFS,
      ),
      from: field(
        "Callers that it is for: any of these. Without it, every caller.",
        Type.Optional(
          Type.Array(caller, {
            minItems: 1,
            maxItems: 64,
            expected:
              "that is ambiguous (any, or none?); leave from out for every caller",
          }),
        ),
      ),
      matches: field(
        "Requests that it is for: any of these. Without it, every request.",
        Type.Optional(REQUEST_MATCHES),
      ),
      delay: field(
        "Requests wait before they are sent.",
        Type.Optional(
          Type.Object(
            {
              fixedDelay: field("How long.", Type.String(DURATION)),
              percentage,
            },
            CLOSED,
          ),
        ),
      ),
      abort: field(
        "Requests get a status and are not sent.",
        Type.Optional(abort),
      ),
      reset: field(
        "Exchanges are broken off without a response.",
        Type.Optional(Type.Object({ percentage }, CLOSED)),
      ),
      bandwidth: field(
        "Bodies of responses come slowly.",
        Type.Optional(
          Type.Object(
            {
              kibibytesPerSecond: field(
                "KiB a second.",
                Type.Integer({ minimum: 1, maximum: 10_000_000 }),
              ),
              percentage,
            },
            CLOSED,
          ),
        ),
      ),
      expiresAt: field(
        "When it ends by itself: an RFC 3339 time, at most 24 hours ahead.",
        Type.String({
          pattern:
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?(Z|[+\\-][0-9]{2}:[0-9]{2})$",
          expected:
            'an RFC 3339 time such as "2026-12-01T00:00:00Z", at most 24 hours ahead',
        }),
      ),
    },
    CLOSED,
  ),
);

export const FAULT_INJECTION: KindDefinition<FaultInjectionSpec> = defineKind({
  kind: "FaultInjection",
  group: OWN_GROUP,
  version: "v1alpha1",
  plural: "faultinjections",
  shortNames: ["fault"],
  meaning:
    "Faults on purpose in calls to a Service: delays, errors, resets, slow responses.",
  spec,
  unsupported: {
    "spec.delay.exponentialDelay": "",
    "spec.delay.percent": "write percentage",
    "spec.abort.http2Error":
      "write reset: {percentage: …} to break exchanges off",
    "spec.targetRefs[].namespace":
      "a FaultInjection acts on Services of its own namespace; set metadata.namespace",
  },
  check: checkFaultInjection,
});
