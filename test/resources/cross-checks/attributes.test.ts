/** Policies by HTTP attributes that may act on a TCP port. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../../src/resources/authorization-policy/schema.ts";
import { CONDITION_KEYS } from "../../../src/resources/authorization-policy/conditions.ts";
import type { AuthorizationRule } from "../../../src/resources/authorization-policy/spec.ts";
import {
  checkAttributes,
  opaqueServices,
} from "../../../src/resources/cross-checks/attributes.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  SERVICE,
  type ServiceResource,
} from "../../../src/resources/service/schema.ts";
import { authorizationPolicy } from "../../support/resources/policy-fixtures.ts";
import {
  compare,
  type Expected,
} from "../../support/resources/resource-cases.ts";

function service(
  name: string,
  more: Record<string, string> = {},
): ServiceResource {
  return {
    apiVersion: SERVICE.apiVersion,
    kind: SERVICE.kind,
    metadata: { name, namespace: "shop" },
    spec: {
      ports: [{ name: "db", port: 5432, appProtocol: "tcp" }],
      selector: { app: name, ...more },
    },
  };
}

const web = service("web", { tier: "front" });
const raw = service("raw");

void t.test("HTTP attributes on a TCP port are warned of (trap 3)", (t) => {
  const policy = (
    action: "ALLOW" | "DENY",
    labels: Record<string, string>,
    namespace = "shop",
  ): Resource => ({
    apiVersion: AUTHORIZATION_POLICY.apiVersion,
    kind: AUTHORIZATION_POLICY.kind,
    metadata: { name: "policy", namespace },
    spec: {
      action,
      selector: { matchLabels: labels },
      rules: [{ to: [{ operation: { methods: ["GET"], ports: ["80"] } }] }],
    },
  });
  const at = "spec.rules[0].to[0].operation.methods";
  compare(
    t,
    checkAttributes(
      policy("DENY", { app: "web" }),
      atOnce(opaqueServices([web])),
    ),
    [[at, /TCP port.*refuses every connection/]],
  );
  compare(
    t,
    checkAttributes(
      policy("ALLOW", { app: "raw" }),
      atOnce(opaqueServices([web, raw])),
    ),
    [[at, /the rule never matches/]],
  );
  compare(
    t,
    checkAttributes(
      policy("DENY", { tier: "front" }, "wherry-system"),
      atOnce(opaqueServices([web])),
    ),
    [[at, /TCP port/]],
  );
  compare(
    t,
    checkAttributes(
      policy("DENY", { app: "x" }),
      atOnce(opaqueServices([web])),
    ),
    [],
  );
  compare(
    t,
    checkAttributes(
      policy("DENY", { app: "web" }, "b"),
      atOnce(opaqueServices([web])),
    ),
    [],
  );
  compare(t, checkAttributes(web, atOnce(opaqueServices([web]))), []);
  t.end();
});

void t.test("each spelling that asks for HTTP is warned of", (t) => {
  const said = (rule: AuthorizationRule, ...expected: Expected[]): void => {
    const policy = authorizationPolicy("shop/policy", {
      action: "DENY",
      rules: [{}, rule],
    });
    compare(
      t,
      checkAttributes(policy, atOnce(opaqueServices([web]))),
      expected,
    );
  };
  for (const field of ["methods", "notPaths", "hosts"])
    said({ to: [{ operation: { [field]: ["x"] } }] }, [
      `spec.rules[1].to[0].operation.${field}`,
      new RegExp(`knows no ${field}: a DENY by it refuses every`),
    ]);
  for (const field of ["requestPrincipals", "notRequestPrincipals"])
    said({ from: [{ source: { [field]: ["*"] } }] }, [
      `spec.rules[1].from[0].source.${field}`,
      new RegExp(`knows no ${field}: a DENY by it refuses every`),
    ]);
  for (const key of [
    "request.headers[x-a]",
    "request.auth.claims[sub]",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
  ])
    said(
      {
        when: [
          { key: "source.ip", values: ["10.0.0.1"] },
          { key, values: ["b"] },
        ],
      },
      [
        "spec.rules[1].when[1]",
        /knows no request\..*: a DENY by it refuses every/,
      ],
    );
  said({
    from: [{ source: { principals: ["*"], remoteIpBlocks: ["10.0.0.0/8"] } }],
    to: [{ operation: { ports: ["5432"] } }],
    when: CONDITION_KEYS.filter((key) => !key.startsWith("request.")).map(
      (key) => ({ key, values: ["x"] }),
    ),
  });
  t.end();
});
