/** What an explanation says of time-outs and retries is what happens to the request. */
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { HTTPRouteRule } from "../../../src/resources/http-route/spec.ts";
import { httpRoute, mesh } from "../../support/resources/policy-fixtures.ts";
import { caller, ORDERS, step } from "../../support/resources/asked-call.ts";

function ruled(rule: HTTPRouteRule): readonly Resource[] {
  return [
    ...ORDERS,
    httpRoute("shop/orders", {
      parentRefs: [{ kind: "Service", name: "orders" }],
      rules: [{ backendRefs: [{ name: "orders", port: 80 }], ...rule }],
    }),
  ];
}

void t.test("codes after which nothing is retried are not named", (t) => {
  const answer = caller(ruled({ retry: { codes: [404, 429, 503] } }));
  t.match(
    step(answer, "retries").details[0],
    /attempt-timeout, 429, 503 \(HTTPRoute/,
  );
  t.end();
});

void t.test("trap 11: a gRPC call goes by its caller's grpc-timeout", (t) => {
  const resources = ruled({
    timeouts: { request: "2s", backendRequest: "1s" },
  });
  for (const [headers, request, words] of [
    [{}, 2000, "request 2s, each try 1s"],
    [{ "grpc-timeout": "5S" }, 2000, "request 2s, each try 1s"],
    [
      { "content-type": "application/grpc" },
      0,
      "request off (gRPC without a grpc-timeout), each try 1s",
    ],
    [
      { "content-type": "application/grpc+proto", "grpc-timeout": "5S" },
      5000,
      "request 5s by the caller's grpc-timeout, each try 1s",
    ],
    [
      { "content-type": "application/grpc", "grpc-timeout": "soon" },
      0,
      "request off (gRPC without a grpc-timeout), each try 1s",
    ],
    [
      // A deadline that is over at once is not the same as none.
      { "content-type": "application/grpc", "grpc-timeout": "0n" },
      1,
      "request 1ms by the caller's grpc-timeout, each try 1s",
    ],
  ] as const) {
    const answer = caller(resources, { method: "POST", headers });
    t.equal(step(answer, "time-outs").outcome, words);
    t.strictSame(answer.outcome.timeouts, { request, backendRequest: 1000 });
  }
  const unstated = caller(
    [mesh({ defaults: { timeouts: { request: "2s" } } }), ...ORDERS],
    { method: "POST", headers: { "content-type": "application/grpc" } },
  );
  t.match(step(unstated, "time-outs"), {
    outcome:
      "request off (gRPC without a grpc-timeout), each try off (the default)",
    source: undefined,
  });
  t.end();
});
