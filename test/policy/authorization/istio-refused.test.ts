/** What Istio has and AuthorizationPolicy refuses here, with the reason in decisions 070 and 075. */
import t from "tap";
import { validate } from "../../../src/resources/validate.ts";
import { authorizationPolicy } from "../../support/resources/policy-fixtures.ts";

const REFUSED: readonly (readonly [string, object])[] = [
  [
    "targetRefs",
    {
      targetRefs: [
        { kind: "Gateway", group: "gateway.networking.k8s.io", name: "g" },
      ],
    },
  ],
  [
    "targetRef",
    {
      targetRef: {
        kind: "GatewayClass",
        group: "gateway.networking.k8s.io",
        name: "g",
      },
    },
  ],
  [
    "Envoy's own filters",
    {
      rules: [
        {
          when: [
            {
              key: "experimental.envoy.filters.network.mysql_proxy[a]",
              values: ["b"],
            },
          ],
        },
      ],
    },
  ],
];

for (const [what, spec] of REFUSED)
  void t.test(`refused: ${what}`, (t) => {
    const policy = authorizationPolicy("foo/p", spec);
    t.equal(validate(policy).ok, false);
    t.end();
  });
