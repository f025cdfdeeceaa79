/** What the schema of RequestAuthentication cannot state: keys that are none, headers that no token may set, places without a token. */
import { durationOf, formatDuration } from "../../core/duration.ts";
import {
  holdsSecret,
  LARGEST_KEY_SET,
  readKeySet,
} from "../../core/text/key-set.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { checkTargets } from "../policy-targets.ts";
import { duplicates, error, fault, warning } from "../problems.ts";
import { filterNameFault, matchNameFault } from "../text-checks.ts";
import type { JwtRule, RequestAuthenticationResource } from "./spec.ts";

type At = readonly Segment[];

export const LARGEST_KEYS: number = LARGEST_KEY_SET;

const LONGEST_TIMEOUT = 60_000;

export function checkRequestAuthentication({
  spec,
}: RequestAuthenticationResource): Problem[] {
  const rules = spec.jwtRules ?? [];
  const targets = checkTargets(spec);
  if (rules.length === 0)
    return [
      ...targets,
      warning(
        ["spec", "jwtRules"],
        "is absent, so no token is looked for and none is verified",
      ),
    ];
  return [
    ...targets,
    ...rules.flatMap((rule, index) =>
      checkRule(rule, ["spec", "jwtRules", index]),
    ),
  ];
}

function checkRule(rule: JwtRule, at: At): Problem[] {
  return [
    ...checkKeys(rule, at),
    ...checkLocations(rule, at),
    ...checkOutputs(rule, at),
    ...checkTimeout(rule, at),
  ];
}

function checkKeys({ issuer, jwks, jwksUri }: JwtRule, at: At): Problem[] {
  if (jwks !== undefined && jwksUri !== undefined)
    return [
      error([...at, "jwks"], "does not go with jwksUri: write either of them"),
    ];
  if (jwks !== undefined) return checkInline(jwks, [...at, "jwks"]);
  const address = jwksUri ?? issuer;
  const path = [...at, jwksUri === undefined ? "issuer" : "jwksUri"];
  const url = URL.parse(address);
  if (url === null || !["http:", "https:"].includes(url.protocol))
    return [
      error(
        path,
        "is not an address, and the rule has neither jwks nor jwksUri: its keys could not be found",
      ),
    ];
  if (url.username !== "" || url.password !== "")
    return [error(path, "must not have credentials in it")];
  return url.protocol === "http:"
    ? [
        warning(
          path,
          "begins with http: anybody on the way to it can put keys of their own in place of the issuer's; use https",
        ),
      ]
    : [];
}

function checkInline(jwks: string, at: At): Problem[] {
  if (holdsSecret(jwks))
    return [
      error(
        at,
        "holds a private or symmetric key, with which its readers could sign; write public keys alone",
      ),
    ];
  const read = readKeySet(jwks);
  if (!read.ok) return [error(at, `is not a JSON Web Key Set: it ${read.why}`)];
  return read.keySet.keys.length === 0
    ? [
        warning(
          at,
          "has no key that can verify a signature, so every token is refused",
        ),
      ]
    : [];
}

function checkLocations(
  { fromHeaders, fromParams, fromCookies }: JwtRule,
  at: At,
): Problem[] {
  return [
    ...(fromHeaders ?? []).flatMap(({ name }, index) =>
      fault(matchNameFault(name), [...at, "fromHeaders", index, "name"]),
    ),
    ...duplicates(
      fromHeaders,
      ({ name, prefix = "" }) => `${name.toLowerCase()}: ${prefix}`,
      (index) => [...at, "fromHeaders", index],
      "the header",
    ),
    ...duplicates(
      fromParams,
      (name) => name,
      (index) => [...at, "fromParams", index],
      "the parameter",
    ),
    ...(fromCookies ?? []).flatMap((name, index) =>
      /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)
        ? []
        : [error([...at, "fromCookies", index], "is not a name of a cookie")],
    ),
  ];
}

function checkOutputs(
  { outputPayloadToHeader: payload, outputClaimToHeaders: claims }: JwtRule,
  at: At,
): Problem[] {
  const outputs = [
    ...(payload === undefined
      ? []
      : [{ name: payload, path: [...at, "outputPayloadToHeader"] }]),
    ...(claims ?? []).map(({ header }, index) => ({
      name: header,
      path: [...at, "outputClaimToHeaders", index, "header"],
    })),
  ];
  return [
    ...outputs.flatMap(({ name, path }) => fault(outputFault(name), path)),
    ...duplicates(
      outputs,
      ({ name }) => name.toLowerCase(),
      (index) => outputs[index]?.path ?? at,
      "the header",
    ),
  ];
}

function outputFault(name: string): string | undefined {
  const lower = name.toLowerCase();
  return lower === "cookie" || lower === "authorization"
    ? `${lower} is the caller's credential: choose another header`
    : filterNameFault(lower)?.replace(
        "a header filter",
        "a RequestAuthentication",
      );
}

function checkTimeout({ timeout }: JwtRule, at: At): Problem[] {
  if (timeout === undefined) return [];
  const ms = durationOf(timeout);
  return ms > 0 && ms <= LONGEST_TIMEOUT
    ? []
    : [
        error(
          [...at, "timeout"],
          `must be from 1ms to ${formatDuration(LONGEST_TIMEOUT)}, not ${timeout}`,
        ),
      ];
}
