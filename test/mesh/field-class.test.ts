/** The class of each name of a header field. */
import t from "tap";
import { classOf, FieldClass } from "../../src/mesh/field-class.ts";

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
  }
  t.end();
});
