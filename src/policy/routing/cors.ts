/** Which pages of other origins may call and read: HTTPRoute's CORS filter, by Gateway API's HTTPCORSFilter and Fetch 3.2. */
import {
  DEFAULT_MAX_AGE,
  type CORS,
  type HeaderPair,
} from "../../resources/route-filters/schema.ts";

/** What it reads of a request. */
export interface CrossOriginRequest {
  readonly method: string;
  /** By lower-case name. */
  header(name: string): string | undefined;
}

/** Changes of a response's fields. */
export interface CorsEdits {
  readonly set: readonly HeaderPair[];
  readonly add: readonly HeaderPair[];
  readonly remove: ReadonlySet<string>;
}

export interface CorsPolicy {
  /** "*" was asked for: every origin. */
  readonly everyone: boolean;
  /** Serialised as browsers do: lower case, without the scheme's own port. */
  readonly origins: ReadonlySet<string>;
  /** Origins with a "*": what stands before it, and what after. */
  readonly patterns: readonly (readonly [before: string, after: string])[];
  readonly credentials: boolean;
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  readonly expose: readonly string[];
  /** Seconds. */
  readonly maxAge: number;
}

const NAMES = {
  origin: "access-control-allow-origin",
  credentials: "access-control-allow-credentials",
  methods: "access-control-allow-methods",
  headers: "access-control-allow-headers",
  expose: "access-control-expose-headers",
  maxAge: "access-control-max-age",
} as const;

/** What an application says of it itself: the route's word takes its place. */
const OF_APPLICATION: ReadonlySet<string> = new Set([
  NAMES.origin,
  NAMES.credentials,
  NAMES.expose,
]);
const VARY_ORIGIN: HeaderPair = { name: "vary", value: "origin" };
const NOTHING: ReadonlySet<string> = new Set();

export function compileCors(filter: CORS): CorsPolicy {
  const origins = (filter.allowOrigins ?? [])
    .filter((origin) => origin !== "*")
    .map(serialise);
  return {
    everyone: filter.allowOrigins?.includes("*") ?? false,
    origins: new Set(origins.filter((origin) => !origin.includes("*"))),
    patterns: origins
      .filter((origin) => origin.includes("*"))
      .map((origin) => {
        const star = origin.indexOf("*");
        return [origin.slice(0, star), origin.slice(star + 1)] as const;
      }),
    credentials: filter.allowCredentials ?? false,
    methods: filter.allowMethods ?? [],
    headers: (filter.allowHeaders ?? []).map((name) => name.toLowerCase()),
    expose: (filter.exposeHeaders ?? []).map((name) => name.toLowerCase()),
    maxAge: filter.maxAge ?? DEFAULT_MAX_AGE,
  };
}

/** Fetch 3.2.2: it asks whether it may, and with what. */
export function isPreflight(request: CrossOriginRequest): boolean {
  return (
    request.method === "OPTIONS" &&
    request.header("origin") !== undefined &&
    request.header("access-control-request-method") !== undefined
  );
}

/** The fields of the response to a preflight. Without leave there are none but `vary`: the browser then stops. */
export function preflightFields(
  policy: CorsPolicy,
  request: CrossOriginRequest,
): HeaderPair[] {
  const origin = request.header("origin") ?? "";
  const vary: HeaderPair = {
    name: "vary",
    value:
      "origin, access-control-request-method, access-control-request-headers",
  };
  if (!allows(policy, origin)) return [vary];
  const fields = [...leave(policy, origin), vary];
  const grant = (
    name: string,
    granted: readonly string[],
    asked: string | undefined,
  ): void => {
    if (granted.length === 0) return;
    if (!granted.includes("*"))
      fields.push({ name, value: granted.join(", ") });
    else if (!policy.credentials) fields.push({ name, value: "*" });
    // With credentials "*" is a name like any other (Fetch 3.2.3): what was asked for is said by name.
    else if (asked !== undefined) fields.push({ name, value: asked });
  };
  grant(
    NAMES.methods,
    policy.methods,
    token(request.header("access-control-request-method")),
  );
  grant(
    NAMES.headers,
    policy.headers,
    token(request.header("access-control-request-headers")),
  );
  fields.push({ name: NAMES.maxAge, value: String(policy.maxAge) });
  return fields;
}

/** What becomes of the response to the actual request. */
export function corsEdits(
  policy: CorsPolicy,
  request: CrossOriginRequest,
): CorsEdits {
  // A cache must not give one origin's response to another, nor that of none.
  const add = policy.everyone && !policy.credentials ? [] : [VARY_ORIGIN];
  const origin = request.header("origin");
  if (origin === undefined) return { set: [], add, remove: NOTHING };
  if (!allows(policy, origin)) return { set: [], add, remove: OF_APPLICATION };
  const set = leave(policy, origin);
  const exposed = policy.credentials
    ? policy.expose.filter((name) => name !== "*")
    : policy.expose;
  if (exposed.length > 0)
    set.push({ name: NAMES.expose, value: exposed.join(", ") });
  const given = new Set(set.map(({ name }) => name));
  return {
    set,
    add,
    remove: new Set([...OF_APPLICATION].filter((name) => !given.has(name))),
  };
}

function leave(policy: CorsPolicy, origin: string): HeaderPair[] {
  const { everyone, credentials } = policy;
  const fields: HeaderPair[] = [
    { name: NAMES.origin, value: everyone && !credentials ? "*" : origin },
  ];
  if (credentials) fields.push({ name: NAMES.credentials, value: "true" });
  return fields;
}

function allows(policy: CorsPolicy, given: string): boolean {
  if (policy.everyone) return true;
  const origin = serialise(given);
  if (policy.origins.has(origin)) return true;
  return policy.patterns.some(
    ([before, after]) =>
      origin.length > before.length + after.length &&
      origin.startsWith(before) &&
      origin.endsWith(after) &&
      // The star stands for labels: not for a port, a path or another scheme.
      /^[a-z0-9.-]+$/.test(
        origin.slice(before.length, origin.length - after.length),
      ),
  );
}

/** RFC 6454 6.2: a port that the scheme implies is left out. */
function serialise(origin: string): string {
  return origin
    .toLowerCase()
    .replace(/^(http:\/\/[^:]*):80$/, "$1")
    .replace(/^(https:\/\/[^:]*):443$/, "$1");
}

/** A list of tokens, which may be said back; undefined for anything else. */
function token(value: string | undefined): string | undefined {
  return value !== undefined &&
    /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+([ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+\-.^_`|~]+)*$/.test(
      value,
    )
    ? value
    : undefined;
}
