/** A span for each request to the API, by OpenTelemetry's SDK: only where a collector is named, and loaded once the API responds. */
import { hostname } from "node:os";
import type { Attributes, Tracer } from "@opentelemetry/api";
import type { SpanExporter } from "@opentelemetry/sdk-trace-base";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../core/clock.ts";
import { messageOf, systemCode } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { otlpUrl } from "../telemetry/span-transport.ts";
import type * as Sdk from "../telemetry/node-sdk.ts";
import { METHODS, type Api } from "./api/api.ts";
import { toApiError } from "./api/errors.ts";
import { hideTokens } from "./tokens.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Its requests make no spans: they come every few seconds, and nobody looks for them. */
    readonly untraced?: boolean;
  }
}

export interface ApiTracingOptions {
  /** The collector's base address, "http://127.0.0.1:4318". */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ApiTracing {
  /** Before the hooks that may refuse a request, so that refusals are traced too. */
  addTo(api: Api): void;
  /** Loads the SDK; requests from before make no spans. Where it cannot be loaded the log says so, and the API goes on. */
  start(): Promise<void>;
  /** Sends what is left, for at most five seconds. */
  close(): Promise<void>;
}

/** Milliseconds for an export with its repeats, and for what is left at the end. */
const SEND_WITHIN = 5000;
/** Characters of an attribute: callers choose their paths. */
const LONGEST_VALUE = 1024;

interface Running {
  readonly sdk: typeof Sdk;
  readonly tracer: Tracer;
  shutdown(): Promise<void>;
}

export function makeApiTracing(options: ApiTracingOptions): ApiTracing {
  const { clock, logger } = options;
  const report = reporter(options);
  /** Why a request failed, for its span. */
  const reasons = new WeakMap<FastifyRequest, string>();
  let running: Running | undefined;
  let starting: Promise<void> | undefined;
  return {
    addTo(api) {
      api.addHook("onRequest", (request, reply, done) => {
        if (
          running !== undefined &&
          request.routeOptions.config.untraced !== true
        )
          follow(running, clock, request, reply, reasons);
        done();
      });
      api.addHook("onError", (request, _reply, error, done) => {
        if (running !== undefined)
          reasons.set(request, toApiError(error).reason);
        done();
      });
    },
    start() {
      starting ??= load(options, report).then(
        (loaded) => {
          running = loaded;
        },
        (error: unknown) =>
          logger.error(
            { error: messageOf(error) },
            "the API's requests are not traced: the OpenTelemetry SDK does not start",
          ),
      );
      return starting;
    },
    async close() {
      await starting;
      const ending = running;
      running = undefined;
      if (ending === undefined) return;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(SEND_WITHIN, () => {
          report(new Error(`no response within ${SEND_WITHIN} ms`));
          resolve();
        });
        const ended = (): void => {
          cancel();
          resolve();
        };
        // What could not be sent was told of already.
        ending.shutdown().then(ended, ended);
      });
    },
  };
}

/** Begins the span of a request, and ends it when the response or its connection has ended, whichever comes first. */
function follow(
  { sdk, tracer }: Running,
  clock: Clock,
  request: FastifyRequest,
  reply: FastifyReply,
  reasons: WeakMap<FastifyRequest, string>,
): void {
  const startedAt = clock.now();
  const startTime = clock.wall();
  const { name, attributes } = describe(request);
  const span = tracer.startSpan(
    name,
    { kind: sdk.api.SpanKind.SERVER, startTime, attributes },
    sdk.api.propagation.extract(sdk.api.ROOT_CONTEXT, request.headers),
  );
  if (!span.isRecording()) return;
  const { raw } = reply;
  raw.once("close", () => {
    const status = raw.headersSent ? raw.statusCode : undefined;
    if (status !== undefined)
      span.setAttribute("http.response.status_code", status);
    if (status === undefined || status >= 500) {
      const error =
        status === undefined
          ? "CONNECTION_CLOSED"
          : (reasons.get(request) ?? String(status));
      span.setAttribute("error.type", error);
      span.setStatus({ code: sdk.api.SpanStatusCode.ERROR, message: error });
    }
    span.end(startTime + (clock.now() - startedAt));
  });
}

/** By OpenTelemetry's conventions for servers of HTTP: what is not a known method is not in a name, and a path that led nowhere neither. */
function describe(request: FastifyRequest): {
  readonly name: string;
  readonly attributes: Attributes;
} {
  const { method } = request;
  const known = (METHODS as readonly string[]).includes(method);
  const route = request.is404 ? undefined : request.routeOptions.url;
  const verb = known ? method : "HTTP";
  return {
    name: route === undefined ? verb : `${verb} ${route}`,
    attributes: {
      "http.request.method": known ? method : "_OTHER",
      ...(known ? {} : { "http.request.method_original": method }),
      ...(route === undefined ? {} : { "http.route": route }),
      "url.scheme": request.protocol,
      "url.path": pathOf(request.url),
    },
  };
}

/** Without the query. */
function pathOf(url: string): string {
  const [path = ""] = url.split("?", 1);
  return hideTokens(path);
}

async function load(
  { endpoint }: ApiTracingOptions,
  report: Report,
): Promise<Running> {
  const sdk = await import("../telemetry/node-sdk.ts");
  const whole = new sdk.NodeSDK({
    // What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before it. No detector besides: arguments and owner of the
    // process are nobody's business.
    resource: sdk.resources.resourceFromAttributes({
      "service.name": "wherry-control-plane",
      "service.instance.id": hostname(),
    }),
    resourceDetectors: [sdk.resources.envDetector],
    traceExporter: reported(
      sdk,
      new sdk.OTLPTraceExporter({
        url: otlpUrl(endpoint, "traces"),
        timeoutMillis: SEND_WITHIN,
      }),
      report,
    ),
    spanLimits: { attributeValueLengthLimit: LONGEST_VALUE },
    // Without these the SDK would send metrics and logs as well.
    metricReaders: [],
    logRecordProcessors: [],
  });
  whole.start();
  return {
    sdk,
    tracer: sdk.api.trace.getTracer("wherry"),
    async shutdown() {
      // They belong to the process: the next tracer would find them taken otherwise.
      sdk.api.trace.disable();
      sdk.api.propagation.disable();
      sdk.api.context.disable();
      await whole.shutdown();
    },
  };
}

/** Takes each export's failure, or undefined where it succeeded. */
type Report = (failure: unknown) => void;

/** One line when spans cease to arrive and one when they arrive again, however many exports there are between. */
function reporter({ endpoint, logger }: ApiTracingOptions): Report {
  let failing = false;
  return (failure) => {
    if ((failure !== undefined) === failing) return;
    failing = !failing;
    const collector = URL.parse(endpoint)?.host;
    if (failing)
      logger.warn(
        { collector, error: messageOf(failure) || systemCode(failure) },
        "spans do not reach the collector: the API serves without being traced; is --otlp-endpoint right, and does it take OTLP over HTTP?",
      );
    else logger.info({ collector }, "spans reach the collector again");
  };
}

function reported(
  { core }: typeof Sdk,
  exporter: SpanExporter,
  report: Report,
): SpanExporter {
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        report(
          result.code === core.ExportResultCode.SUCCESS
            ? undefined
            : (result.error ?? new Error("the collector refuses them")),
        );
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}
