/** What is reported of one request: its server span, a client span an attempt, its metrics and its line in the access log (law 9). */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { splitHostPort } from "../../core/text/host-port.ts";
import { MeshError } from "../../mesh/errors.ts";
import { COMMON_METHODS } from "../../core/text/methods.ts";
import type { HeaderEdits } from "../../policy/routing/header-edits.ts";
import { parseReason } from "../../policy/outcome.ts";
import { takes } from "../../policy/telemetry/filter.ts";
import type { RetryRefusal } from "../../policy/retry.ts";
import type { RequestRules } from "../../telemetry/request-rules.ts";
import type { AccessLog, AccessRecord } from "../../telemetry/access-log.ts";
import type {
  AttributeValue,
  ClientTrace,
  ServerTrace,
  SpanSubject,
  Tracing,
} from "../../telemetry/tracing.ts";
import type {
  BodyReceiver,
  ResponseHead,
  ServerStream,
} from "../../wire/exchange.ts";
import { fieldValue, type Fields } from "../../wire/fields.ts";
import { REASON } from "./heads.ts";
import type { Direction, Meters } from "../../telemetry/meters.ts";
import { loggedRequest } from "./logged-request.ts";
import { rescue } from "./rescue.ts";
import type { Target } from "./route-plan.ts";

/** Where the accounts of a proxy go. */
export interface TelemetrySinks {
  readonly clock: Clock;
  readonly meters: Meters;
  readonly tracing: Tracing;
  readonly log: AccessLog;
  /** What the Telemetry in force says; asked at the beginning of each request. */
  readonly rules: (direction: Direction) => RequestRules;
}

/** OpenTelemetry's HTTP conventions: methods outside this list become "_OTHER", so that callers cannot invent span names. */
const METHODS: ReadonlySet<string> = new Set(COMMON_METHODS);

/** Takes the body of a request that is refused. */
const DEAF: BodyReceiver = {
  data: ignore,
  end: ignore,
  abort: ignore,
  drained: ignore,
};

function ignore(): void {
  // Nobody is interested.
}

export class RequestRecord implements SpanSubject {
  readonly rules: RequestRules;
  readonly #sinks: TelemetrySinks;
  readonly #direction: Direction;
  readonly #stream: ServerStream;
  /** Monotonic milliseconds: when the request's head had come. */
  readonly startedAt: number;
  /** The same, or when its checks were passed: what the callee takes begins here. */
  readyAt: number;
  readonly #trace: ServerTrace;
  /** "orders.shop:80"; a name of our own where the destination is unknown, so that series stay bounded. */
  destination: string;
  path: string | undefined;
  route: string | undefined;
  /** The Service that the route drew: "orders-v2.shop:80". */
  backend: string | undefined;
  /** The trouble that it was given on purpose. */
  fault: string | undefined;
  /** What policies would do that change no verdict. */
  shadow: string | undefined;
  /** Milliseconds that it waited until it was known what it calls; undefined where that was held. */
  waited: number | undefined;
  /** Milliseconds that it waited for what had to be found out before it could be judged; undefined where nothing had. */
  checked: number | undefined;
  /** Providers of authorization that were asked, each with what it said: "opa allowed". */
  providers: string | undefined;
  /** By the route's CORS: which pages may read the answer, if it is our own refusal. */
  readers: HeaderEdits | undefined;
  attempts = 0;
  received = 0;
  sent = 0;
  /** Milliseconds to the response that opened a WebSocket: no request took what comes after it. */
  #handshake: number | undefined;
  #conclusion: MeshError | undefined;
  /** It has been reported: a defect after that is not another request. */
  #closed = false;
  /** Status of the response that the caller got; 0 for none. */
  status = 0;
  #target: Target | undefined;
  /** Why attempts were repeated, in their order (law 9). */
  #retried: string | undefined;
  #reason: string | undefined;
  #policy: string | undefined;
  #detail: string | undefined;

