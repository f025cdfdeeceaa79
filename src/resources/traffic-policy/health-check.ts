/** The block `healthCheck` of a TrafficPolicy: callers ask each endpoint now and then whether it is well. */
import Type, { type TUnsafe } from "typebox";
import { durationOf, formatDuration } from "../../core/duration.ts";
import type { Problem } from "../kind.ts";
import { error } from "../problems.ts";
import { CLOSED, describes, DURATION, field } from "../schema-parts.ts";

/** `D` is how durations are written: `string` in a spec, `number` of milliseconds in settings. One of `path`, `grpc`, `tcp`. */
export interface HealthCheck<D> {
  /** HTTP: a GET whose status is 2xx or 3xx. */
  readonly path?: string;
  /** `grpc.health.v1.Health/Check`, of that service or, with "", of the server as a whole. */
  readonly grpc?: { readonly service: string };
  /** A connection. */
  readonly tcp?: true;
  readonly interval: D;
  readonly timeout: D;
  /** Failures in a row after which an endpoint is out. */
  readonly unhealthyThreshold: number;
  /** Successes in a row after which it is back. */
  readonly healthyThreshold: number;
}

export interface HealthCheckSpec extends Partial<
  Omit<HealthCheck<string>, "grpc">
> {
  readonly grpc?: { readonly service?: string };
}

const DEFAULTS = {
  interval: 10_000,
  timeout: 1000,
  unhealthyThreshold: 3,
  healthyThreshold: 2,
} as const;

const duration = Type.Optional(Type.String(DURATION));
const count = Type.Optional(Type.Integer({ minimum: 1, maximum: 100 }));

export const HEALTH_CHECK: TUnsafe<HealthCheckSpec> = Type.Unsafe(
  describes<HealthCheckSpec>()(
    Type.Object(
      {
        path: field(
          "GET this path over HTTP. A status of 2xx or 3xx is healthy.",
          Type.Optional(
            Type.String({
              pattern: "^/[!$-~]*$",
              maxLength: 1024,
              expected: 'a path such as "/healthz", and a query if need be',
            }),
          ),
        ),
        grpc: field(
          "Call grpc.health.v1.Health/Check.",
          Type.Optional(
            Type.Object(
              {
                service: field(
                  "The service asked about. Without it, the server as a whole.",
                  Type.Optional(Type.String({ maxLength: 255 })),
                  "",
                ),
              },
              CLOSED,
            ),
          ),
        ),
        tcp: field("Connect.", Type.Optional(Type.Literal(true))),
        interval: field(
          "The time between two checks; 100ms at least.",
          duration,
          formatDuration(DEFAULTS.interval),
        ),
        timeout: field(
          "The time that a check may take.",
          duration,
          formatDuration(DEFAULTS.timeout),
        ),
        unhealthyThreshold: field(
          "Failures in a row after which an endpoint is not called.",
          count,
          DEFAULTS.unhealthyThreshold,
        ),
        healthyThreshold: field(
          "Successes in a row after which it is called again.",
          count,
          DEFAULTS.healthyThreshold,
        ),
      },
      CLOSED,
    ),
  ),
);

/** The complete settings, durations in milliseconds; undefined where nothing is to be checked. */
export function healthCheck(
  spec: HealthCheckSpec | undefined,
): HealthCheck<number> | undefined {
  if (spec === undefined) return undefined;
  const { grpc, interval, timeout, ...rest } = spec;
  return {
    ...DEFAULTS,
    ...rest,
    ...(grpc === undefined ? {} : { grpc: { service: grpc.service ?? "" } }),
    ...(interval === undefined ? {} : { interval: durationOf(interval) }),
    ...(timeout === undefined ? {} : { timeout: durationOf(timeout) }),
  };
}

const LEAST_INTERVAL = 100;

export function checkHealthCheck(spec: HealthCheckSpec | undefined): Problem[] {
  if (spec === undefined) return [];
  const problems: Problem[] = [];
  const kinds = [spec.path, spec.grpc, spec.tcp];
  if (kinds.filter((kind) => kind !== undefined).length !== 1)
    problems.push(
      error(
        ["spec", "healthCheck"],
        "needs exactly one of path (HTTP), grpc, tcp",
      ),
    );
  const settings = healthCheck(spec) ?? DEFAULTS;
  if (settings.interval < LEAST_INTERVAL)
    problems.push(
      error(
        ["spec", "healthCheck", "interval"],
        `must be at least ${formatDuration(LEAST_INTERVAL)}, not ${spec.interval ?? ""}`,
      ),
    );
  if (settings.timeout < 1)
    problems.push(error(["spec", "healthCheck", "timeout"], "must be above 0"));
  return problems;
}
