/** What the schema of AuthorizationPolicy cannot state: values that could never match, which in a DENY are a hole. */
import { canonicalAuthority } from "../../core/text/authority.ts";
import { METHODS } from "../../core/text/methods.ts";
import type { AuthorizationPolicyResource } from "./spec.ts";
import type { Problem } from "../kind.ts";
import { error, quote, warning } from "../problems.ts";
import { needlessEncoding, neverSurvives } from "../text-checks.ts";

/** What is wrong with one value of a list, if anything. */
type Judge = (value: string) => string | undefined;

const JUDGES: Readonly<Record<string, Judge>> = {
  principals: judgePrincipal,
  namespaces: judgeNamespace,
  methods: judgeMethod,
  paths: judgePath,
  hosts: judgeHost,
  ports: (value) =>
    Number(value) > 65_535 ? "is not a port number" : undefined,
};

export function checkAuthorizationPolicy({
  spec,
}: AuthorizationPolicyResource): Problem[] {
  const problems: Problem[] = [];
  if (spec.action === "DENY" && spec.rules === undefined)
    problems.push(
      warning(
        ["spec", "rules"],
        "is absent, so this DENY matches no request and has no effect; write rules: [{}] to deny every request",
      ),
    );
  for (const [index, rule] of (spec.rules ?? []).entries()) {
    const at = ["spec", "rules", index];
    for (const [entry, { source }] of (rule.from ?? []).entries())
      problems.push(...checkLists(source, [...at, "from", entry, "source"]));
    for (const [entry, { operation }] of (rule.to ?? []).entries())
      problems.push(
        ...checkLists(operation, [...at, "to", entry, "operation"]),
      );
  }
  return problems;
}

function checkLists(
  lists: object,
  at: readonly (string | number)[],
): Problem[] {
  const problems: Problem[] = [];
  for (const [field, values] of Object.entries(lists) as [string, string[]][]) {
    const subject = field.startsWith("not")
      ? field.charAt(3).toLowerCase() + field.slice(4)
      : field;
    const judge = JUDGES[subject];
    for (const [index, value] of values.entries()) {
      const path = [...at, field, index];
      const fault = judge?.(value) ?? judgeWildcard(subject, value);
      if (fault !== undefined)
        problems.push(error(path, `${quote(value)} ${fault}`));
      else if (subject === "paths") problems.push(...warnOfPath(value, path));
    }
  }
  return problems;
}

/** A star stands first or last; elsewhere, or twice, it would be taken for a letter and match nothing that was meant. */
function judgeWildcard(subject: string, value: string): string | undefined {
  if (value === "*") return undefined;
  const stars = value.split("*").length - 1;
  if (subject === "paths" && value.includes("{")) return undefined;
  if (stars === 0) return undefined;
  if (stars === 1 && (value.startsWith("*") || value.endsWith("*")))
    return undefined;
  const advice = subject === "paths" ? "; use {*} for one path element" : "";
  return `may have one "*", at its start or at its end${advice}`;
}

function isPattern(value: string): boolean {
  return value.includes("*");
}

function judgePrincipal(value: string): string | undefined {
  if (/^\*?spiffe:\/\//.test(value))
    return 'must be written without "spiffe://"';
  return canBePrincipal(value)
    ? undefined
    : "is not a principal such as cluster.local/ns/NAMESPACE/sa/ACCOUNT, or the beginning or end of one, so it could match nobody";
}

/** What the elements of a principal look like (`identity/spiffe.ts`). */
const ELEMENTS: readonly RegExp[] = [
  /^[a-z0-9._-]+$/,
  /^ns$/,
  /^[A-Za-z0-9._-]+$/,
  /^sa$/,
  /^[A-Za-z0-9._-]+$/,
];

/** Whether some identity of a mesh has the text as its name, its beginning ("abc*") or its end ("*abc"). */
function canBePrincipal(value: string): boolean {
  if (value === "*") return true;
  const atEnd = value.startsWith("*");
  const atStart = value.endsWith("*");
  // A star elsewhere, and a second one, are the wildcards' judge's.
  if ((atStart && atEnd) || value.slice(1, -1).includes("*")) return true;
  const elements = value.replaceAll("*", "").split("/");
  if (elements.length > ELEMENTS.length) return false;
  if (!atEnd && !atStart && elements.length < ELEMENTS.length) return false;
  return elements.every((element, index) => {
    const place = atEnd ? ELEMENTS.length - elements.length + index : index;
    const cut = atEnd ? index === 0 : atStart && index === elements.length - 1;
    const shape = ELEMENTS[place];
    if (shape === undefined) return false;
    if (!cut) return shape.test(element);
    if (element === "") return true;
    const word = place === 1 ? "ns" : place === 3 ? "sa" : undefined;
    if (word === undefined) return shape.test(element);
    return atEnd ? word.endsWith(element) : word.startsWith(element);
  });
}

function judgeNamespace(value: string): string | undefined {
  return /^[-a-z0-9*]+$/.test(value)
    ? undefined
    : "is not the name of a namespace";
}

function judgeMethod(value: string): string | undefined {
  if (!/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(value)) return "is not a method";
  if (value !== value.toUpperCase())
    return `could match nothing: methods are compared with regard to case; write ${value.toUpperCase()}`;
  const known = METHODS.some((method) =>
    value.startsWith("*")
      ? method.endsWith(value.slice(1))
      : value.endsWith("*")
        ? method.startsWith(value.slice(0, -1))
        : method === value,
  );
  return known
    ? undefined
    : `could match nothing: a request with such a method is refused with 501; expected one of ${METHODS.join(", ")}`;
}

function judgeHost(value: string): string | undefined {
  // Within brackets stands an IPv6 address.
  if (value.replace(/^\[[^\]]*\]/, "").includes(":"))
    return "has a port, which is not compared; use ports";
  if (!/^[-A-Za-z0-9._~*:[\]]+$/.test(value)) return "is not a host name";
  if (value.length > 1 && value.endsWith("."))
    return `could match nothing: hosts are compared without the final dot; write ${quote(value.slice(0, -1))}`;
  if (value.includes("..") || value.startsWith(".") || value === "*.")
    return "could match nothing: no host has an empty label";
  return isPattern(value) || canonicalAuthority(value) !== undefined
    ? undefined
    : "is not a host name";
}

function judgePath(value: string): string | undefined {
  const query = value.search(/[?#]/);
  if (query >= 0)
    return `has "${value.charAt(query)}", but only the path is compared, without query and fragment`;
  const foreign = /[^\x21-\x7e]/u.exec(value)?.[0];
  if (foreign !== undefined)
    return `could match nothing: paths are compared percent-encoded; write ${encodeURIComponent(foreign)} for ${quote(foreign)}`;
  if (/[{}]/.test(value)) return judgeTemplate(value);
  return value.startsWith("/") || value.startsWith("*")
    ? undefined
    : 'must start with "/" or "*"';
}

/** Elements that are "{*}", or last of all "{**}"; or text without braces and stars. */
function judgeTemplate(value: string): string | undefined {
  if (!value.startsWith("/"))
    return 'is a path template and must start with "/"';
  const elements = value.slice(1).split("/");
  for (const [index, element] of elements.entries()) {
    if (element === "{*}") continue;
    if (element === "{**}") {
      if (index === elements.length - 1) continue;
      return 'may have "{**}" only as its last element';
    }
    if (/[{}*]/.test(element))
      return `is a path template, whose elements are text, "{*}" or, at the end, "{**}"; ${quote(element)} is none of these`;
  }
  return undefined;
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