  constructor(
    sinks: TelemetrySinks,
    direction: Direction,
    stream: ServerStream,
    destination: string,
  ) {
    this.#sinks = sinks;
    this.#direction = direction;
    this.#stream = stream;
    this.destination = destination;
    this.startedAt = sinks.clock.now();
    this.readyAt = this.startedAt;
    this.rules = sinks.rules(direction);
    this.#trace = sinks.tracing.server(stream.head.fields, this);
    sinks.meters.active[direction].add(1);
  }

  get spanName(): string {
    return `${methodOf(this.#stream)} ${this.destination}`;
  }

  /** The span of the attempt that `attempted` announced. */
  client(): ClientTrace {
    return this.#trace.client();
  }

  attempted(target: Target): void {
    this.attempts += 1;
    this.#target = target;
  }

  /** The response of this one of two attempts counts. */
  took(target: Target): void {
    this.#target = target;
  }

  /** The head that the caller gets; a trusted peer's reason is part of it. */
  answered(head: ResponseHead, trusted: boolean): void {
    this.status = head.status;
    if (!trusted) return;
    const value = fieldValue(head.fields, REASON);
    if (value === undefined) return;
    this.#reason = parseReason(value);
    const policy = value.indexOf("policy=");
    if (policy >= 0) this.#policy = value.slice(policy + "policy=".length);
  }

  /** The response turned the exchange into a dialogue. */
  opened(now: number): void {
    this.#handshake = now - this.startedAt;
  }

  /** A dialogue is being ended in its own words, for this reason. */
  concluded(error: MeshError): void {
    this.#conclusion = error;
  }

  trailers(trailers: Fields): void {
    const status = fieldValue(trailers, "grpc-status");
    if (status !== undefined)
      this.#trace.attribute("rpc.grpc.status_code", Number(status));
  }

  repeated(reason: string): void {
    this.#retried =
      this.#retried === undefined ? reason : `${this.#retried}, ${reason}`;
    this.#sinks.meters.retries.with(this.destination, reason).add();
  }

