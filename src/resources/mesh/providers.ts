/** Providers of authorization, which AuthorizationPolicies with action CUSTOM name: servers that are asked whether a request may pass. */
import Type, { type TUnsafe } from "typebox";
import { durationOf, formatDuration } from "../../core/duration.ts";
import { splitHostPort } from "../../core/text/host-port.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { error, quote } from "../problems.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DURATION,
  field,
  HEADER_NAME,
} from "../schema-parts.ts";

/** One of `http` and `grpc`. */
export interface ProviderSpec {
  readonly name: string;
  /** "HOST:PORT" */
  readonly http?: HttpProviderSpec;
  readonly grpc?: { readonly address: string; readonly tls?: ProviderTls };
  readonly timeout?: string;
  readonly failOpen?: boolean;
  readonly statusOnError?: number;
  readonly body?: {
    readonly maxBytes: number;
    readonly partial?: boolean;
    readonly asBytes?: boolean;
  };
  readonly headersToApplication?: readonly string[];
  readonly headersToCallerOnDeny?: readonly string[];
  readonly headersToCallerOnAllow?: readonly string[];
}

export interface HttpProviderSpec {
  readonly address: string;
  readonly tls?: ProviderTls;
  readonly pathPrefix?: string;
  readonly headersToProvider?: readonly string[];
  readonly addHeaders?: readonly {
    readonly name: string;
    readonly value: string;
  }[];
}

export interface ProviderTls {
  /** PEM; absent: the system's roots. */
  readonly trustBundle?: string;
  /** Absent: the host of the address. */
  readonly serverName?: string;
}

/** Everything resolved. */
export interface Provider {
  readonly name: string;
  readonly server:
    | ({ readonly kind: "http" } & Omit<Required<HttpProviderSpec>, "tls"> & {
          readonly tls: ProviderTls | undefined;
        })
    | {
        readonly kind: "grpc";
        readonly address: string;
        readonly tls: ProviderTls | undefined;
      };
  /** Milliseconds. */
  readonly timeout: number;
  readonly failOpen: boolean;
  readonly statusOnError: number;
  readonly body:
    | {
        readonly maxBytes: number;
        readonly partial: boolean;
        readonly asBytes: boolean;
      }
    | undefined;
  /** Names, "abc*" or "*abc", in lower case. */
  readonly headersToApplication: readonly string[];
  readonly headersToCallerOnDeny: readonly string[];
  readonly headersToCallerOnAllow: readonly string[];
}

const TIMEOUT = 200;
const LONGEST_TIMEOUT = 30_000;
const STATUS_ON_ERROR = 403;

export function providersOf(
  specs: readonly ProviderSpec[] | undefined,
): readonly Provider[] {
  return (specs ?? []).map((spec) => ({
    name: spec.name,
    server: serverOf(spec),
    timeout: spec.timeout === undefined ? TIMEOUT : durationOf(spec.timeout),
    failOpen: spec.failOpen ?? false,
    statusOnError: spec.statusOnError ?? STATUS_ON_ERROR,
    body: spec.body && {
      maxBytes: spec.body.maxBytes,
      partial: spec.body.partial ?? false,
      asBytes: spec.body.asBytes ?? false,
    },
    headersToApplication: lower(spec.headersToApplication),
    headersToCallerOnDeny: lower(spec.headersToCallerOnDeny),
    headersToCallerOnAllow: lower(spec.headersToCallerOnAllow),
  }));
}

function serverOf({ http, grpc }: ProviderSpec): Provider["server"] {
  if (http === undefined) {
    const { address = "", tls } = grpc ?? {};
    return { kind: "grpc", address, tls };
  }
  return {
    kind: "http",
    address: http.address,
    tls: http.tls,
    pathPrefix: http.pathPrefix ?? "",
    headersToProvider: lower(http.headersToProvider),
    addHeaders: (http.addHeaders ?? []).map(({ name, value }) => ({
      name: name.toLowerCase(),
      value,
    })),
  };
}

function lower(names: readonly string[] | undefined): readonly string[] {
  return (names ?? []).map((name) => name.toLowerCase());
}

const HEADER_PATTERN = {
  pattern: "^(\\*[A-Za-z0-9_-]{1,255}|[A-Za-z0-9_-]{1,255}\\*?)$",
  expected: 'a header name, or the beginning or end of one: "x-auth-*"',
} as const;

const headers = Type.Optional(
  Type.Array(Type.String(HEADER_PATTERN), { minItems: 1, maxItems: 64 }),
);

const address = field(
  "HOST:PORT. Private addresses are allowed, for an administrator writes the Mesh. It is called directly, and not over the mesh.",
  Type.String({
    pattern:
      "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?):[1-9][0-9]{0,4}$",
    maxLength: 260,
    expected: 'an address such as "127.0.0.1:9191" or "opa.example:9191"',
  }),
);

const tls = field(
  "Speak TLS with it. Without it, plaintext: for a provider on the same machine or network.",
  Type.Optional(
    Type.Object(
      {
        trustBundle: field(
          "Roots that its certificate must chain to, in PEM. Without it, those of the system.",
          Type.Optional(Type.String({ minLength: 1, maxLength: 65_536 })),
        ),
        serverName: field(
          "The name that its certificate must have. Without it, the host of the address.",
          Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
        ),
      },
      CLOSED,
    ),
  ),
);

