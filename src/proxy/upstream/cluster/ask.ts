/**
 * Requests of our own to an endpoint that is doubted, or was ejected: whether its application responds at all. The Service's health
 * check where there is one; else `OPTIONS /`, which is safe and asks for nothing (RFC 9110 9.3.7), gRPC's health check, or a connection.
 *
 * A complete response with whatever status proves what is asked. What the endpoint's sidecar refuses by itself proves nothing, and nor
 * does silence where no endpoint of the Service is known to respond to such a request: not every application has an ear for it.
 */
import type { CheckResult } from "../../../policy/health.ts";
import { outcomeOfAnswer, parseReason } from "../../../policy/outcome.ts";
import type { Cluster, Endpoint } from "../../../policy/snapshot.ts";
import type { ResponseHead, ResponseReceiver } from "../../../wire/exchange.ts";
import { fieldValue } from "../../../wire/fields.ts";
import { REASON } from "../../exchange/heads.ts";
import type { Pool } from "../pool/pool.ts";
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

export interface AskerOptions {
  readonly cluster: () => Cluster;
  readonly poolOf: (endpoint: Endpoint, tunnel: boolean) => Pool;
  /** It cannot show how the others do. */
  readonly isOut: (endpoint: string) => boolean;
  readonly onResponse: (endpoint: string) => void;
}

const UNKNOWN: CheckResult = { kind: "unknown", evidence: "" };

export class Asker {
  readonly #options: AskerOptions;
  #responds = false;

  constructor(options: AskerOptions) {
    this.#options = options;
  }

  /** Silence is evidence. */
  get responds(): boolean {
    return (
      this.#responds ||
      this.#options.cluster().settings.healthCheck !== undefined
    );
  }

  async ask(key: string, signal: AbortSignal): Promise<CheckResult> {
    const { endpoints } = this.#options.cluster();
    const endpoint = endpoints.find((each) => each.key === key);
    if (endpoint === undefined) return UNKNOWN;
    if (!this.responds) this.#compare(key, signal);
    return this.#ask(endpoint, signal);
  }

  /** Whether a sibling responds to such a request. */
  #compare(key: string, signal: AbortSignal): void {
    const { cluster, isOut } = this.#options;
    const sibling = cluster().endpoints.find(
      (each) => each.key !== key && each.ready && !isOut(each.key),
    );
    if (sibling !== undefined) this.#ask(sibling, signal).catch(ignore);
  }

  async #ask(endpoint: Endpoint, signal: AbortSignal): Promise<CheckResult> {
    const { cluster, poolOf } = this.#options;
    const result = await askEndpoint(
      {
        cluster: cluster(),
        endpoint,
        pool: (tunnel) => poolOf(endpoint, tunnel),
        signal,
      },
      () => this.responds,
    );
    if (result.kind === "healthy") {
      this.#responds = true;
      this.#options.onResponse(endpoint.key);
    }
    return result;
  }
}

function askEndpoint(
  options: Omit<CheckOptions, "settings">,
  responds: () => boolean,
): Promise<CheckResult> {
  const { cluster, endpoint } = options;
  const settings = cluster.settings.healthCheck;
  if (settings !== undefined) return checkEndpoint({ ...options, settings });
  const overLink = endpoint.link !== undefined;
  const receiverOf = (settle: Settle): ResponseReceiver =>
    wholeResponse(settle, overLink, responds);
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
function wholeResponse(
  settle: Settle,
  trusted: boolean,
  responds: () => boolean,
): ResponseReceiver {
  return {
    informational: ignore,
    head(head, ended) {
      const said = ofReason(head, trusted);
      // Where nothing listens nothing will, but a connection that is closed in place of a response may be all it has to say.
      if (said !== undefined)
        settle(isUnreachable(head) || responds() ? said : unknown(said), ended);
      else if (ended) settle({ kind: "healthy" }, true);
    },
    data: ignore,
    end: () => settle({ kind: "healthy" }, true),
    abort: (error) => {
      const said = ofFailure(error);
      settle(responds() ? said : unknown(said), true);
    },
    drained: ignore,
  };
}

function isUnreachable({ fields, status }: ResponseHead): boolean {
  const reason = parseReason(fieldValue(fields, REASON));
  const { kind } = outcomeOfAnswer({ status, reason });
  return kind === "application-unreachable" || kind === "connect-failure";
}

function unknown(said: CheckResult): CheckResult {
  return said.kind === "unhealthy" ? { ...said, kind: "unknown" } : said;
}

function ignore(): void {
  // Only the end tells.
}
