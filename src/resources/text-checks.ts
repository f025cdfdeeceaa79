/** Checks of texts that several kinds hold: regular expressions, path values, header names that policy may not touch. */
import { RE2JS } from "re2js";
import { hostOf } from "../core/text/authority.ts";
import { baseFault, baseOf, isWildcard } from "../core/text/wildcards.ts";
import { messageOf } from "../core/errors.ts";

/** Why the text is not a regular expression that runs in linear time (RE2); undefined where it is one. */
export function regexFault(text: string): string | undefined {
  try {
    RE2JS.compile(text);
    return undefined;
  } catch (thrown) {
    const reason = messageOf(thrown).replace("error parsing regexp: ", "");
    return `is not a regular expression of RE2 (no look-around, no back-references): ${reason}`;
  }
}

const PATH = /^(?:[-A-Za-z0-9._~!$&'()*+,;=:@/]|%[0-9a-fA-F]{2})+$/;

/** Why no normalised path can equal or start with the value (Gateway API's rules, trap 7). */
export function pathFault(value: string): string | undefined {
  if (!value.startsWith("/")) return 'must start with "/"';
  const query = value.search(/[?#]/);
  if (query >= 0)
    return `must not contain "${value.charAt(query)}": only the path is compared, without query and fragment`;
  const never = neverSurvives(value);
  if (never !== undefined) return never;
  if (!PATH.test(value))
    return "may hold only what RFC 3986 allows in a path; write anything else percent-encoded";
  return undefined;
}

/** What normalisation takes out of a path, so that a value with it could never match. */
export function neverSurvives(value: string): string | undefined {
  if (value.includes("//")) return 'must not contain "//"';
  if (/(^|\/)\.\.?(\/|$)/.test(value))
    return 'must not contain the elements "." or ".."';
  const slash = /%2f|%5c/i.exec(value);
  if (slash !== null)
    return `must not contain "${slash[0]}": an encoded slash is not told apart from a slash by every application`;
  return undefined;
}

/** The percent-encoding of an unreserved character, which normalisation decodes (all modes but NONE). */
export function needlessEncoding(value: string): string | undefined {
  for (const [encoded] of value.matchAll(/%[0-9a-fA-F]{2}/g))
    if (/[-A-Za-z0-9._~]/.test(decodeOctet(encoded))) return encoded;
  return undefined;
}

function decodeOctet(encoded: string): string {
  return String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
}

/**
 * Why the host can be that of no external Service, whatever the mesh holds. Single labels and what ends in `.svc` are names of
 * the mesh's own Services; a name that ends in a number is an address to a resolver (URL standard, "ends in a number").
 */
export function hostFault(host: string): string | undefined {
  if (isWildcard(host))
    return baseFault(baseOf(host)) ?? hostFault(`any.${baseOf(host)}`);
  const labels = host.split(".");
  const last = labels.at(-1) ?? "";
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/i.test(last))
    return "is an IP address or looks like one: use a DNS name, and resolution: STATIC with endpoints for its addresses";
  if (labels.length < 2)
    return "is a single label, which names a Service of the caller's namespace: expected a full name such as api.example.com";
  if (last === "svc" || host.endsWith(".svc.cluster.local"))
    return "has the form of a Service's own name (NAME.NAMESPACE.svc): expected a name outside the mesh";
  return undefined;
}

/** Fields that belong to one connection or to the framing: gone before policy looks. */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

function isOfMesh(name: string): boolean {
  return name.startsWith("x-wherry-") || name === "x-forwarded-client-cert";
}

/** Why a filter may not set, add or remove the field. */
export function filterNameFault(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (lower === "host")
    return "host says where the request goes and may not be changed by a header filter";
  if (OF_CONNECTION.has(lower))
    return `${lower} frames the message or belongs to one connection and may not be changed by a header filter`;
  if (isOfMesh(lower))
    return `${lower} is the mesh's own and may not be changed by a header filter`;
  return undefined;
}

/** Why a match on the field would never be true. */
export function matchNameFault(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (OF_CONNECTION.has(lower) || isOfMesh(lower))
    return `${lower} is taken from the request before routing, so the match would never be true`;
  return undefined;
}

/** Why no request has the value as its host, as policy and routes see it: canonical and without port. */
export function hostMatchFault(value: string): string | undefined {
  const host = hostOf(value);
  if (host === value) return undefined;
  return host === ""
    ? `${JSON.stringify(value)} is not a host, so the match would never be true`
    : `${JSON.stringify(value)} would never match: the host is compared in lower case, without port and final dot; write ${JSON.stringify(host)}`;
}
