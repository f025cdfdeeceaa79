/** The RequestAuthentications of a workload as one list of rules: they add up (trap 13), and each rule can satisfy a token. */
import { hash } from "node:crypto";
import { durationOf } from "../../core/duration.ts";
import { dashed } from "../../mesh/field-class.ts";
import { SPACE_DELIMITED } from "../../identity/jwt/claims.ts";
import { formatName } from "../../resources/envelope.ts";
import {
  isForWorkload,
  type TargetedWorkload,
} from "../../resources/policy-targets.ts";
import {
  JWT_TIMEOUT,
  type ClaimToHeader,
  type JwtRule,
  type RequestAuthenticationResource,
} from "../../resources/request-authentication/spec.ts";

/** Where an issuer's keys come from. */
export type KeySource =
  | { readonly kind: "inline"; readonly id: string; readonly jwks: string }
  | {
      /** "discovery": the issuer's OpenID document says where the keys are. */
      readonly kind: "keys" | "discovery";
      /** Two sources of one ID are the same. */
      readonly id: string;
      readonly address: string;
      /** Milliseconds. */
      readonly timeout: number;
    };

export interface HeaderLocation {
  /** Lower-case. */
  readonly name: string;
  readonly prefix: string;
  /** The prefix is a scheme of RFC 9110 11.1, which has no case. */
  readonly scheme: boolean;
}

export interface TokenRule {
  /** The same short text as long as the rule says the same. */
  readonly id: string;
  /** "NAMESPACE/NAME" of the RequestAuthentication, and the rule's index in it. */
  readonly policy: string;
  readonly index: number;
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly keys: KeySource;
  readonly headers: readonly HeaderLocation[];
  /** As `spelled` writes them. */
  readonly params: readonly string[];
  readonly cookies: readonly string[];
  /** Claims that are split at blanks. */
  readonly spaceDelimited: readonly string[];
  /** The application gets the token. */
  readonly forward: boolean;
  /** Lower-case. */
  readonly payloadHeader: string | undefined;
  /** Names in lower case. */
  readonly claimHeaders: readonly ClaimToHeader[];
}

export interface TokenRules {
  readonly rules: readonly TokenRule[];
  /** "NAMESPACE/NAME" of the RequestAuthentications that act here. */
  readonly policies: readonly string[];
  /** Headers that only a verified token may set: lower-case, with "-" for "_". */
  readonly outputs: ReadonlySet<string>;
  /** Headers that some rule looks at, as `dashed` writes them. */
  readonly headers: ReadonlySet<string>;
  /** Names of parameters and of cookies that some rule looks at, as `spelled` writes them. */
  readonly params: ReadonlySet<string>;
  readonly cookies: ReadonlySet<string>;
}

const BEARER: HeaderLocation = {
  name: "authorization",
  prefix: "bearer ",
  scheme: true,
};

/** A prefix like "Bearer ": a scheme and a blank, however applications split the two. */
const SCHEME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]+$/;

/** RFC 6750 2.3. */
const ACCESS_TOKEN = "access_token";

/** Undefined where no rule is for the workload, so that nothing is done for it. */
export function compileTokenRules(
  policies: readonly RequestAuthenticationResource[],
  workload: TargetedWorkload,
): TokenRules | undefined {
  const applying = policies.filter((policy) => isForWorkload(policy, workload));
  const rules = applying.flatMap((policy) =>
    (policy.spec.jwtRules ?? []).map((rule, index) =>
      compileRule(rule, nameOf(policy), index),
    ),
  );
  if (rules.length === 0) return undefined;
  return {
    rules,
    policies: applying.map(nameOf),
    outputs: new Set(
      rules.flatMap(({ payloadHeader, claimHeaders }) => [
        ...(payloadHeader === undefined ? [] : [dashed(payloadHeader)]),
        ...claimHeaders.map(({ header }) => dashed(header)),
      ]),
    ),
    headers: new Set(
      rules.flatMap(({ headers }) => headers.map(({ name }) => dashed(name))),
    ),
    params: new Set(rules.flatMap(({ params }) => params)),
    cookies: new Set(rules.flatMap(({ cookies }) => cookies)),
  };
}

/**
 * The one spelling of names of parameters and cookies that are one name to some applications. PHP begins behind blanks, ends at NUL and at "[", and
 * writes "_" for "." and " "; ASP.NET has no case; Express and Rails read "name[]" as a list.
 */
export function spelled(name: string): string {
  const [text = ""] = name.split(/[\0[]/, 1);
  return text
    .replaceAll("+", " ")
    .trim()
    .replaceAll(/[. ]/g, "_")
    .toLowerCase();
}

function nameOf({ metadata }: RequestAuthenticationResource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}

function compileRule(rule: JwtRule, policy: string, index: number): TokenRule {
  const { fromHeaders, fromParams, fromCookies } = rule;
  const usual = [fromHeaders, fromParams, fromCookies].every(
    (list) => list === undefined,
  );
  return {
    id: digest(JSON.stringify(rule)),
    policy,
    index,
    issuer: rule.issuer,
    audiences: rule.audiences ?? [],
    keys: keySourceOf(rule),
    headers: usual
      ? [BEARER]
      : (fromHeaders ?? []).map(({ name, prefix = "" }) => {
          const scheme = SCHEME.test(prefix);
          return {
            name: name.toLowerCase(),
            prefix: scheme ? prefix.toLowerCase() : prefix,
            scheme,
          };
        }),
    params: usual ? [ACCESS_TOKEN] : (fromParams ?? []).map(spelled),
    cookies: (fromCookies ?? []).map(spelled),
    spaceDelimited: [...SPACE_DELIMITED, ...(rule.spaceDelimitedClaims ?? [])],
    forward: rule.forwardOriginalToken ?? false,
    payloadHeader: rule.outputPayloadToHeader?.toLowerCase(),
    claimHeaders: (rule.outputClaimToHeaders ?? []).map(
      ({ header, claim }) => ({ header: header.toLowerCase(), claim }),
    ),
  };
}

/** Texts of one digest are the same: an ID is part of what is looked up for a token, and a rule may hold a whole key set. */
function digest(text: string): string {
  return hash("sha256", text, "base64url");
}

function keySourceOf({
  issuer,
  jwks,
  jwksUri,
  timeout: written = JWT_TIMEOUT,
}: JwtRule): KeySource {
  if (jwks !== undefined)
    return { kind: "inline", id: `inline ${digest(jwks)}`, jwks };
  const timeout = durationOf(written);
  const [kind, address] =
    jwksUri === undefined
      ? (["discovery", issuer] as const)
      : (["keys", jwksUri] as const);
  return { kind, id: `${kind} ${address} ${timeout}`, address, timeout };
}
