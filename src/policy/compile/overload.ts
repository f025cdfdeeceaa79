/** TrafficPolicies → what protects one port of this workload: rate limits, adaptive concurrency, priorities. */
import { durationOf } from "../../core/duration.ts";
import type { HTTPRouteMatch } from "../../resources/http-route/spec.ts";
import {
  appProtocolOf,
  type ServicePort,
} from "../../resources/service/schema.ts";
import type { ClientTls } from "../../resources/traffic-policy/client-tls.ts";
import type { TrafficPolicyResource } from "../../resources/traffic-policy/settings.ts";
import {
  adaptiveConcurrency,
  keySource,
  type PrioritySpec,
  type ProtectionSpec,
  type RateLimitSpec,
} from "../../resources/traffic-policy/overload.ts";
import { principalsMeant } from "../authorization/aliases.ts";
import { compilePriority } from "../priority.ts";
import { compileRateLimits, type RequestTest } from "../rate-limit.ts";
import { compileRouter } from "../router/router.ts";
import { type RoutedRequest } from "../router/candidate.ts";
import { nameOf } from "./held/held.ts";
import type { Protection } from "../snapshot.ts";

/** A port that no Service leads to. */
export const UNPROTECTED: Protection = {
  concurrency: adaptiveConcurrency(undefined),
};

/**
 * `policies` oldest first: the oldest wins (trap 13), and that of the port replaces blocks of that of the Service (trap 14).
 * `trustDomains`: the mesh's own and its aliases.
 */
export function protectionOf(
  policies: readonly TrafficPolicyResource[],
  service: { readonly name: string; readonly namespace: string },
  port: ServicePort,
  trustDomains: readonly string[],
): Protection {
  const aimed = (
    section: string | undefined,
  ): TrafficPolicyResource | undefined =>
    policies.find(
      ({ metadata, spec }) =>
        metadata.namespace === service.namespace &&
        spec.targetRefs.some(
          (ref) => ref.name === service.name && ref.sectionName === section,
        ),
    );
  const general = aimed(undefined);
  const own = port.name === undefined ? undefined : aimed(port.name);
  /** The policy whose block is in force. */
  const deciding = (
    block: keyof ProtectionSpec | "applicationTls",
  ): TrafficPolicyResource | undefined =>
    [own, general].find((policy) => policy?.spec[block] !== undefined);

  const limiting = deciding("rateLimit");
  const adapting = deciding("adaptiveConcurrency");
  return {
    ...(limiting?.spec.rateLimit === undefined
      ? {}
      : {
          limits: compileRateLimits<RoutedRequest>(limiting.spec.rateLimit, {
            policy: nameOf(limiting),
            of:
              limiting === own
                ? `${service.name}/${port.name ?? ""}`
                : service.name,
            milliseconds: durationOf,
            matcher: (matches) => matcher(matches, true),
          }),
          limitHeaders: limitHeaders(limiting.spec.rateLimit),
        }),
    concurrency: adaptiveConcurrency(adapting?.spec.adaptiveConcurrency),
    ...(adapting === undefined ? {} : { concurrencyPolicy: nameOf(adapting) }),
    ...priorityOf(deciding("priority")?.spec.priority, trustDomains),
    ...bodyLimitOf(deciding("maxRequestBodyBytes")),
    ...tlsOf(deciding("applicationTls"), port),
  };
}

/** Names of the headers by which limits tell requests apart. */
function limitHeaders(spec: RateLimitSpec): readonly string[] {
  return [spec, ...(spec.routes ?? [])].flatMap((rate) => {
    const key = keySource(rate.key ?? "none");
    return [
      ...(key?.kind === "header" ? [key.name] : []),
      ...("matches" in rate ? rate.matches : []).flatMap(({ headers = [] }) =>
        headers.map(({ name }) => name),
      ),
    ];
  });
}

/** On a port for it the caller's own TLS goes through. */
function tlsOf(
  policy: TrafficPolicyResource | undefined,
  port: ServicePort,
): Pick<Protection, "tls"> {
  const spec = policy?.spec.applicationTls;
  if (spec === undefined || policy === undefined) return {};
  if (appProtocolOf(port) === "tls") return {};
  const settings: ClientTls = { ...spec, mode: "SIMPLE" };
  return {
    tls: { settings, serverName: spec.sni, policy: nameOf(policy) },
  };
}

function bodyLimitOf(
  policy: TrafficPolicyResource | undefined,
): Pick<Protection, "body"> {
  const bytes = policy?.spec.maxRequestBodyBytes;
  return policy === undefined || bytes === undefined
    ? {}
    : { body: { bytes, policy: nameOf(policy) } };
}

function priorityOf(
  spec: PrioritySpec | undefined,
  trustDomains: readonly string[],
): Pick<Protection, "priority"> {
  if (spec === undefined) return {};
  const meant = priorityMeant(spec, trustDomains);
  return { priority: compilePriority<RoutedRequest>(meant, matcher) };
}

/** With the callers that are meant by those of a policy: by its trust domain and its aliases, a mesh names each. */
export function priorityMeant(
  spec: PrioritySpec,
  trustDomains: readonly string[],
): PrioritySpec {
  if (spec.rules === undefined) return spec;
  return {
    ...spec,
    rules: spec.rules.map((rule) =>
      rule.principals === undefined
        ? rule
        : {
            ...rule,
            principals: principalsMeant(rule.principals, trustDomains),
          },
    ),
  };
}

/** True for a request that meets any of the matches. */
export function matcher(
  matches: readonly HTTPRouteMatch[],
  limits?: true,
): RequestTest<RoutedRequest> {
  const router = compileRouter(
    matches.map((match, index) => ({
      ...(limits === undefined ? {} : { limits }),
      ref: { route: "", rule: 0, match: index },
      createdAt: 0,
      match,
      targets: [{ weight: 1, to: true }],
    })),
  );
  return Object.assign(
    (request: RoutedRequest) => router.route(request, 0) === true,
    {
      why: (request: RoutedRequest) =>
        router
          .explain(request)
          .considered.map(
            ({ ref, why = "" }) => `matches[${ref.match}]: ${why}`,
          )
          .join("; "),
    },
  );
}