  notRepeated(reason: RetryRefusal): void {
    if (this.#direction === "inbound") return;
    this.#sinks.meters.retriesRefused.with(this.destination, reason).add();
  }

  /** Answers with `error` before anything else was done, and closes. `inside`: the caller learns the reason. */
  refuse(error: MeshError, inside: boolean): void {
    if (this.#closed) return;
    // Whatever follows of the request is of no interest; the codec reads it and throws it away.
    this.#stream.receive(DEAF);
    this.status = rescue(this.#stream, error, {
      inside,
      readers: this.readers,
    });
    this.close(error, this.#sinks.clock.now());
  }

  /** Answers by this proxy's own word, before anything else was done, and closes. */
  reply(head: ResponseHead | MeshError, inside: boolean): void {
    if (head instanceof MeshError) {
      this.refuse(head, inside);
      return;
    }
    this.#stream.receive(DEAF);
    this.status = head.status;
    this.#stream.respond(head, true);
    this.close(undefined, this.#sinks.clock.now());
  }

  /** The exchange is over; `error` where it failed. */
  close(failure: MeshError | undefined, now: number): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = this.#conclusion ?? failure;
    if (error !== undefined) {
      this.#reason = error.code;
      this.#policy = error.policy ?? this.#policy;
      this.#detail =
        error.cause === undefined
          ? error.message
          : `${error.message}: ${messageOf(error.cause)}`;
    }
    const { meters, log } = this.#sinks;
    const elapsed = now - this.startedAt;
    const cells = meters.traffic(
      this.#direction,
      this.destination,
      this.#stream.connection.peer ?? "",
    );
    cells.request(this.status, this.#reason ?? "").add();
    cells.duration.record((this.#handshake ?? elapsed) / 1000);
    if (this.received > 0) cells.received.add(this.received);
    if (this.sent > 0) cells.sent.add(this.sent);
    meters.active[this.#direction].add(-1);
    if (this.#trace.reports) this.#endTrace();
    if (log.wants(this.status, this.#reason, this.rules.logs))
      this.#write(elapsed);
  }

  #endTrace(): void {
    const trace = this.#trace;
    if (this.route !== undefined) trace.attribute("wherry.route", this.route);
    if (this.backend !== undefined && this.backend !== this.destination)
      trace.attribute("wherry.backend", this.backend);
    if (this.#policy !== undefined)
      trace.attribute("wherry.policy", this.#policy);
    if (this.fault !== undefined) trace.attribute("wherry.fault", this.fault);
    if (this.shadow !== undefined)
      trace.attribute("wherry.shadow", this.shadow);
    if (this.waited !== undefined)
      trace.attribute("wherry.config_wait_ms", this.waited);
    if (this.checked !== undefined)
      trace.attribute("wherry.check_wait_ms", this.checked);
    if (this.providers !== undefined)
      trace.attribute("wherry.authorization_providers", this.providers);
    if (this.attempts > 1) trace.attribute("wherry.attempts", this.attempts);
    if (this.#retried !== undefined)
      trace.attribute("wherry.retried", this.#retried);
    trace.end({
      status: this.status === 0 ? undefined : this.status,
      reason: this.#reason,
    });
  }

  serverAttributes(): Record<string, AttributeValue> {
    const { head, connection } = this.#stream;
    const attributes: Record<string, AttributeValue> = {
      "http.request.method": methodOf(this.#stream),
      "url.scheme": head.scheme,
      "url.path": withoutQuery(head.path),
      "server.address": head.authority,
      "client.address": connection.remoteAddress,
      "network.protocol.name": "http",
      "network.protocol.version": connection.protocol === "h2" ? "2" : "1.1",
      "wherry.direction": this.#direction,
      "wherry.destination": this.destination,
    };
    if (connection.peer !== undefined)
      attributes["wherry.peer"] = connection.peer;
    const agent = fieldValue(head.fields, "user-agent");
    if (agent !== undefined) attributes["user_agent.original"] = agent;
    return attributes;
  }

  clientAttributes(): Record<string, AttributeValue> {
    const { head } = this.#stream;
    const { address = "", key = "" } = this.#target ?? {};
    const { host, port } = splitHostPort(address);
    const attributes: Record<string, AttributeValue> = {
      "http.request.method": methodOf(this.#stream),
      "server.address": host,
      "server.port": port,
      "url.full": `${head.scheme}://${head.authority}${this.path ?? ""}`,
      "wherry.destination": this.destination,
      "wherry.direction": this.#direction,
      "wherry.endpoint": key,
    };
    if (this.attempts > 1)
      attributes["http.request.resend_count"] = this.attempts - 1;
    return attributes;
  }

  #write(elapsed: number): void {
    const { head, connection } = this.#stream;
    const { logs, filter, fields } = this.rules;
    const record: AccessRecord = {
      direction: this.#direction,
      method: head.method,
      authority: head.authority,
      path: this.path ?? withoutQuery(head.path),
      protocol: connection.protocol,
      status: this.status,
      reason: this.#reason,
      policy: this.#policy,
      detail: this.#detail,
      durationMs: elapsed,
      bytesReceived: this.received,
      bytesSent: this.sent,
      traceId: this.#trace.traceId,
      peer: connection.peer,
      destination: this.destination,
      route: this.route,
      endpoint: this.#target?.address,
      attempts: this.attempts,
      retried: this.#retried,
      fault: this.fault,
      fields: fields?.(head.fields),
    };
    if (
      filter === undefined ||
      takes(filter, loggedRequest(record, head.fields))
    )
      this.#sinks.log.write(record, logs);
  }
}

function methodOf(stream: ServerStream): string {
  const { method } = stream.head;
  return METHODS.has(method) ? method : "_OTHER";
}

/** Queries carry credentials: they are in no log and on no span. */
function withoutQuery(path: string): string {
  const question = path.indexOf("?");
  return question < 0 ? path : path.slice(0, question);
}
