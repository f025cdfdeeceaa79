/** Policies by HTTP attributes that may act on a TCP port. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../../src/resources/authorization-policy/schema.ts";
import {
  checkAttributes,
  opaqueServices,
} from "../../../src/resources/cross-checks/attributes.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  SERVICE,
  type ServiceResource,
} from "../../../src/resources/service/schema.ts";
import { compare } from "../../support/resources/resource-cases.ts";

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
