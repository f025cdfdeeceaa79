/** What is wrong with one value of an AuthorizationPolicy: one that could never match is a hole in a DENY. */
import { canonicalAuthority } from "../../core/text/authority.ts";
import { METHODS } from "../../core/text/methods.ts";
import { canonicalRange } from "../../core/text/network.ts";
import { quote } from "../problems.ts";
import type { ConditionKey } from "./conditions.ts";

/** What is wrong with one value of a list, if anything. */
export type Judge = (value: string) => string | undefined;

/** By the field whose values they are, without its "not". */
export const JUDGES: Readonly<Record<string, Judge>> = {
  principals: judgePrincipal,
  requestPrincipals: judgeRequestPrincipal,
  namespaces: judgeNamespace,
  trustDomains: judgeTrustDomain,
  ipBlocks: judgeRange,
  remoteIpBlocks: judgeRange,
  methods: judgeMethod,
  paths: judgePath,
  hosts: judgeHost,
  ports: judgePort,
};

/** By the key of a condition. */
export const CONDITION_JUDGES: Readonly<
  Record<ConditionKey, Judge | undefined>
> = {
  "source.ip": judgeRange,
  "remote.ip": judgeRange,
  "destination.ip": judgeRange,
  "source.namespace": judgeNamespace,
  "source.principal": judgePrincipal,
  "source.serviceAccount": judgeAccount,
  "source.trustDomain": judgeTrustDomain,
  "destination.port": judgePort,
  "connection.sni": judgeServerName,
  "request.auth.principal": judgeRequestPrincipal,
  "request.auth.audiences": undefined,
  "request.auth.presenter": undefined,
};

/** A star stands first or last; elsewhere, or twice, it would be taken for a letter and match nothing that was meant. */
export function judgeWildcard(
  subject: string,
  value: string,
): string | undefined {
  if (value === "*") return undefined;
  const stars = value.split("*").length - 1;
  if (subject === "paths" && value.includes("{")) return undefined;
  if (stars === 0) return undefined;
  if (subject === "hosts" && value.endsWith(":*"))
    return judgeWildcard(subject, value.slice(0, -2));
  if (stars === 1 && (value.startsWith("*") || value.endsWith("*")))
    return undefined;
  const advice = subject === "paths" ? "; use {*} for one path element" : "";
  return `may have one "*", at its start or at its end${advice}`;
}

/** Whether the text is the value, or begins or ends as its star says. */
export function fits(text: string, value: string): boolean {
  if (value.startsWith("*")) return text.endsWith(value.slice(1));
  return value.endsWith("*")
    ? text.startsWith(value.slice(0, -1))
    : text === value;
}

function isPattern(value: string): boolean {
  return value.includes("*");
}

/** The name of an identity, or a pattern for names of some. */
export function judgePrincipal(value: string): string | undefined {
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

/** A principal has a slash between issuer and subject, and both are there. */
function judgeRequestPrincipal(value: string): string | undefined {
  return value.includes("/") || value.includes("*")
    ? undefined
    : "is not a request principal such as ISSUER/SUBJECT, so it could match nobody";
}

function judgeNamespace(value: string): string | undefined {
  return /^[-a-z0-9*]+$/.test(value)
    ? undefined
    : "is not the name of a namespace";
}

function judgeTrustDomain(value: string): string | undefined {
  return /^[-a-z0-9._*]+$/.test(value) ? undefined : "is not a trust domain";
}

/** A service account, in a source and in a condition. */
export const ACCOUNT = {
  pattern: "^([-a-z0-9]{1,63}/)?[A-Za-z0-9._-]{1,253}$",
  expected:
    "a service account as NAMESPACE/ACCOUNT or ACCOUNT, without wildcards",
} as const;
const ACCOUNT_FORM = new RegExp(ACCOUNT.pattern);

function judgeAccount(value: string): string | undefined {
  return ACCOUNT_FORM.test(value) ? undefined : `is not ${ACCOUNT.expected}`;
}

function judgeRange(value: string): string | undefined {
  return canonicalRange(value) === undefined
    ? 'is not an IP address or a CIDR range such as "10.0.0.0/8"'
    : undefined;
}

function judgePort(value: string): string | undefined {
  return /^[1-9][0-9]{0,4}$/.test(value) && Number(value) <= 65_535
    ? undefined
    : "is not a port number";
}

function judgeMethod(value: string): string | undefined {
  if (!/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(value)) return "is not a method";
  if (value !== value.toUpperCase())
    return `could match nothing: methods are compared with regard to case; write ${value.toUpperCase()}`;
  return METHODS.some((method) => fits(method, value))
    ? undefined
    : `could match nothing: a request with such a method is refused with 501; expected one of ${METHODS.join(", ")}`;
}

function judgeHost(written: string): string | undefined {
  // "name:*" is the name with any port, which is what a name alone says here.
  const value = written.replace(/:\*$/, "");
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

/** TLS names a host by its name, never by an address or with a port (RFC 6066 3). */
function judgeServerName(value: string): string | undefined {
  if (value.includes(":") || /^[0-9.]+$/.test(value))
    return "could match nothing: TLS names hosts by their names alone, without ports";
  return judgeHost(value);
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

/** Elements that are "{*}", one "{**}" after them, or text without braces and stars. */
function judgeTemplate(value: string): string | undefined {
  if (!value.startsWith("/"))
    return 'is a path template and must start with "/"';
  const elements = value.slice(1).split("/");
  let isOpen = false;
  for (const element of elements) {
    if (element !== "{*}" && element !== "{**}" && /[{}*]/.test(element))
      return `is a path template, whose elements are text, "{*}" or "{**}"; ${quote(element)} is none of these`;
    if (isOpen && element.startsWith("{"))
      return `may have only text after "{**}", and has ${quote(element)}`;
    isOpen ||= element === "{**}";
  }
  return undefined;
}
