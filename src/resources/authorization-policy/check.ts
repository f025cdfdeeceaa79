/** What the schema of AuthorizationPolicy cannot state: values that could never match, which in a DENY are a hole. */
import {
  claimPathOf,
  conditionKeyOf,
  CONDITION_KEYS,
  headerOf,
} from "./conditions.ts";
import type {
  AuthorizationCondition,
  AuthorizationPolicyResource,
  AuthorizationSource,
} from "./spec.ts";
import { DRY_RUN } from "./trial.ts";
import type { Problem } from "../kind.ts";
import { checkTargets } from "../policy-targets.ts";
import { error, quote, warning } from "../problems.ts";
import { HEADER_NAME } from "../schema-parts.ts";
import { didYouMean } from "../suggest.ts";
import { needlessEncoding, neverSurvives } from "../text-checks.ts";
import {
  CONDITION_JUDGES,
  judgeWildcard,
  JUDGES,
  type Judge,
} from "./values.ts";

export function checkAuthorizationPolicy({
  metadata,
  spec,
}: AuthorizationPolicyResource): Problem[] {
  const problems: Problem[] = [
    ...checkTargets(spec),
    ...checkTrial(metadata, spec.action),
  ];
  if (spec.action === "AUDIT" && spec.rules === undefined)
    problems.push(
      warning(
        ["spec", "rules"],
        "is absent, so this AUDIT matches no request and has no effect; write rules: [{}] to log every request",
      ),
    );
  if (
    (spec.action === "DENY" || spec.action === "CUSTOM") &&
    spec.rules === undefined
  )
    problems.push(
      warning(
        ["spec", "rules"],
        `is absent, so this ${spec.action} matches no request and has no effect; write rules: [{}] to ${spec.action === "DENY" ? "deny" : "ask about"} every request`,
      ),
    );
  if (spec.action === "CUSTOM" && spec.provider === undefined)
    problems.push(
      error(
        ["spec", "provider"],
        "is required with action CUSTOM: it names what is asked",
      ),
    );
  if (spec.action !== "CUSTOM" && spec.provider !== undefined)
    problems.push(
      error(
        ["spec", "provider"],
        `must not stand beside action ${spec.action ?? "ALLOW"}: CUSTOM alone asks a provider`,
      ),
    );
  for (const [index, rule] of (spec.rules ?? []).entries()) {
    const at = ["spec", "rules", index];
    for (const [entry, { source }] of (rule.from ?? []).entries())
      problems.push(...checkSource(source, [...at, "from", entry, "source"]));
    for (const [entry, { operation }] of (rule.to ?? []).entries())
      problems.push(
        ...checkLists(operation, [...at, "to", entry, "operation"]),
      );
    for (const [entry, condition] of (rule.when ?? []).entries()) {
      const where = [...at, "when", entry];
      problems.push(...checkCondition(condition, where));
      if (spec.action === "DENY" || spec.action === "CUSTOM")
        problems.push(...warnOfNameless(condition, spec.action, where));
    }
  }
  return problems;
}

function checkTrial(
  { annotations }: AuthorizationPolicyResource["metadata"],
  action: string | undefined,
): Problem[] {
  const said = annotations?.[DRY_RUN];
  const at = ["metadata", "annotations", DRY_RUN];
  if (said === undefined || said === "false") return [];
  if (said !== "true")
    return [
      error(at, `invalid value ${quote(said)}: expected "true" or "false"`),
    ];
  if (action === undefined || action === "ALLOW" || action === "DENY")
    return [];
  return action === "AUDIT"
    ? [warning(at, "has no effect on an AUDIT, which refuses nothing anyway")]
    : [error(at, `is for the actions ALLOW and DENY, not for ${action}`)];
}

type At = readonly (string | number)[];

