/**
 * A request of our own to an endpoint that is doubted, or was ejected: whether its application responds at all. The Service's health
 * check where there is one; else `OPTIONS /`, which is safe and means nothing (RFC 9110 9.3.7), gRPC's health check, or a connection.
 *
 * A complete response with whatever status proves what is asked. What the endpoint's sidecar refuses by itself proves nothing.
 */
import type { CheckResult } from "../../../policy/health.ts";
import type { ResponseReceiver } from "../../../wire/exchange.ts";
import {
  answerReceiver,
  checkEndpoint,
  connection,
  exchange,
  grpc,
  headOf,
  ofFailure,
  ofReason,
  tunnelTo,
  type CheckOptions,
  type Settle,
} from "./health-check.ts";

export function askEndpoint(
  options: Omit<CheckOptions, "settings">,
): Promise<CheckResult> {
  const { cluster, endpoint } = options;
  const settings = cluster.settings.healthCheck;
  if (settings !== undefined) return checkEndpoint({ ...options, settings });
  const overLink = endpoint.link !== undefined;
  const receiverOf = (settle: Settle): ResponseReceiver =>
    wholeResponse(settle, overLink);
  switch (cluster.appProtocol) {
    case "tcp":
    case "tls":
      return overLink
        ? exchange(options, true, tunnelTo(cluster), [], (settle) =>
            answerReceiver(settle, true, true),
          )
        : connection(options);
    case "grpc":
      return grpc(options, "", receiverOf);
    case "http":
    case "http2":
      return exchange(
        options,
        false,
        { ...headOf(options), method: "OPTIONS" },
        [],
        receiverOf,
      );
  }
}

/** Its end, not its head: an application whose responses come to no end is as good as silent. */
function wholeResponse(settle: Settle, trusted: boolean): ResponseReceiver {
  return {
    informational: ignore,
    head(head, ended) {
      const said = ofReason(head, trusted);
      if (said !== undefined) settle(said, ended);
      else if (ended) settle({ kind: "healthy" }, true);
    },
    data: ignore,
    end: () => settle({ kind: "healthy" }, true),
    abort: (error) => settle(ofFailure(error), true),
    drained: ignore,
  };
}

function ignore(): void {
  // Only the end tells.
}
