/** Where a rewritten request goes and where a redirected one is sent: HTTPRoute's URLRewrite and RequestRedirect, compiled. */
import {
  DEFAULT_REDIRECT,
  type PathModifier,
  type RequestRedirect,
  type URLRewrite,
} from "../../resources/route-filters/schema.ts";

/** The new path, or the new beginning of it. */
export type PathRewrite =
  | { readonly kind: "whole"; readonly path: string }
  | {
      readonly kind: "prefix";
      /** Characters of the matched prefix, without its final slash. */
      readonly length: number;
      /** Without its final slash. */
      readonly replacement: string;
    };

export interface UrlRewrite {
  /** The new Host. */
  readonly host: string | undefined;
  readonly path: PathRewrite | undefined;
}

export interface Redirect {
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly scheme: "http" | "https" | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly path: PathRewrite | undefined;
}

/** What a redirect reads of a request. */
export interface RedirectedRequest {
  readonly scheme: string;
  /** Lower-case, without port. */
  readonly host: string;
  /** As the caller gave it, with its port if it had one. */
  readonly authority: string;
  /** Normalised, without query. */
  readonly path: string;
  /** Path and query, to forward. */
  readonly target: string;
}

/** `prefix` is the value of the rule's one PathPrefix match. */
export function compileRewrite(
  rewrite: URLRewrite,
  prefix: string,
): UrlRewrite {
  return {
    host: rewrite.hostname,
    path: compilePath(rewrite.path, prefix),
  };
}

export function compileRedirect(
  redirect: RequestRedirect,
  prefix: string,
): Redirect {
  return {
    status: redirect.statusCode ?? DEFAULT_REDIRECT,
    scheme: redirect.scheme,
    host: redirect.hostname,
    port: redirect.port,
    path: compilePath(redirect.path, prefix),
  };
}

function compilePath(
  modifier: PathModifier | undefined,
  prefix: string,
): PathRewrite | undefined {
  if (modifier === undefined) return undefined;
  if (modifier.type === "ReplaceFullPath")
    return { kind: "whole", path: modifier.replaceFullPath ?? "/" };
  return {
    kind: "prefix",
    length: withoutSlash(prefix).length,
    replacement: withoutSlash(modifier.replacePrefixMatch ?? ""),
  };
}

/** A final slash has no meaning in a prefix. */
function withoutSlash(prefix: string): string {
  return prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
}

/**
 * The path and query to forward. `path` is the normalised path that matched, `target` the same with its query. What comes out is
 * normalised again: both parts are, and between them stands one slash.
 */
export function rewriteTarget(
  rewrite: PathRewrite | undefined,
  path: string,
  target: string,
): string {
  // OPTIONS of the whole server has no path to change.
  if (rewrite === undefined || !path.startsWith("/")) return target;
  const query = target.slice(path.length);
  if (rewrite.kind === "whole") return rewrite.path + query;
  const changed = rewrite.replacement + path.slice(rewrite.length);
  return (changed === "" ? "/" : changed) + query;
}

const WELL_KNOWN: Readonly<Record<string, number>> = { http: 80, https: 443 };

/**
 * The value of `Location`: absolute, for a relative one could not say another host. `listener` is the port that was called: in a mesh
 * the Service's. The port stands there only where the scheme does not imply it (Gateway API, HTTPRequestRedirectFilter.port).
 */
export function locationOf(
  redirect: Redirect,
  request: RedirectedRequest,
  listener: number,
): string {
  const scheme = redirect.scheme ?? request.scheme;
  const called = /:([0-9]{1,5})$/.exec(request.authority)?.[1];
  const port =
    redirect.port ??
    (redirect.scheme === undefined
      ? Number(called ?? listener)
      : (WELL_KNOWN[redirect.scheme] ?? listener));
  const suffix = port === WELL_KNOWN[scheme] ? "" : `:${port}`;
  const target = rewriteTarget(redirect.path, request.path, request.target);
  const host = redirect.host ?? request.host;
  // HTTP/1.0 without Host: nothing but the path is known.
  if (host === "") return target;
  return `${scheme}://${host}${suffix}${target.startsWith("/") ? target : "/"}`;
}
