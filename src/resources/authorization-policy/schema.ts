/** AuthorizationPolicy: who may call a workload, and how (Istio). */
import Type, { type TSchema } from "typebox";
import { checkAuthorizationPolicy } from "./check.ts";
import type { Resource } from "../envelope.ts";
import { defineKind, type KindDefinition } from "../kind.ts";
import { CLOSED, describes, SELECTOR, type Selector } from "../schema-parts.ts";

export type AuthorizationPolicyResource = Resource<AuthorizationPolicySpec>;

export interface AuthorizationPolicySpec {
  /** Absent: every workload of the namespace; of the mesh in the root namespace. */
  readonly selector?: Selector;
  /** Absent: ALLOW. */
  readonly action?: "ALLOW" | "DENY";
  /** Any of these. Absent: no request matches, so ALLOW denies all and DENY does nothing; `[{}]`: every request matches (trap 1). */
  readonly rules?: readonly AuthorizationRule[];
}

/** Both, where both are there. */
export interface AuthorizationRule {
  /** Any of these. */
  readonly from?: readonly { readonly source: AuthorizationSource }[];
  /** Any of these. */
  readonly to?: readonly { readonly operation: AuthorizationOperation }[];
}

/**
 * Each list: any of its values; the lists together: all. Values are exact, "abc*", "*abc", or "*" for present and not empty;
 * a `not` list matches where the value is missing (trap 5). Only a verified peer certificate gives these (trap 4).
 */
export interface AuthorizationSource {
  /** "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT", without "spiffe://". */
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  readonly namespaces?: readonly string[];
  readonly notNamespaces?: readonly string[];
}

export interface AuthorizationOperation {
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  /** Also templates: "{*}" is one element, "{**}" any number. */
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
  /** Without port, compared without regard to case. */
  readonly hosts?: readonly string[];
  readonly notHosts?: readonly string[];
  /** Numbers of the workload's ports, as text. */
  readonly ports?: readonly string[];
  readonly notPorts?: readonly string[];
}

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
const rule = Type.Object(
  {
    from: Type.Optional(
      Type.Array(
        Type.Object(
          {
            source: Type.Object(
              {
                principals: values,
                notPrincipals: values,
                namespaces: values,
                notNamespaces: values,
              },
              { ...CLOSED, minProperties: 1, expected: ANY_OR_NONE },
            ),
          },
          CLOSED,
        ),
        { minItems: 1, maxItems: 512, expected: ANY_OR_NONE },
      ),
    ),
    to: Type.Optional(
      Type.Array(
        Type.Object(
          {
            operation: Type.Object(
              {
                methods: values,
                notMethods: values,
                paths: values,
                notPaths: values,
                hosts: values,
                notHosts: values,
                ports,
                notPorts: ports,
              },
              { ...CLOSED, minProperties: 1, expected: ANY_OR_NONE },
            ),
          },
          CLOSED,
        ),
        { minItems: 1, maxItems: 512, expected: ANY_OR_NONE },
      ),
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<AuthorizationPolicySpec>()(
  Type.Object(
    {
      selector: Type.Optional(SELECTOR),
      action: Type.Optional(Type.Enum(["ALLOW", "DENY"])),
      rules: Type.Optional(
        Type.Array(rule, {
          minItems: 1,
          maxItems: 512,
          expected:
            "that is ambiguous; leave rules out (no request matches) or write rules: [{}] (every request matches)",
        }),
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
    spec,
    unsupported: {
      "spec.provider": "",
      "spec.targetRef": "",
      "spec.targetRefs": "",
      "spec.rules[].when": "",
      "spec.rules[].from[].source.requestPrincipals": "",
      "spec.rules[].from[].source.notRequestPrincipals": "",
      "spec.rules[].from[].source.ipBlocks": "",
      "spec.rules[].from[].source.notIpBlocks": "",
      "spec.rules[].from[].source.remoteIpBlocks": "",
      "spec.rules[].from[].source.notRemoteIpBlocks": "",
      "spec.rules[].from[].source.serviceAccounts": "",
      "spec.rules[].from[].source.notServiceAccounts": "",
    },
    check: checkAuthorizationPolicy,
  });
