/** The schema of AuthorizationPolicy, and the kind. */
import Type, { type TSchema } from "typebox";
import { defineKind, type KindDefinition } from "../kind.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  SELECTOR,
  field,
} from "../schema-parts.ts";
import { POLICY_TARGETS, unsupportedTargets } from "../policy-targets.ts";
import { checkAuthorizationPolicy } from "./check.ts";
import type { AuthorizationPolicySpec } from "./spec.ts";
import { ACCOUNT } from "./values.ts";

const ANY_OR_NONE =
  "that is ambiguous (any, or none?); leave the field out for any, or list what it is to match";

const values = Type.Optional(
  Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), {
    minItems: 1,
    maxItems: 512,
    expected: ANY_OR_NONE,
  }),
);
const ports = Type.Optional(
  Type.Array(
    Type.String({
      pattern: "^[1-9][0-9]{0,4}$",
      expected: 'a port number in quotes, such as "8080"',
    }),
    { minItems: 1, maxItems: 64, expected: ANY_OR_NONE },
  ),
);
const accounts = Type.Optional(
  Type.Array(Type.String({ ...ACCOUNT, maxLength: 320 }), {
    minItems: 1,
    maxItems: 16,
    expected: ANY_OR_NONE,
  }),
);
const source = Type.Object(
  {
    principals: field(
      "Identities, as TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT.",
      values,
    ),
    notPrincipals: field("Identities that it is not for.", values),
    requestPrincipals: field(
      "Verified tokens, as ISSUER/SUBJECT; `*` for any (RequestAuthentication).",
      values,
    ),
    notRequestPrincipals: field("Tokens that it is not for.", values),
    namespaces: field("Namespaces of callers.", values),
    notNamespaces: field("Namespaces that it is not for.", values),
    serviceAccounts: field(
      "Service accounts of callers, as NAMESPACE/ACCOUNT, or ACCOUNT in the policy's namespace. Not beside principals or namespaces.",
      accounts,
    ),
    notServiceAccounts: field("Service accounts that it is not for.", accounts),
    trustDomains: field("Trust domains of callers.", values),
    notTrustDomains: field("Trust domains that it is not for.", values),
    ipBlocks: field(
      "Addresses and CIDR ranges that the connection comes from.",
      values,
    ),
    notIpBlocks: field("Addresses and ranges that it is not for.", values),
    remoteIpBlocks: field(
      "Addresses and CIDR ranges that the call comes from by `X-Forwarded-For`, as the Mesh's trustedHops reads it.",
      values,
    ),
    notRemoteIpBlocks: field(
      "Addresses and ranges that it is not for.",
      values,
    ),
  },
  { ...CLOSED, minProperties: 1, expected: ANY_OR_NONE },
);

const operation = Type.Object(
  {
    methods: field("Methods.", values),
    notMethods: field("Methods that it is not for.", values),
    paths: field(
      "Normalised paths. `{*}` stands for one path element, `{**}` for any number.",
      values,
    ),
    notPaths: field("Paths that it is not for.", values),
    hosts: field("Hosts without port, in any case.", values),
    notHosts: field("Hosts that it is not for.", values),
    ports: field("Numbers of the workload's ports, in quotes.", ports),
    notPorts: field("Ports that it is not for.", ports),
  },
  { ...CLOSED, minProperties: 1, expected: ANY_OR_NONE },
);

const condition = Type.Object(
  {
    key: field(
      "`request.headers[NAME]`, `source.ip`, `remote.ip`, `source.namespace`, `source.principal`, `source.serviceAccount`, `destination.ip`, `destination.port`, `connection.sni`, `request.auth.principal`, `request.auth.audiences`, `request.auth.presenter` or `request.auth.claims[NAME]`. A claim within claims has a further `[NAME]` for each level.",
      Type.String({ minLength: 1, maxLength: 512 }),
    ),
    values: field("Any of these.", values),
    notValues: field("None of these.", values),
  },
  CLOSED,
);

const LIST = { minItems: 1, maxItems: 512, expected: ANY_OR_NONE } as const;
const rule = Type.Object(
  {
    from: field(
      "Callers: any of these. Without it, every caller.",
      Type.Optional(
        Type.Array(
          Type.Object(
            {
              source: field(
                "All of its lists have to match, each with any of its values.",
                source,
              ),
            },
            CLOSED,
          ),
          LIST,
        ),
      ),
    ),
    to: field(
      "Requests: any of these. Without it, every request.",
      Type.Optional(
        Type.Array(
          Type.Object(
            {
              operation: field(
                "All of its lists have to match, each with any of its values.",
                operation,
              ),
            },
            CLOSED,
          ),
          LIST,
        ),
      ),
    ),
    when: field(
      "Conditions: all of these. Without it, none.",
      Type.Optional(Type.Array(condition, LIST)),
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<AuthorizationPolicySpec>()(
  Type.Object(
    {
      selector: field(
        "Workloads that it is for. Without it and without targetRefs, all of the namespace.",
        Type.Optional(SELECTOR),
      ),
      targetRefs: field(
        "Services of its namespace that it is for, in place of a selector: the ports of their workloads that they lead to, by whatever name these are called.",
        Type.Optional(POLICY_TARGETS),
      ),
      action: field(
        "DENY refuses what a rule matches. ALLOW refuses what no rule of any ALLOW policy matches. AUDIT refuses nothing: what a rule matches is logged and counted. CUSTOM asks a provider about what a rule matches, before all others.",
        Type.Optional(Type.Enum(["ALLOW", "DENY", "AUDIT", "CUSTOM"])),
        "ALLOW",
      ),
      provider: field(
        "With CUSTOM: what is asked.",
        Type.Optional(
          Type.Object(
            {
              name: field(
                "Its name in `spec.authorization.providers` of the Mesh.",
                Type.String(DNS_LABEL),
              ),
            },
            CLOSED,
          ),
        ),
      ),
      rules: field(
        "Any of these matches. Without it no request does; `[{}]` matches every request.",
        Type.Optional(
          Type.Array(rule, {
            minItems: 1,
            maxItems: 512,
            expected:
              "that is ambiguous; leave rules out (no request matches) or write rules: [{}] (every request matches)",
          }),
        ),
      ),
    },
    CLOSED,
  ),
);

export const AUTHORIZATION_POLICY: KindDefinition<AuthorizationPolicySpec> =
  defineKind({
    kind: "AuthorizationPolicy",
    group: "security.istio.io",
    version: "v1",
    plural: "authorizationpolicies",
    shortNames: ["ap"],
    meaning:
      "Which callers may call a workload, and how. A value is exact, `abc*`, `*abc`, or `*` for any that is there.",
    spec,
    unsupported: {
      ...unsupportedTargets("AuthorizationPolicy"),
    },
    check: checkAuthorizationPolicy,
  });
