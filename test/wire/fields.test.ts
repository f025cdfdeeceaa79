/** Header fields: the class of each name, and what is read from a list of them. */
import t from "tap";
import {
  classOf,
  FieldClass,
  fieldValue,
  joinedValue,
  makeField,
  mayOutlive,
} from "../../src/wire/fields.ts";

const { CONNECTION, FRAMING, MESH, NO_TRAILER, SENSITIVE, TRACE } = FieldClass;
const { FORWARDED, IDENTITY } = FieldClass;

void t.test("the bits are bits", (t) => {
  const all = Object.values(FieldClass);
  t.equal(
    all.reduce((sum, bit) => sum | bit, 0),
    all.reduce((sum, bit) => sum + bit, 0),
  );
  t.end();
});

/** RFC 9110 7.6.1, RFC 9113 8.2.2 and 6.5.1 of RFC 9110; names of the mesh by the link's design. */
const ROWS: readonly (readonly [string, number])[] = [
  ["connection", CONNECTION | NO_TRAILER],
  ["keep-alive", CONNECTION | NO_TRAILER],
  ["proxy-connection", CONNECTION | NO_TRAILER],
  ["upgrade", CONNECTION | NO_TRAILER],
  ["http2-settings", CONNECTION | NO_TRAILER],
  ["te", CONNECTION | NO_TRAILER],
  ["transfer-encoding", CONNECTION | FRAMING | NO_TRAILER],
  ["content-length", FRAMING | NO_TRAILER],
  ["host", FRAMING | NO_TRAILER],
  ["trailer", NO_TRAILER],
  ["content-type", NO_TRAILER],
  ["content-encoding", NO_TRAILER],
  ["content-range", NO_TRAILER],
  ["cache-control", NO_TRAILER],
  ["expect", NO_TRAILER],
  ["max-forwards", NO_TRAILER],
  ["range", NO_TRAILER],
  ["authorization", SENSITIVE | NO_TRAILER],
  ["proxy-authorization", SENSITIVE | NO_TRAILER],
  ["proxy-authenticate", NO_TRAILER],
  ["www-authenticate", NO_TRAILER],
  ["cookie", SENSITIVE | NO_TRAILER],
  ["set-cookie", SENSITIVE | NO_TRAILER],
  ["x-api-key", SENSITIVE],
  ["api-key", SENSITIVE],
  ["apikey", SENSITIVE],
  ["x-auth-token", SENSITIVE],
  ["x-authorization", SENSITIVE],
  ["x-amz-security-token", SENSITIVE],
  ["x-csrf-token", SENSITIVE],
  ["x-client-secret", SENSITIVE],
  ["x-password", SENSITIVE],
  ["x-session-id", SENSITIVE],
  ["x-goog-iap-jwt-assertion", SENSITIVE],
  ["x-hub-signature-256", SENSITIVE],
  ["author", 0],
  ["idempotency-key", 0],
  ["user-agent", 0],
  ["x-forwarded-client-cert", MESH | IDENTITY | NO_TRAILER],
  ["x-wherry-destination", MESH | NO_TRAILER],
  ["x-wherry-reason", MESH | NO_TRAILER],
  ["x-wherry-", MESH | NO_TRAILER],
  ["x-wherry-what-comes-next", MESH | NO_TRAILER],
  ["traceparent", TRACE],
  ["tracestate", TRACE],
  ["accept", 0],
  ["grpc-status", 0],
  ["x-wherry", 0],
  ["x-forwarded-for", FORWARDED | NO_TRAILER],
  ["x_forwarded_for", FORWARDED],
  ["x-forwarded_for", FORWARDED],
  ["x-forwarded-proto", FORWARDED | NO_TRAILER],
  ["x-forwarded-user", FORWARDED | NO_TRAILER],
  ["x-forwarded-access-token", FORWARDED | SENSITIVE | NO_TRAILER],
  ["forwarded", FORWARDED | NO_TRAILER],
  ["x-real-ip", FORWARDED | NO_TRAILER],
  ["x_real_ip", FORWARDED],
  ["true-client-ip", FORWARDED | NO_TRAILER],
  ["cf-connecting-ip", FORWARDED | NO_TRAILER],
  ["client-cert", FORWARDED | NO_TRAILER],
  ["x-original-url", FORWARDED | NO_TRAILER],
  ["x-rewrite-url", FORWARDED | NO_TRAILER],
  ["x-envoy-internal", FORWARDED],
  ["x-forwarded", FORWARDED | NO_TRAILER],
  ["x-forward", 0],
  ["x-originality", 0],
  ["x-request-id", 0],
  ["x_request_id", 0],
  ["hosts", 0],
  ["constructor", 0],
  ["__proto__", 0],
  ["", 0],
];

void t.test("every name has its class", (t) => {
  for (const [name, bits] of ROWS) {
    t.equal(classOf(name), bits, name);
    t.equal(makeField(name, "x").bits, bits, name);
  }
  t.end();
});

void t.test(
  "what is secret is never indexed, unless its sender chose otherwise",
  (t) => {
    for (const [name, bits] of ROWS)
      t.equal(
        makeField(name, "x").indexing,
        (bits & SENSITIVE) === 0 ? "incremental" : "never",
        name,
      );
    t.equal(makeField("accept", "x", "without").indexing, "without");
    t.equal(makeField("cookie", "x", "without").indexing, "without");
    t.end();
  },
);

void t.test("a field begins without encodings", (t) => {
  t.strictSame(makeField("accept", "*/*"), {
    name: "accept",
    value: "*/*",
    bits: 0,
    indexing: "incremental",
    line: undefined,
    literal: undefined,
  });
  t.end();
});

void t.test(
  "values are found by name: the first, or all of them joined (RFC 9110 5.3, RFC 9113 8.2.3)",
  (t) => {
    const fields = [
      makeField("accept", "a"),
      makeField("cookie", "x=1"),
      makeField("accept", "b"),
      makeField("cookie", "y=2"),
      makeField("empty", ""),
      makeField("empty", ""),
    ];
    t.equal(fieldValue(fields, "accept"), "a");
    t.equal(fieldValue(fields, "empty"), "");
    t.equal(fieldValue(fields, "Accept"), undefined, "names are lower-case");
    t.equal(fieldValue([], "accept"), undefined);
    t.equal(joinedValue(fields, "accept"), "a, b");
    t.equal(joinedValue(fields, "cookie"), "x=1; y=2");
    t.equal(joinedValue(fields, "empty"), ", ");
    t.equal(joinedValue(fields, "host"), undefined);
    t.end();
  },
);

void t.test("neither credentials nor queries outlive their request", (t) => {
  t.equal(mayOutlive(classOf("accept"), "text/html"), true);
  t.equal(mayOutlive(classOf("authorization"), "Bearer a"), false);
  t.equal(mayOutlive(classOf("x-vault-token"), "a"), false);
  t.equal(mayOutlive(classOf("referer"), "https://a/?access_token=b"), false);
  t.end();
});
