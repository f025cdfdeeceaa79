/** The block `loadBalancer` of a TrafficPolicy: which endpoint a request goes to. */
import Type, { type TUnsafe } from "typebox";
import { durationOf, formatDuration } from "../../core/duration.ts";
import type { Problem } from "../kind.ts";
import { error } from "../problems.ts";
import {
  CLOSED,
  describes,
  DURATION,
  HEADER_NAME,
  field,
} from "../schema-parts.ts";

export type LoadBalancer =
  | "PEAK_EWMA"
  | "LOAD_AWARE"
  | "LEAST_REQUEST"
  | "ROUND_ROBIN"
  | "RANDOM";

/** `D` is how durations are written: `string` in a spec, `number` of milliseconds in settings. */
export interface LoadBalancing<D> {
  /** With `consistentHash`: for requests that have nothing to hash. */
  readonly simple: LoadBalancer;
  readonly consistentHash?: ConsistentHash<D>;
  readonly warmup?: Warmup<D>;
  /** Endpoints that are near go before those that are far, as long as enough of them are healthy. */
  readonly localityLbSetting?: { readonly enabled: boolean };
}

/** What tells a request from others: exactly one of the three. */
export interface ConsistentHash<D> {
  readonly httpHeaderName?: string;
  readonly httpCookie?: HttpCookie<D>;
  readonly useSourceIp?: true;
  /** Percent of the average load that one endpoint bears at most before its requests go to the next one; 0 is off. */
  readonly hashBalanceFactor?: number;
}

export interface HttpCookie<D> {
  readonly name: string;
  readonly path?: string;
  /** Given, a caller without the cookie gets one of this age; 0 lives as long as the browser. */
  readonly ttl?: D;
}

export interface Warmup<D> {
  readonly duration: D;
  /** Percent of its share that an endpoint gets when it is new. */
  readonly minimumPercent: number;
}

export interface LoadBalancingSpec extends Partial<
  Omit<LoadBalancing<string>, "warmup">
> {
  readonly warmup?: Pick<Warmup<string>, "duration"> & Partial<Warmup<string>>;
}

const DEFAULT_MINIMUM_PERCENT = 10;

export const LOAD_BALANCING_DEFAULTS: LoadBalancing<number> = {
  simple: "PEAK_EWMA",
};

const ALGORITHMS: readonly LoadBalancer[] = [
  "PEAK_EWMA",
  "LOAD_AWARE",
  "LEAST_REQUEST",
  "ROUND_ROBIN",
  "RANDOM",
];

/** RFC 6265 4.1.1: a token. */
const COOKIE_NAME = {
  pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
  maxLength: 256,
  expected: "a cookie's name",
} as const;

const cookie = Type.Object(
  {
    name: field("The name of the cookie.", Type.String(COOKIE_NAME)),
    path: field(
      "The path that a cookie set by the sidecar has.",
      Type.Optional(
        Type.String({
          pattern: "^/[!-:<-~]*$",
          maxLength: 1024,
          expected: 'a path such as "/"',
        }),
      ),
    ),
    ttl: field(
      "With it, a caller without the cookie gets one of this age. 0s lives as long as the browser.",
      Type.Optional(Type.String(DURATION)),
    ),
  },
  CLOSED,
);
const hash = Type.Object(
  {
    httpHeaderName: field(
      "A request header.",
      Type.Optional(Type.String(HEADER_NAME)),
    ),
    httpCookie: field("A cookie.", Type.Optional(cookie)),
    useSourceIp: field(
      "The address of the caller.",
      Type.Optional(Type.Literal(true)),
    ),
    hashBalanceFactor: field(
      "Percentage of the average load that one endpoint gets at most; 0 is without limit.",
      Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
      0,
    ),
  },
  CLOSED,
);
const warmup = Type.Object(
  {
    duration: field(
      "How long an endpoint is new; 1s at least.",
      Type.String(DURATION),
    ),
    minimumPercent: field(
      "Percentage of its share that an endpoint begins with.",
      Type.Optional(Type.Number({ minimum: 1, maximum: 100 })),
      DEFAULT_MINIMUM_PERCENT,
    ),
  },
  CLOSED,
);

