/** What limits a port of the callee, and which rate limits count a request. */
import { applies } from "../rate-limit.ts";
import type { RoutedRequest } from "../router/candidate.ts";
import type { InboundPort } from "../snapshot.ts";
import { decision, sourceOf, type Decision } from "./decision.ts";

/** Undefined where nothing limits the port. How much of a limit is used up only the sidecar knows. */
export function limitsDecision(
  { protection }: InboundPort,
  request: RoutedRequest | undefined,
): Decision | undefined {
  const { limits: all = [], concurrency, concurrencyPolicy, body } = protection;
  const { tls } = protection;
  const counting = all.filter((limit) => applies(limit, request));
  if (
    all.length === 0 &&
    concurrency.mode === "OFF" &&
    body === undefined &&
    tls === undefined
  )
    return undefined;
  const [first] = all;
  return decision(
    "callee",
    "limits",
    counting.length === 0
      ? "no rate limit counts it"
      : `counts against ${counting.map(({ name, requests, interval }) => `${name}: ${requests} in ${interval} ms`).join("; ")}`,
    {
      source:
        first === undefined
          ? undefined
          : sourceOf("TrafficPolicy", first.policy, "spec.rateLimit"),
      details: [
        ...(body === undefined
          ? []
          : [
              `a request body over ${body.bytes} bytes gets 413 (TrafficPolicy/${body.policy} spec.maxRequestBodyBytes)`,
            ]),
        ...(tls === undefined
          ? []
          : [
              `the application is spoken to over TLS, as ${tls.serverName} (TrafficPolicy/${tls.policy} spec.applicationTls)`,
            ]),
        ...(concurrency.mode === "OFF"
          ? []
          : [
              `adaptiveConcurrency is ${concurrency.mode}${concurrencyPolicy === undefined ? " (the default)" : ` (TrafficPolicy/${concurrencyPolicy} spec.adaptiveConcurrency)`}`,
            ]),
      ],
      notMatched: all
        .filter((limit) => !counting.includes(limit))
        .map(({ policy, matches }) => ({
          source: sourceOf("TrafficPolicy", policy, "spec.rateLimit"),
          why:
            request === undefined
              ? "not an HTTP request"
              : (matches?.why?.(request) ?? "it is not for this request"),
        })),
    },
  );
}
