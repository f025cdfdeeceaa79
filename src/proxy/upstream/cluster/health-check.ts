/**
 * One health check of one endpoint: HTTP, gRPC or a connection; over the link where it has a sidecar.
 *
 * What the endpoint's sidecar refuses by itself (a policy, its limits) says nothing of the application, and counts for nothing.
 */
import { connect } from "node:net";
import type { Cancel } from "../../../core/clock.ts";
import { messageOf } from "../../../core/errors.ts";
import { formatHost, formatHostPort } from "../../../core/text/host-port.ts";
import type { OutcomeKind } from "../../../mesh/codes.ts";
import { MeshError } from "../../../mesh/errors.ts";
import { isOfTheMachine } from "../../../core/machine/again.ts";
import { serviceHost } from "../../../mesh/service-key.ts";
import { lookupOf } from "../../../runtime/fetch/guarded-lookup.ts";
import { originatesTls } from "../../../policy/origination.ts";
import { resultOfError, type CheckResult } from "../../../policy/health.ts";
import {
  outcomeOfAnswer,
  outcomeOfFailure,
  parseReason,
} from "../../../policy/outcome.ts";
import type { Cluster, Endpoint } from "../../../policy/snapshot.ts";
import type { HealthCheck } from "../../../resources/traffic-policy/health-check.ts";
import type {
  ClientStream,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from "../../../wire/exchange.ts";
import {
  fieldValue,
  makeField,
  type Field,
  type Fields,
} from "../../../wire/fields.ts";
import { late } from "../../../runtime/late.ts";
import { DESTINATION, REASON } from "../../exchange/heads.ts";
import { connectHead } from "../../../wire/tcp.ts";
import type { Pool } from "../pool/pool.ts";

export interface CheckOptions {
  readonly cluster: Cluster;
  readonly endpoint: Endpoint;
  readonly settings: HealthCheck<number>;
  /** To the endpoint: over the link, or in the protocol of its port. */
  pool(tunnel: boolean): Pool;
  readonly signal: AbortSignal;
}

const HEALTHY: CheckResult = { kind: "healthy" };
const AGENT = makeField("user-agent", "wherry-health-check");

export function checkEndpoint(options: CheckOptions): Promise<CheckResult> {
  const { cluster, endpoint, settings } = options;
  const overLink = endpoint.link !== undefined;
  if (settings.tcp === true)
    return overLink
      ? exchange(options, true, tunnelTo(cluster), [], (settle) =>
          answerReceiver(settle, true, true),
        )
      : connection(options);
  if (settings.grpc !== undefined)
    return grpc(options, settings.grpc.service, (settle) =>
      grpcReceiver(settle, overLink),
    );
  const overTls = originatesTls(cluster, endpoint);
  // What may not lead everywhere is asked by the pool, which sees where it leads.
  if (
    !overLink &&
    !overTls &&
    cluster.appProtocol === "http" &&
    endpoint.reach === undefined
  )
    return plainHttp(options);
  return exchange(
    options,
    false,
    headOf(options, settings.path),
    [],
    (settle) => answerReceiver(settle, overLink, false),
  );
}

/** A GET in plaintext. */
async function plainHttp({
  endpoint,
  cluster,
  settings,
  signal,
}: CheckOptions): Promise<CheckResult> {
  // Loaded when the first check asks for it: most sidecars check nobody in plaintext.
  const undici = await late(() => import("../../../runtime/undici.ts")).catch(
    messageOf,
  );
  if (typeof undici === "string") return { kind: "unknown", evidence: undici };
  const { statusCode, body } = await undici.request(
    `http://${formatHostPort(endpoint.address, endpoint.port)}${settings.path ?? "/"}`,
    {
      signal,
      headers: {
        host: authorityOf(cluster, endpoint),
        "user-agent": AGENT.value,
      },
    },
  );
  // Whatever it says besides is nothing to us.
  body.on("error", ignore);
  body.destroy();
  return ofStatus(statusCode);
}

function ofStatus(status: number): CheckResult {
  return status >= 200 && status < 400
    ? HEALTHY
    : {
        kind: "unhealthy",
        evidence: `the health check got status ${status}`,
      };
}

/** A TCP connection in plaintext. */
export function connection({
  endpoint: { address, port, reach },
  signal,
}: Pick<CheckOptions, "endpoint" | "signal">): Promise<CheckResult> {
  return new Promise((resolve) => {
    const socket = connect({
      host: address,
      port,
      lookup: lookupOf(address, reach),
    });
    const settle = (result: CheckResult): void => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      resolve(result);
    };
    const onAbort = (): void => settle({ kind: "unknown", evidence: "" });
    socket.on("connect", () => settle(HEALTHY));
    socket.on("error", (error) => settle(resultOfError(error)));
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** The standard health check of gRPC. */
export function grpc(
  options: Omit<CheckOptions, "settings">,
  service: string,
  receiverOf: (settle: Settle) => ResponseReceiver,
): Promise<CheckResult> {
  const plain = headOf(options, undefined);
  const head: RequestHead = {
    ...plain,
    method: "POST",
    path: "/grpc.health.v1.Health/Check",
    fields: [...plain.fields, makeField("content-type", "application/grpc")],
  };
  return exchange(
    options,
    false,
    head,
    [healthCheckRequest(service)],
    receiverOf,
  );
}

/** `HealthCheckRequest { service = 1 }` with gRPC's five bytes before it. */
function healthCheckRequest(service: string): Buffer {
  const name = Buffer.from(service, "utf8");
  // A length of one byte, for the schema keeps names within 255 characters: two where it is above 127.
  const length =
    name.length < 128
      ? [name.length]
      : [(name.length & 0x7f) | 0x80, name.length >> 7];
  const message =
    name.length === 0
      ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([0x0a, ...length]), name]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** `HealthCheckResponse { status = 1 }` with SERVING (1), in a frame of gRPC. */
const SERVING = Buffer.from([0, 0, 0, 0, 2, 0x08, 0x01]);
/** Bytes of a response that are looked at. */
const MOST = 64;

/** A GET without anything that is not needed. */
export function headOf(
  { cluster, endpoint }: Pick<CheckOptions, "cluster" | "endpoint">,
  path = "/",
): RequestHead {
  const fields: Field[] = [AGENT];
  if (endpoint.link !== undefined)
    fields.push(makeField(DESTINATION, cluster.destination));
  return {
    method: "GET",
    scheme: originatesTls(cluster, endpoint) ? "https" : "http",
    authority: authorityOf(cluster, endpoint),
    path,
    protocol: undefined,
    fields,
    contentLength: undefined,
    acceptsTrailers: true,
    absoluteForm: false,
  };
}

export function tunnelTo(cluster: Cluster): RequestHead {
  return {
    ...connectHead(cluster.destination),
    fields: [makeField(DESTINATION, cluster.destination)],
  };
}

/** The host that callers know the endpoint by: a server may serve by name. */
function authorityOf(
  { service, external }: Cluster,
  { host, address }: Endpoint,
): string {
  return external
    ? formatHost(host ?? address)
    : serviceHost(service.name, service.namespace);
}

/** One exchange on a pooled connection, broken off as soon as it has told what it can. */
export function exchange(
  options: Pick<CheckOptions, "pool" | "signal">,
  tunnel: boolean,
  head: RequestHead,
  body: readonly Buffer[],
  receiverOf: (settle: Settle) => ResponseReceiver,
): Promise<CheckResult> {
  const { signal } = options;
  return new Promise((resolve) => {
    let stream: ClientStream | undefined;
    let cancel: Cancel = ignore;
    let over = false;
    const settle = (result: CheckResult, ended: boolean): void => {
      if (over) return;
      over = true;
      signal.removeEventListener("abort", onAbort);
      cancel();
      if (!ended)
        stream?.abort(
          new MeshError("CLIENT_CLOSED", "the health check is over", {
            source: "proxy",
          }),
        );
      resolve(result);
    };
    const onAbort = (): void =>
      settle({ kind: "unknown", evidence: "" }, false);
    signal.addEventListener("abort", onAbort, { once: true });
    const receiver = receiverOf(settle);
    const waiting = options.pool(tunnel).acquire(
      { mayRepeat: true },
      {
        connected(connection) {
          if (over) return;
          stream = connection.request(
            head,
            body.length === 0 && !tunnel,
            receiver,
          );
          for (const chunk of body) stream.write(chunk);
          if (body.length > 0) stream.end();
        },
        failed: (error) => settle(ofFailure(error), true),
      },
    );
    // Unless it has begun already.
    if (waiting !== undefined) cancel = waiting;
  });
}

/** `ended`: there is nothing to break off. */
export type Settle = (result: CheckResult, ended: boolean) => void;

export function ofFailure(error: MeshError): CheckResult {
  const { kind } = outcomeOfFailure({
    code: error.code,
    unprocessed: error.unprocessed,
    responseBegan: false,
  });
  const says = !SAYS_NOTHING.has(kind) && !isOfTheMachine(error.cause);
  return { kind: says ? "unhealthy" : "unknown", evidence: error.message };
}

const SAYS_NOTHING: ReadonlySet<OutcomeKind> = new Set([
  "machine-failure",
  "machine-reset",
  "not-attempted",
  "unprocessed",
]);

/** What the endpoint's sidecar says by itself; undefined where the application responded. */
export function ofReason(
  { fields, status }: ResponseHead,
  trusted: boolean,
): CheckResult | undefined {
  const reason = trusted ? parseReason(fieldValue(fields, REASON)) : undefined;
  if (reason === undefined) return undefined;
  const { kind } = outcomeOfAnswer({ status, reason });
  const evidence = `its sidecar responded to the health check with ${status} (${reason})`;
  return kind === "peer-refusal" || kind === "shed"
    ? { kind: "unknown", evidence }
    : { kind: "unhealthy", evidence };
}

export function answerReceiver(
  settle: Settle,
  trusted: boolean,
  tunnel: boolean,
): ResponseReceiver {
  return {
    informational: ignore,
    head: (head, ended) =>
      settle(
        ofReason(head, trusted) ?? ofStatus(head.status),
        ended && !tunnel,
      ),
    data: ignore,
    end: ignore,
    abort: (error) => settle(ofFailure(error), true),
    drained: ignore,
  };
}

function grpcReceiver(settle: Settle, trusted: boolean): ResponseReceiver {
  let message = Buffer.alloc(0);
  const finish = (fields: Fields): void => {
    const status = fieldValue(fields, "grpc-status") ?? "2";
    if (status !== "0")
      settle(
        {
          kind: "unhealthy",
          evidence: `the health check got grpc-status ${status}`,
        },
        true,
      );
    else if (message.equals(SERVING)) settle(HEALTHY, true);
    else
      settle(
        { kind: "unhealthy", evidence: "it says that it does not serve" },
        true,
      );
  };
  return {
    informational: ignore,
    head(head, ended) {
      const said = ofReason(head, trusted);
      if (said !== undefined) settle(said, ended);
      else if (head.status !== 200) settle(ofStatus(head.status), ended);
      else if (ended) finish(head.fields);
    },
    data(chunk) {
      message = Buffer.concat([message, chunk]).subarray(0, MOST);
    },
    end: (trailers) => finish(trailers ?? []),
    abort: (error) => settle(ofFailure(error), true),
    drained: ignore,
  };
}

function ignore(): void {
  // It says nothing of health.
}