export const LOAD_BALANCING: TUnsafe<LoadBalancingSpec> = Type.Unsafe(
  describes<LoadBalancingSpec>()(
    Type.Object(
      {
        simple: field(
          "The algorithm. Not with consistentHash.",
          Type.Optional(Type.Enum([...ALGORITHMS])),
          LOAD_BALANCING_DEFAULTS.simple,
        ),
        consistentHash: field(
          "Requests that are alike in one of these go to the same endpoint.",
          Type.Optional(hash),
        ),
        warmup: field(
          "A new endpoint gets its full share only after a while.",
          Type.Optional(warmup),
        ),
        localityLbSetting: field(
          "Near endpoints go before far ones, while enough of them are healthy.",
          Type.Optional(
            Type.Object(
              { enabled: field("Whether it is on.", Type.Boolean()) },
              CLOSED,
            ),
          ),
        ),
      },
      { ...CLOSED, minProperties: 1 },
    ),
  ),
);

export const LOAD_BALANCING_UNSUPPORTED: Readonly<Record<string, string>> = {
  "spec.loadBalancer.consistentHash.httpQueryParameterName": "",
  "spec.loadBalancer.consistentHash.minimumRingSize":
    "the ring has 256 places for each endpoint of weight 1, fewer above 256 endpoints",
  "spec.loadBalancer.consistentHash.ringHash":
    "the ring has 256 places for each endpoint of weight 1, fewer above 256 endpoints",
  "spec.loadBalancer.consistentHash.maglev": "the hash is a ring",
  "spec.loadBalancer.warmup.aggression":
    "an endpoint's share grows evenly with its age",
  "spec.loadBalancer.warmupDurationSecs": "use warmup.duration",
  "spec.loadBalancer.localityLbSetting.distribute": "",
  "spec.loadBalancer.localityLbSetting.failover":
    "what is nearer by region, zone and subzone goes first",
  "spec.loadBalancer.localityLbSetting.failoverPriority":
    "what is nearer by region, zone and subzone goes first",
};

/** The complete settings; durations in milliseconds. */
export function loadBalancing(
  spec: LoadBalancingSpec | undefined,
): LoadBalancing<number> {
  if (spec === undefined) return LOAD_BALANCING_DEFAULTS;
  const { simple, consistentHash: hash, warmup, localityLbSetting } = spec;
  return {
    simple: simple ?? LOAD_BALANCING_DEFAULTS.simple,
    ...(hash === undefined ? {} : { consistentHash: consistentHash(hash) }),
    ...(warmup === undefined
      ? {}
      : {
          warmup: {
            duration: durationOf(warmup.duration),
            minimumPercent: warmup.minimumPercent ?? DEFAULT_MINIMUM_PERCENT,
          },
        }),
    ...(localityLbSetting === undefined ? {} : { localityLbSetting }),
  };
}

function consistentHash({
  httpCookie: cookie,
  ...rest
}: ConsistentHash<string>): ConsistentHash<number> {
  if (cookie === undefined) return rest;
  const { ttl, ...others } = cookie;
  return {
    ...rest,
    httpCookie: {
      ...others,
      ...(ttl === undefined ? {} : { ttl: durationOf(ttl) }),
    },
  };
}

const LEAST_WARMUP = 1000;

/** What the schema cannot state. */
export function checkLoadBalancing(
  spec: LoadBalancingSpec | undefined,
): Problem[] {
  if (spec === undefined) return [];
  const problems: Problem[] = [];
  const at = (...field: string[]): readonly string[] => [
    "spec",
    "loadBalancer",
    ...field,
  ];
  const { simple, consistentHash: hash, warmup, localityLbSetting } = spec;
  if (hash !== undefined) {
    const keys = [hash.httpHeaderName, hash.httpCookie, hash.useSourceIp];
    if (keys.filter((key) => key !== undefined).length !== 1)
      problems.push(
        error(
          at("consistentHash"),
          "needs exactly one of httpHeaderName, httpCookie, useSourceIp",
        ),
      );
    const factor = hash.hashBalanceFactor ?? 0;
    if (factor > 0 && factor < 100)
      problems.push(
        error(
          at("consistentHash", "hashBalanceFactor"),
          `must be 0 or at least 100, not ${factor}: all endpoints together bear 100 % of the load`,
        ),
      );
    for (const [field, value] of Object.entries({
      simple,
      warmup,
      localityLbSetting,
    }))
      if (value !== undefined)
        problems.push(
          error(
            at(field),
            "cannot stand beside consistentHash: what a request hashes to decides alone",
          ),
        );
  }
  if (warmup !== undefined && durationOf(warmup.duration) < LEAST_WARMUP)
    problems.push(
      error(
        at("warmup", "duration"),
        `must be at least ${formatDuration(LEAST_WARMUP)}, not ${warmup.duration}`,
      ),
    );
  return problems;
}
