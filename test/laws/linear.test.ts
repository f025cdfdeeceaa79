/** Law 15: what is read of a peer takes time that grows with its size alone. Documents: linear-documents.test.ts; the codecs: test/wire/linear.test.ts; whole sidecars: test/hostile/red-team/cost/doubling.test.ts. */
import t from "tap";
import { forwardedAddress } from "../../src/policy/authorization/forwarded-address.ts";
import { MESH_DEFAULTS } from "../../src/resources/mesh/schema.ts";
import { atOnce } from "../../src/core/slices.ts";
import { upperEscapes } from "../../src/core/text/percent.ts";
import { parseLabelSelector } from "../../src/control-plane/api/label-selector.ts";
import { hideTokens } from "../../src/control-plane/tokens.ts";
import { readCsr } from "../../src/identity/csr.ts";
import { childrenOf, encodeOid, readElement } from "../../src/identity/der.ts";
import { readCertificates } from "../../src/identity/pem.ts";
import { parseSpiffeId } from "../../src/identity/spiffe.ts";
import { compileAuthorization } from "../../src/policy/authorization/authorization.ts";
import { compileCors, preflightFields } from "../../src/policy/routing/cors.ts";
import { parseReason, parseRetryAfter } from "../../src/policy/outcome.ts";
import { normalisePath, readRequest } from "../../src/policy/path.ts";
import { parseGrpcTimeout } from "../../src/policy/timeout.ts";
import { cookieValue } from "../../src/proxy/filters/affinity.ts";
import { parseAuthority } from "../../src/proxy/destination.ts";
import { parseToken } from "../../src/push/token.ts";
import { parseTraceparent } from "../../src/telemetry/trace-context.ts";
import { parseB3 } from "../../src/telemetry/b3.ts";
import { readTraceState } from "../../src/telemetry/trace-state.ts";
import { growthOf } from "../support/clocks/growth.ts";
import {
  authorizationPolicy,
  CONNECTION,
} from "../support/resources/policy-fixtures.ts";
import { holds, of } from "../support/laws/linear.ts";

const REQUEST = {
  method: "GET",
  scheme: "http",
  host: "orders",
  query: "",
  header: (): undefined => undefined,
  lines: (): undefined => undefined,
};
const authorizer = atOnce(
  compileAuthorization(
    [
      authorizationPolicy("deny", {
        action: "DENY",
        rules: [
          {
            to: [
              {
                operation: {
                  paths: ["/{*}/admin/{**}", "/%C3/*", "*/secret", "/a/{*}/b"],
                },
              },
            ],
          },
        ],
      }),
    ],
    { namespace: "shop", labels: {} },
    MESH_DEFAULTS,
  ),
);
const cors = compileCors({
  allowOrigins: ["https://*.shop.example", "https://shop.example"],
  allowMethods: ["*"],
  allowHeaders: ["*"],
  allowCredentials: true,
});

holds(
  "a path is normalised",
  (text) => normalisePath(`/${text}`, "DECODE_AND_MERGE_SLASHES"),
  8000,
);
holds("escapes get their one form", upperEscapes, 8000);
holds(
  "a path is judged",
  (path) =>
    authorizer.authorize({
      peer: undefined,
      port: 80,
      connection: CONNECTION,
      request: { ...REQUEST, path: `/${path}` },
    }),
  8000,
);
holds(
  "a host is read",
  (authority) =>
    readRequest(
      { method: "GET", scheme: "http", authority, path: "/", fields: [] },
      "NONE",
    ),
  8000,
);
holds(
  "a forwarded address is read",
  (text) => forwardedAddress(text, 16),
  8000,
);
holds(
  "forwarded addresses are counted",
  (text) => forwardedAddress(text, 16),
  8000,
  {
    commas: of(","),
    addresses: of("192.0.2.1, "),
    brackets: of("["),
    colons: of(":"),
  },
);
holds("an authority is read", parseAuthority, 8000);
holds("cookies are read", (text) => cookieValue(text, "basket"), 30_000);
holds("a traceparent is read", parseTraceparent, 30_000);
holds("a tracestate is read", readTraceState, 30_000);
holds("a b3 field is read", parseB3, 30_000);
holds("a gRPC time-out is read", parseGrpcTimeout, 30_000);
holds("Retry-After is read", (text) => parseRetryAfter(text, 0), 30_000);
holds("a reason is read", parseReason, 30_000);
holds(
  "a preflight is answered",
  (text) =>
    preflightFields(cors, {
      method: "OPTIONS",
      header: (name) => (name === "origin" ? `https://${text}` : text),
    }),
  30_000,
);
holds("a SPIFFE ID is read", (text) => parseSpiffeId(`spiffe://${text}`), 8000);
holds("an enrolment token is read", parseToken, 8000);
holds("tokens are hidden", hideTokens, 8000);
holds("tokens are hidden, however many", hideTokens, 8000, {
  "beginnings of tokens": of("wherry1."),
  "beginnings of beginnings": of("wherry"),
  tokens: of("wherryapi1.a/"),
});
holds("a label selector is read", parseLabelSelector, 8000);
holds("a label selector is read, in its own forms", parseLabelSelector, 8000, {
  keys: of("a,"),
  "a long key": of("a-"),
  equalities: of("a=b,"),
  "equals signs": of("="),
  "a set": of("a,", "a in (", ")"),
  "open sets": of("a in ("),
  parentheses: of("("),
  blanks: of(" ", "a", "in (b)"),
});

const CSR = "-----BEGIN CERTIFICATE REQUEST-----";
holds("a certificate request is read", readCsr, 7000, {
  "blanks before it": of(" "),
  "blanks in it": of(" ", CSR),
  beginnings: of(CSR),
  base64: of("AAAA", CSR, "-----END CERTIFICATE REQUEST-----"),
  "nested sequences": (size) =>
    `${CSR}${nested(size).toString("base64")}-----END CERTIFICATE REQUEST-----`,
});
holds("certificates are read", (text) => readCertificates(text, "it"), 30_000, {
  beginnings: of("-----BEGIN CERTIFICATE-----"),
  "blanks in one": of(" ", "-----BEGIN CERTIFICATE-----"),
  base64: of("AAAA", "-----BEGIN CERTIFICATE-----", "-----END"),
  dashes: of("-"),
});

/** Sequences within sequences, as deep as their lengths can say. */
function nested(size: number): Buffer {
  let inner = Buffer.alloc(0);
  while (inner.length < size) {
    const { length } = inner;
    const head =
      length < 128
        ? Buffer.from([0x30, length])
        : length < 256
          ? Buffer.from([0x30, 0x81, length])
          : Buffer.from([0x30, 0x82, length >> 8, length & 0xff]);
    inner = Buffer.concat([head, inner]);
  }
  return inner;
}

void t.test("DER is read, flat", (t) => {
  const { linear, ratio } = growthOf((count) => {
    const content = Buffer.from("0500".repeat(count), "hex");
    const head = Buffer.from([0x30, 0x82, content.length >> 8, content.length]);
    const whole = Buffer.concat([head, content]);
    return () => childrenOf(readElement(whole));
  }, 8000);
  t.ok(linear, `${ratio.toFixed(1)} times as long`);
  t.end();
});
void t.test("an object identifier of many arcs is written", (t) => {
  const { linear, ratio } = growthOf((count) => {
    const dotted = `1.2${".3".repeat(count)}`;
    return () => encodeOid(dotted);
  }, 400);
  t.ok(linear, `${ratio.toFixed(1)} times as long`);
  t.end();
});
