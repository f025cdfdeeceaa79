/** Telemetry: what is admitted, and no credential in what it reads. */
import t from "tap";
import { TELEMETRY } from "../../src/resources/telemetry/schema.ts";
import { validate } from "../../src/resources/validate.ts";
import {
  resourceOf,
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const TAG = "spec.tracing[0].customTags.a";
const tags = (value: object, ...expected: Expected[]): Case => [
  `a tag of ${JSON.stringify(value)}`,
  { tracing: [{ customTags: { a: value } }] },
  ...expected,
];
const header = (name: string, ...expected: Expected[]): Case =>
  tags({ header: { name } }, ...expected);
const filter = (expression: string, ...expected: Expected[]): Case => [
  `a filter ${expression}`,
  { accessLogging: [{ filter: { expression } }] },
  ...expected,
];
const entries = (modes: readonly (string | undefined)[]): object[] =>
  modes.map((mode) => ({
    ...(mode === undefined ? {} : { match: { mode } }),
    randomSamplingPercentage: 1,
  }));

void t.test("Telemetry", (t) => {
  runCases(t, TELEMETRY, [
    ["nothing at all", {}, ["spec", /has neither/]],
    [
      "all of it",
      {
        selector: { matchLabels: { app: "web" } },
        tracing: [
          {
            match: { mode: "SERVER" },
            randomSamplingPercentage: 12.5,
            disableSpanReporting: true,
            customTags: {
              region: { literal: { value: "eu" } },
              pod: { environment: { name: "HOSTNAME", defaultValue: "none" } },
              tenant: { header: { name: "x-tenant" } },
            },
          },
        ],
        accessLogging: [
          { match: { mode: "CLIENT" }, disabled: true },
          {
            match: { mode: "SERVER" },
            filter: { expression: "response.code >= 400" },
            fields: { tenant: { header: { name: "x-tenant" } } },
          },
        ],
      },
    ],
    ...[[undefined], ["CLIENT"], ["CLIENT", "SERVER"]].map((modes): Case => [
      modes.join(" "),
      { tracing: entries(modes) },
    ]),
    ...[
      ["CLIENT", "CLIENT"],
      [undefined, "SERVER"],
      ["SERVER", "CLIENT_AND_SERVER"],
    ].map((modes): Case => [
      `twice: ${modes.join(" ")}`,
      { tracing: entries(modes) },
      ["spec.tracing[1]", /is there already/],
    ]),
    ["no entry", { tracing: [] }, ["spec.tracing", /is empty/]],
    ["an empty entry", { tracing: [{}] }, ["spec.tracing[0]", /is empty/]],
    [
      "more than all",
      { tracing: [{ randomSamplingPercentage: 101 }] },
      ["spec.tracing[0].randomSamplingPercentage", /100/],
    ],
    [
      "what Istio has and this has not",
      { metrics: [{}] },
      ["spec.metrics", /metrics of a sidecar/],
    ],
    [
      "a provider",
      { tracing: [{ providers: [{ name: "zipkin" }] }] },
      ["spec.tracing[0].providers", /--zipkin-endpoint/],
    ],
    [
      "a filter that never acts",
      {
        accessLogging: [
          { disabled: true, filter: { expression: "connection.mtls" } },
        ],
      },
      ["spec.accessLogging[0].filter", /no effect/],
    ],
    tags({}, [TAG, /needs one of/]),
    tags({ literal: { value: "a" }, header: { name: "b" } }, [
      TAG,
      /needs one of/,
    ]),
    tags({ literal: { value: "" } }, [`${TAG}.literal.value`, /./]),
    tags({ literal: { value: "x".repeat(257) } }, [
      `${TAG}.literal.value`,
      /256/,
    ]),
    [
      "a tag of the sidecar's own",
      {
        tracing: [
          { customTags: { "wherry.peer": { literal: { value: "x" } } } },
        ],
      },
      ['spec.tracing[0].customTags["wherry.peer"]', /own/],
    ],
    [
      "17 tags",
      {
        tracing: [
          {
            customTags: Object.fromEntries(
              Array.from({ length: 17 }, (_none, index) => [
                `t${index}`,
                { literal: { value: "x" } },
              ]),
            ),
          },
        ],
      },
      ["spec.tracing[0].customTags", /16/],
    ],
    ...[
      "x-tenant",
      "user-agent",
      "X-Request-Id",
      "x-b3-traceid",
      "referer",
    ].map((name) => header(name)),
    ...[
      ...["Authorization", "proxy-authorization", "Cookie", "set-cookie"],
      ...["x-api-key", "x-csrf-token", "x-auth", "X_Api_Key", "x-jwt-payload"],
      ...["x-api.token", "session-id", "x-forwarded-client-cert"],
      ...["x-goog-iap-jwt-assertion", "client_secret", "x-password"],
    ].map((name) => header(name, [`${TAG}.header.name`, /credential/])),
    ...["x-wherry-destination", "X-Wherry-Anything", "x_wherry_reason"].map(
      (name) => header(name, [`${TAG}.header.name`, /mesh's own/]),
    ),
    header(":path", [`${TAG}.header.name`, /header name/]),
    ...["HOSTNAME", "POD_NAME", "region"].map((name) =>
      tags({ environment: { name } }),
    ),
    ...["WHERRY_TOKEN", "wherry_x", "OTEL_EXPORTER_OTLP_HEADERS"].map((name) =>
      tags({ environment: { name } }, [
        `${TAG}.environment.name`,
        /own settings/,
      ]),
    ),
    ...[
      "AWS_SECRET_ACCESS_KEY",
      "DB_PASSWORD",
      "GITHUB_TOKEN",
      "db_Password1",
    ].map((name) =>
      tags({ environment: { name } }, [
        `${TAG}.environment.name`,
        /credential/,
      ]),
    ),
    filter('request.headers["x-tenant"] == "acme"'),
    filter("response.code", [
      "spec.accessLogging[0].filter.expression",
      /has int where bool is expected/,
    ]),
    filter('request.headers["cookie"].contains("a")', [
      "spec.accessLogging[0].filter.expression",
      /credential/,
    ]),
  ]);
  t.end();
});

void t.test("Istio's root namespace is not this mesh's", (t) => {
  const written = {
    ...resourceOf(TELEMETRY, { accessLogging: [{ disabled: true }] }),
    metadata: { name: "mesh-default", namespace: "istio-system" },
  };
  t.match(validate(written), {
    ok: false,
    problems: [{ path: "metadata.namespace", message: /wherry-system/ }],
  });
  t.end();
});

void t.test("Istio's version before is the same", (t) => {
  const written = {
    ...resourceOf(TELEMETRY, { accessLogging: [{ disabled: true }] }),
    apiVersion: "telemetry.istio.io/v1alpha1",
  };
  t.match(validate(written), {
    ok: true,
    resource: { apiVersion: "telemetry.istio.io/v1" },
  });
  t.end();
});
