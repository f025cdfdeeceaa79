/** The schema of RequestAuthentication, and the kind. */
import Type, { type TSchema } from "typebox";
import { LARGEST_KEYS, checkRequestAuthentication } from "./check.ts";
import { defineKind, type KindDefinition } from "../kind.ts";
import {
  CLOSED,
  describes,
  DURATION,
  field,
  HEADER_NAME,
  SELECTOR,
} from "../schema-parts.ts";
import { POLICY_TARGETS, unsupportedTargets } from "../policy-targets.ts";
import { JWT_TIMEOUT, type RequestAuthenticationSpec } from "./spec.ts";

const ADDRESS = {
  pattern: "^https?://[!-~]+$",
  maxLength: 2048,
  expected: "an address that begins with https:// or http://",
};

const names = Type.Optional(
  Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
    minItems: 1,
    maxItems: 16,
  }),
);

const header = Type.Object(
  {
    name: field("The header.", Type.String(HEADER_NAME)),
    prefix: field(
      "What stands before the token, exactly. A scheme with its blank, such as `Bearer `, has no case, and a tab counts as its blank. A header without it has no token.",
      Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    ),
  },
  CLOSED,
);

const claimToHeader = Type.Object(
  {
    header: field(
      "The header. It is taken out of every request, with or without a token.",
      Type.String(HEADER_NAME),
    ),
    claim: field(
      "The claim: a text, an integer, true or false. Dots lead into claims within claims.",
      Type.String({ minLength: 1, maxLength: 512 }),
    ),
  },
  CLOSED,
);

const rule = Type.Object(
  {
    issuer: field(
      "The claim `iss` of its tokens, exactly.",
      Type.String({ minLength: 1, maxLength: 2048 }),
    ),
    audiences: field(
      "One of them has to be in the claim `aud`. Without it, any audience will do.",
      Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), {
          minItems: 1,
          maxItems: 64,
        }),
      ),
    ),
    jwksUri: field(
      "Address of the issuer's keys. Without it and without jwks, the issuer's OpenID document names it.",
      Type.Optional(Type.String(ADDRESS)),
    ),
    jwks: field(
      "The issuer's public keys: a JSON Web Key Set as text.",
      Type.Optional(Type.String({ minLength: 1, maxLength: LARGEST_KEYS })),
    ),
    fromHeaders: field(
      "Headers that may have a token.",
      Type.Optional(Type.Array(header, { minItems: 1, maxItems: 16 })),
    ),
    fromParams: field("Parameters of the query that may have a token.", names),
    fromCookies: field("Cookies that may have a token.", names),
    outputPayloadToHeader: field(
      "Header that gets the payload of a verified token, in base64url. It is taken out of every request before.",
      Type.Optional(Type.String(HEADER_NAME)),
    ),
    outputClaimToHeaders: field(
      "Headers that get single claims of a verified token.",
      Type.Optional(Type.Array(claimToHeader, { minItems: 1, maxItems: 32 })),
    ),
    forwardOriginalToken: field(
      "Whether the application gets the token.",
      Type.Optional(Type.Boolean()),
      false,
    ),
    spaceDelimitedClaims: field(
      "Claims that are split at blanks where a policy compares them, besides `scope` and `permission`.",
      Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
          minItems: 1,
          maxItems: 64,
        }),
      ),
    ),
    timeout: field(
      "For a fetch of the keys: 1ms to 60s.",
      Type.Optional(Type.String(DURATION)),
      JWT_TIMEOUT,
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<RequestAuthenticationSpec>()(
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
      jwtRules: field(
        "Whose tokens are accepted. A request with a token that satisfies none of them gets 401; one without a token passes.",
        Type.Optional(Type.Array(rule, { minItems: 1, maxItems: 64 })),
      ),
    },
    CLOSED,
  ),
);

export const REQUEST_AUTHENTICATION: KindDefinition<RequestAuthenticationSpec> =
  defineKind({
    kind: "RequestAuthentication",
    group: "security.istio.io",
    version: "v1",
    plural: "requestauthentications",
    shortNames: ["ra"],
    meaning:
      "Whose tokens (JWT) a workload accepts, and what becomes of them. It requires none: an AuthorizationPolicy with requestPrincipals does.",
    spec,
    unsupported: {
      ...unsupportedTargets("RequestAuthentication"),
    },
    check: checkRequestAuthentication,
  });