/** An account is a namespace and a name in it: beside lists of these it says the same twice, or nothing (Istio refuses it too). */
function checkSource(source: AuthorizationSource, at: At): Problem[] {
  const problems = checkLists(source, at);
  const accounts = ["serviceAccounts", "notServiceAccounts"].find((name) =>
    Object.hasOwn(source, name),
  );
  const other = [
    "principals",
    "notPrincipals",
    "namespaces",
    "notNamespaces",
  ].find((name) => Object.hasOwn(source, name));
  if (accounts !== undefined && other !== undefined)
    problems.push(
      error(
        [...at, accounts],
        `must not stand beside ${other}; write either of them, or two sources`,
      ),
    );
  return problems;
}

function checkLists(lists: object, at: At): Problem[] {
  const problems: Problem[] = [];
  for (const [field, values] of Object.entries(lists) as [string, string[]][]) {
    const subject = field.startsWith("not")
      ? field.charAt(3).toLowerCase() + field.slice(4)
      : field;
    problems.push(
      ...checkValues(values, subject, JUDGES[subject], [...at, field]),
    );
  }
  return problems;
}

function checkValues(
  values: readonly string[],
  subject: string,
  judge: Judge | undefined,
  at: At,
): Problem[] {
  const problems: Problem[] = [];
  for (const [index, value] of values.entries()) {
    const path = [...at, index];
    const fault = judge?.(value) ?? judgeWildcard(subject, value);
    if (fault !== undefined)
      problems.push(error(path, `${quote(value)} ${fault}`));
    else if (subject === "paths") problems.push(...warnOfPath(value, path));
  }
  return problems;
}

const FIELD_NAME = new RegExp(HEADER_NAME.pattern);

/** Conditions of Istio that this version does not have. */
const UNSUPPORTED = /^experimental\./;

function checkCondition(condition: AuthorizationCondition, at: At): Problem[] {
  const { key, values, notValues } = condition;
  const problems: Problem[] = [];
  const fault = faultOfKey(key);
  if (fault !== undefined)
    problems.push(error([...at, "key"], `${quote(key)} ${fault}`));
  if (values === undefined && notValues === undefined)
    problems.push(error(at, "must have values or notValues"));
  if (fault !== undefined) return problems;
  const known = conditionKeyOf(key);
  const judge = known && CONDITION_JUDGES[known];
  for (const field of ["values", "notValues"] as const)
    problems.push(
      ...checkValues(condition[field] ?? [], key, judge, [...at, field]),
    );
  return problems;
}

/** Callers choose whether TLS names a host, and the sidecars of a mesh name none. */
function warnOfNameless(
  { key, values }: AuthorizationCondition,
  action: "DENY" | "CUSTOM",
  at: At,
): Problem[] {
  return key === "connection.sni" && values !== undefined
    ? [
        warning(
          [...at, "values"],
          `a connection that names no host matches none of these, and sidecars name none: the ${action} does not act on it; write notValues, or an ALLOW`,
        ),
      ]
    : [];
}

function faultOfKey(key: string): string | undefined {
  if (conditionKeyOf(key) !== undefined || claimPathOf(key) !== undefined)
    return undefined;
  const header = headerOf(key);
  if (header?.startsWith(":") === true)
    return "is not a header; write hosts, methods or paths in an operation";
  if (header !== undefined)
    return FIELD_NAME.test(header)
      ? undefined
      : "has no header name in its brackets";
  if (UNSUPPORTED.test(key)) return "is not supported by this version";
  const keys = [
    "request.headers[NAME]",
    "request.auth.claims[NAME]",
    ...CONDITION_KEYS,
  ];
  return `is not a key of a condition${didYouMean(key, keys)}; expected one of ${keys.join(", ")}`;
}

function warnOfPath(
  value: string,
  path: readonly (string | number)[],
): Problem[] {
  const escaped = needlessEncoding(value) ?? /["<>^`\\]/.exec(value)?.[0];
  const reason =
    neverSurvives(value) ??
    (escaped === undefined ? undefined : `must not contain ${quote(escaped)}`);
  return reason === undefined
    ? []
    : [
        warning(
          path,
          `${quote(value)} ${reason} where paths are normalised: it would match nothing unless the Mesh's pathNormalization leaves that in`,
        ),
      ];
}
