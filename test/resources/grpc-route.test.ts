/** Validation of a GRPCRoute (Gateway API, GRPCRouteSpec). */
import t from "tap";
import { GRPC_ROUTE } from "../../src/resources/grpc-route/schema.ts";
import {
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const parentRefs = [
  { group: "mesh.wherry.dev", kind: "Service", name: "cart" },
];
const backendRefs = [{ name: "cart", port: 90 }];
const ruled = (rule: object, ...expected: Expected[]): Case => [
  JSON.stringify(rule).slice(0, 120),
  { parentRefs, rules: [{ backendRefs, ...rule }] },
  ...expected,
];
const method = (match: object, ...expected: Expected[]): Case =>
  ruled({ matches: [{ method: match }] }, ...expected);

const AT = "spec.rules[0].matches[0].method";

void t.test("methods", (t) => {
  runCases(t, GRPC_ROUTE, [
    ruled({}),
    method({ service: "shop.Cart", method: "Add" }),
    method({ service: "shop.v1.Cart_2" }),
    method({ type: "Exact", method: "_Add" }),
    method({
      type: "RegularExpression",
      service: "shop\\..*",
      method: "Get.+",
    }),
    ruled({ matches: [{ headers: [{ name: "x-user", value: "qa" }] }] }),
    method({}, [AT, /names neither service nor method/]),
    method({ type: "Exact" }, [AT, /names neither/]),
    method({ service: "shop/Cart" }, [`${AT}.service`, /no.*name of protobuf/]),
    method({ service: ".shop.Cart" }, [`${AT}.service`, /"shop.Cart"/]),
    method({ service: "shop..Cart" }, [`${AT}.service`, /protobuf/]),
    method({ method: "Add/" }, [`${AT}.method`, /"Add"/]),
    method({ method: "9" }, [`${AT}.method`, /protobuf/]),
    method({ service: "" }, [`${AT}.service`, /must not be empty/]),
    method({ type: "RegularExpression", service: "(" }, [
      `${AT}.service`,
      /RE2/,
    ]),
    method({ type: "RegularExpression", method: "\\Qa" }, [
      `${AT}.method`,
      /RE2/,
    ]),
    method({ type: "Prefix", method: "A" }, [`${AT}.type`, /not one of Exact/]),
    ruled({ matches: [] }, ["spec.rules[0].matches", /ambiguous/]),
    ruled({ matches: [{ headers: [{ name: "te", value: "a" }] }] }, [
      "spec.rules[0].matches[0].headers[0].name",
      /would never be true/,
    ]),
  ]);
  t.end();
});

void t.test("filters and backends", (t) => {
  runCases(t, GRPC_ROUTE, [
    ruled({
      filters: [
        {
          type: "RequestHeaderModifier",
          requestHeaderModifier: { set: [{ name: "x", value: "1" }] },
        },
        {
          type: "RequestMirror",
          requestMirror: { backendRef: { name: "shadow", port: 90 } },
        },
      ],
    }),
    ruled(
      { filters: [{ type: "URLRewrite", urlRewrite: { hostname: "a" } }] },
      ["spec.rules[0].filters[0].urlRewrite", /a GRPCRoute has no such filter/],
      ["spec.rules[0].filters[0].type", /not one of/],
    ),
    ruled({ timeouts: { request: "1s" } }, [
      "spec.rules[0].timeouts",
      /grpc-timeout/,
    ]),
    [
      "no backend",
      { parentRefs, rules: [{}] },
      ["spec.rules[0]", /no backendRefs/],
    ],
    [
      "hostnames",
      { parentRefs, hostnames: ["cart"], rules: [{ backendRefs }] },
      ["spec.hostnames", /GEP-1294/],
    ],
    ["no rules", { parentRefs, rules: [] }, ["spec.rules", /is empty/]],
    [
      "two rules of one name",
      {
        parentRefs,
        rules: [
          { name: "a", backendRefs },
          { name: "a", backendRefs },
        ],
      },
      ["spec.rules[1].name", /is there already/],
    ],
    [
      "more than 128 matches together",
      {
        parentRefs,
        rules: Array.from({ length: 3 }, () => ({
          backendRefs,
          matches: Array.from({ length: 43 }, () => ({})),
        })),
      },
      ["spec.rules", /129 matches together/],
    ],
  ]);
  t.end();
});