const http = Type.Object(
  {
    address,
    tls,
    pathPrefix: field(
      "Is put before the path of the request. Without it, the provider gets the path alone.",
      Type.Optional(
        Type.String({
          pattern: "^/[A-Za-z0-9._~/-]*$",
          maxLength: 512,
          expected: 'a path such as "/check"',
        }),
      ),
    ),
    headersToProvider: field(
      "Headers of the request that the provider gets. Method, path and host it always gets.",
      headers,
    ),
    addHeaders: field(
      "Headers that the provider gets besides, in place of any that the caller sent.",
      Type.Optional(
        Type.Array(
          Type.Object(
            {
              name: field("The name.", Type.String(HEADER_NAME)),
              value: field(
                "The value.",
                Type.String({
                  pattern: "^[\\x20-\\x7e]*$",
                  maxLength: 4096,
                  expected: "printable ASCII",
                }),
              ),
            },
            CLOSED,
          ),
          { minItems: 1, maxItems: 64 },
        ),
      ),
    ),
  },
  CLOSED,
);

const body = Type.Object(
  {
    maxBytes: field(
      "How many bytes of the body it gets at most.",
      Type.Integer({ minimum: 1, maximum: 1_048_576 }),
    ),
    partial: field(
      "A longer body is sent by its beginning, with `x-envoy-auth-partial-body: true`. Otherwise the request gets 413.",
      Type.Optional(Type.Boolean()),
      false,
    ),
    asBytes: field(
      "gRPC: the body is in `raw_body`, and not in `body` as text.",
      Type.Optional(Type.Boolean()),
      false,
    ),
  },
  CLOSED,
);

const provider = Type.Object(
  {
    name: field(
      "What AuthorizationPolicies call it.",
      Type.String({ ...DNS_LABEL, minLength: 1 }),
    ),
    http: field(
      "It speaks HTTP: status 200 allows, any other denies. Either this or grpc.",
      Type.Optional(http),
    ),
    grpc: field(
      "It speaks gRPC, as `envoy.service.auth.v3.Authorization` defines it. Either this or http.",
      Type.Optional(Type.Object({ address, tls }, CLOSED)),
    ),
    timeout: field(
      "How long a request waits for it: 1ms to 30s.",
      Type.Optional(Type.String(DURATION)),
      formatDuration(TIMEOUT),
    ),
    failOpen: field(
      "Requests pass where the provider fails: no response in time, an error, or one that cannot be used. Otherwise they are refused.",
      Type.Optional(Type.Boolean()),
      false,
    ),
    statusOnError: field(
      "The status of requests that are refused because the provider failed.",
      Type.Optional(Type.Integer({ minimum: 400, maximum: 599 })),
      STATUS_ON_ERROR,
    ),
    body: field(
      "The provider sees the request's body. Without it, the head alone.",
      Type.Optional(body),
    ),
    headersToApplication: field(
      "Headers that the provider may write to a request that it allows. Nobody else can: they are removed from whatever callers send to a workload whose policies name the provider.",
      headers,
    ),
    headersToCallerOnDeny: field(
      "Headers of a denial that the caller gets, beside Location, WWW-Authenticate and Content-Type.",
      headers,
    ),
    headersToCallerOnAllow: field(
      "Headers that the provider may add to the response of a request that it allows.",
      headers,
    ),
  },
  CLOSED,
);

export const PROVIDERS: TUnsafe<readonly ProviderSpec[]> = Type.Unsafe(
  describes<readonly ProviderSpec[]>()(Type.Array(provider, { maxItems: 64 })),
);

export function checkProviders(
  providers: readonly ProviderSpec[],
  at: readonly Segment[],
): Problem[] {
  const problems: Problem[] = [];
  const names = new Set<string>();
  for (const [index, spec] of providers.entries()) {
    const path = [...at, index];
    if (names.has(spec.name))
      problems.push(
        error([...path, "name"], `${quote(spec.name)} is there twice`),
      );
    names.add(spec.name);
    problems.push(...checkServer(spec, path));
    const ms = spec.timeout === undefined ? TIMEOUT : durationOf(spec.timeout);
    if (ms < 1 || ms > LONGEST_TIMEOUT)
      problems.push(
        error(
          [...path, "timeout"],
          `must be from 1ms to ${formatDuration(LONGEST_TIMEOUT)}, not ${spec.timeout ?? ""}`,
        ),
      );
  }
  return problems;
}

function checkServer(
  { http, grpc }: ProviderSpec,
  path: readonly Segment[],
): Problem[] {
  if ((http === undefined) === (grpc === undefined))
    return [error(path, "expected either http or grpc")];
  const address = http?.address ?? grpc?.address ?? "";
  return splitHostPort(address).port <= 65_535
    ? []
    : [
        error(
          [...path, http === undefined ? "grpc" : "http", "address"],
          `${quote(address)} has no port from 1 to 65535`,
        ),
      ];
}
