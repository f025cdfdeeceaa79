/** A real Open Policy Agent as provider of authorization: by gRPC as it is, and by HTTP through a shim that asks its API. */
import type { RequestListener } from "node:http";
import { request } from "undici";
import t from "tap";
import { httpScript } from "../../support/checks/providers.ts";
import { resource, withPair } from "../../support/meshes/pair.ts";
import { OPA_MISSING, startOpa } from "../../support/processes/opa.ts";
import { needs } from "../../support/processes/tools.ts";

const POLICY = `
package shop.authz

default allow := {"allowed": false, "http_status": 401, "body": "no token", "headers": {"x-why": "no token", "x-secret": "1"}}

http := input.attributes.request.http

allow := {"allowed": true, "headers": {"x-user": "alice", "x-secret": "1"}, "response_headers_to_add": {"x-seen": "yes"}, "request_headers_to_remove": ["x-token"]} if {
  http.headers["x-token"] == "good"
  http.method == "POST"
  input.parsed_path == ["orders", "7"]
  input.parsed_query.page == ["2"]
  input.parsed_body.amount < 100
  input.attributes.source.principal == "spiffe://cluster.local/ns/shop/sa/web"
}

simple if input.token == "good"
`;

const ASK = resource("AuthorizationPolicy", "ask", {
  ...{ selector: { matchLabels: { app: "orders" } }, action: "CUSTOM" },
  ...{ provider: { name: "opa" }, rules: [{}] },
});

function meshOf(provider: object): Record<string, unknown> {
  return {
    trustDomain: "cluster.local",
    authorization: {
      defaultAction: "ALLOW",
      providers: [{ name: "opa", timeout: "20s", ...provider }],
    },
  };
}

void t.test("OPA by gRPC", needs(OPA_MISSING), async (t) => {
  const opa = await startOpa(POLICY);
  try {
    await withPair(
      {
        mesh: meshOf({
          grpc: { address: opa.grpc },
          body: { maxBytes: 1000 },
          headersToApplication: ["x-user"],
          headersToCallerOnAllow: ["x-seen"],
          headersToCallerOnDeny: ["x-why"],
        }),
        resources: [ASK],
      },
      async (pair) => {
        const order = (
          amount: number,
          token = "good",
        ): ReturnType<typeof pair.call> =>
          pair.call({
            method: "POST",
            path: "/orders/7?page=2",
            headers: {
              "x-token": token,
              "x-user": "mallory",
              "content-type": "application/json",
            },
            body: JSON.stringify({ amount }),
          });
        const allowed = await order(50);
        t.equal(allowed.status, 200, allowed.text);
        t.equal(allowed.headers["x-seen"], "yes");
        const { headers, body } = JSON.parse(allowed.text) as {
          headers: Record<string, string>;
          body: string;
        };
        t.equal(headers["x-user"], "alice");
        t.notOk(headers["x-token"]);
        t.notOk(headers["x-secret"]);
        t.equal(body, '{"amount":50}');
        for (const denied of [await order(500), await order(50, "bad")]) {
          t.equal(denied.status, 401);
          t.equal(denied.text, "no token");
          t.equal(denied.headers["x-why"], "no token");
          t.notOk(denied.headers["x-secret"]);
          t.equal(denied.reason, "PROVIDER_DENIED; policy=shop/ask");
        }
        await opa.stop();
        const dead = await order(50);
        t.equal(dead.status, 403);
        t.equal(dead.reason, "PROVIDER_FAILED; policy=shop/ask");
      },
    );
  } finally {
    await opa.stop();
  }
});

void t.test("OPA by HTTP", needs(OPA_MISSING), async (t) => {
  const opa = await startOpa(POLICY);
  const shim: RequestListener = (asked, response) => {
    const token = asked.headers["x-token"] ?? "";
    request(`http://${opa.api}/v1/data/shop/authz/simple`, {
      method: "POST",
      body: JSON.stringify({ input: { token } }),
    })
      .then(({ body }) => body.json())
      .then(
        (said) =>
          response
            .writeHead(
              (said as { result?: boolean }).result === true ? 200 : 403,
            )
            .end(),
        () => response.writeHead(500).end(),
      );
  };
  const provider = await httpScript(shim);
  try {
    await withPair(
      {
        mesh: meshOf({
          http: { address: provider.address, headersToProvider: ["x-token"] },
        }),
        resources: [ASK],
      },
      async (pair) => {
        const call = async (token: string): Promise<unknown> => {
          const { status, reason } = await pair.call({
            headers: { "x-token": token },
          });
          return [status, reason?.split(";")[0]];
        };
        t.same(await call("good"), [200, undefined]);
        t.same(await call("bad"), [403, "PROVIDER_DENIED"]);
        await opa.stop();
        t.same(await call("good"), [403, "PROVIDER_FAILED"]);
      },
    );
  } finally {
    await provider.close();
    await opa.stop();
  }
});
