/** What an explanation says of time-outs and retries is what happens to the request. */
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { HTTPRouteRule } from "../../../src/resources/http-route/spec.ts";
import { httpRoute } from "../../support/resources/policy-fixtures.ts";
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
