/** The schema of GRPCRoute, and the kind. */
import Type, { type TSchema } from "typebox";
import {
  BACKEND_REFS,
  HEADER_MATCHES,
  NOT_OF_ROUTES,
  PARENT_REFS,
} from "../http-route/schema.ts";
import { defineKind, type KindDefinition } from "../kind.ts";
import { GRPC_ROUTE_FILTERS } from "../route-filters/schema.ts";
import { CLOSED, describes, DNS_NAME, field } from "../schema-parts.ts";
import { checkGRPCRoute } from "./check.ts";
import type { GRPCRouteSpec } from "./spec.ts";

const name = Type.Optional(Type.String({ minLength: 1, maxLength: 1024 }));
const methodMatch = Type.Object(
  {
    type: field(
      "How both are compared. A regular expression must match all of it.",
      Type.Optional(Type.Enum(["Exact", "RegularExpression"])),
      "Exact",
    ),
    service: field(
      "The gRPC service with its package, such as shop.Cart. Case matters.",
      name,
    ),
    method: field("The gRPC method, such as Add. Case matters.", name),
  },
  CLOSED,
);
const match = Type.Object(
  {
    method: field(
      "The method called. Without it, every method of every service.",
      Type.Optional(methodMatch),
    ),
    headers: field(
      "Metadata of the call, all of them.",
      Type.Optional(HEADER_MATCHES),
    ),
  },
  CLOSED,
);
const rule = Type.Object(
  {
    name: field(
      "Its name, for logs and `wherry explain`.",
      Type.Optional(Type.String(DNS_NAME)),
    ),
    matches: field(
      "Calls that the rule is for: any of these. Without it, every call.",
      Type.Optional(
        Type.Array(match, {
          minItems: 1,
          maxItems: 64,
          expected:
            "that is ambiguous (any, or none?); leave matches out for every call",
        }),
      ),
    ),
    filters: field(
      "What is done to calls and their responses.",
      Type.Optional(GRPC_ROUTE_FILTERS),
    ),
    backendRefs: field(
      "The Services that get the calls. Without any, the status is UNAVAILABLE.",
      Type.Optional(BACKEND_REFS),
    ),
  },
  CLOSED,
);
const spec: TSchema = describes<GRPCRouteSpec>()(
  Type.Object(
    {
      parentRefs: field("The Services that the route is for.", PARENT_REFS),
      rules: field(
        "What happens to calls. The most specific match decides.",
        Type.Array(rule, { minItems: 1, maxItems: 16 }),
      ),
    },
    CLOSED,
  ),
);

const OF_HTTP =
  "a GRPCRoute has no such filter; gRPC's clients follow no redirect and know no paths";
const DEADLINE =
  "a gRPC call goes by the deadline that its caller sends (grpc-timeout)";

export const GRPC_ROUTE: KindDefinition<GRPCRouteSpec> = defineKind({
  kind: "GRPCRoute",
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural: "grpcroutes",
  meaning:
    "Which backends get which calls to a gRPC Service, by service and method.",
  shortNames: [],
  spec,
  unsupported: {
    ...NOT_OF_ROUTES,
    "spec.rules[].timeouts": DEADLINE,
    "spec.rules[].filters[].requestRedirect": OF_HTTP,
    "spec.rules[].filters[].urlRewrite": OF_HTTP,
    "spec.rules[].filters[].cors": OF_HTTP,
  },
  check: checkGRPCRoute,
});
