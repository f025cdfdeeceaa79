/** URLRewrite and RequestRedirect by Gateway API's HTTPPathModifier and HTTPRequestRedirectFilter. */
import t from "tap";
import { normalisePath } from "../../../src/policy/path.ts";
import {
  compileRedirect,
  compileRewrite,
  locationOf,
  rewriteTarget,
} from "../../../src/policy/routing/url-rewrite.ts";
import type { RequestRedirect } from "../../../src/resources/route-filters/schema.ts";

function replaced(prefix: string, replacement: string, target: string): string {
  const { path } = compileRewrite(
    { path: { type: "ReplacePrefixMatch", replacePrefixMatch: replacement } },
    prefix,
  );
  const [before = ""] = target.split("?");
  return rewriteTarget(path, before, target);
}

/** Request, prefix, replacement, result: the table of HTTPPathModifier.replacePrefixMatch, and what follows from it. */
const PREFIXES: readonly (readonly [string, string, string, string])[] = [
  ["/foo/bar", "/foo", "/xyz", "/xyz/bar"],
  ["/foo/bar", "/foo", "/xyz/", "/xyz/bar"],
  ["/foo/bar", "/foo/", "/xyz", "/xyz/bar"],
  ["/foo/bar", "/foo/", "/xyz/", "/xyz/bar"],
  ["/foo", "/foo", "/xyz", "/xyz"],
  ["/foo/", "/foo", "/xyz", "/xyz/"],
  ["/foo/bar", "/foo", "", "/bar"],
  ["/foo/", "/foo", "", "/"],
  ["/foo", "/foo", "", "/"],
  ["/foo/", "/foo", "/", "/"],
  ["/foo", "/foo", "/", "/"],
  ["/foo/bar", "/", "/xyz", "/xyz/foo/bar"],
  ["/", "/", "/xyz", "/xyz/"],
  ["/foo/bar?a=/b/../c?d", "/foo", "/xyz", "/xyz/bar?a=/b/../c?d"],
  ["/foo?", "/foo", "", "/?"],
];

void t.test("ReplacePrefixMatch follows Gateway API's table", (t) => {
  for (const [request, prefix, replacement, result] of PREFIXES) {
    const target = replaced(prefix, replacement, request);
    t.equal(target, result, `${request}: ${prefix} → "${replacement}"`);
    const again = normalisePath(target, "MERGE_SLASHES");
    t.match(again, { ok: true, target }, "law 6: it is normalised still");
  }
  t.end();
});

void t.test(
  "ReplaceFullPath takes the place of the path, not of the query",
  (t) => {
    const { path, host } = compileRewrite(
      {
        hostname: "one.example",
        path: { type: "ReplaceFullPath", replaceFullPath: "/x" },
      },
      "/",
    );
    t.equal(rewriteTarget(path, "/a/b", "/a/b?c=d"), "/x?c=d");
    t.equal(rewriteTarget(path, "/a/b", "/a/b"), "/x");
    t.equal(host, "one.example");
    t.end();
  },
);

void t.test("OPTIONS of the whole server has no path to rewrite", (t) => {
  const { path } = compileRewrite(
    { path: { type: "ReplaceFullPath", replaceFullPath: "/x" } },
    "/",
  );
  t.equal(rewriteTarget(path, "*", "*"), "*");
  t.equal(rewriteTarget(undefined, "/a", "/a?b"), "/a?b");
  t.end();
});

/** Filter, authority, Location; the request is for /a/b?c under the prefix /a, to port 8080 of the Service. */
const REDIRECTS: readonly (readonly [RequestRedirect, string, string])[] = [
  [{ hostname: "other" }, "orders.shop:8080", "http://other:8080/a/b?c"],
  // "If redirect scheme is empty, the redirect port MUST be the Gateway Listener port."
  [{ hostname: "other" }, "orders.shop", "http://other:8080/a/b?c"],
  // "SHOULD NOT add the port number": HTTP and 80, HTTPS and 443.
  [{ statusCode: 301 }, "orders.shop:80", "http://orders.shop/a/b?c"],
  // "If redirect scheme is not-empty, the redirect port MUST be the well-known port".
  [{ scheme: "https" }, "orders.shop:8080", "https://orders.shop/a/b?c"],
  [{ scheme: "http" }, "orders.shop:8080", "http://orders.shop/a/b?c"],
  [
    { scheme: "https", port: 8443 },
    "orders.shop",
    "https://orders.shop:8443/a/b?c",
  ],
  [{ port: 80 }, "orders.shop:8080", "http://orders.shop/a/b?c"],
  [{ port: 443 }, "orders.shop", "http://orders.shop:443/a/b?c"],
  [
    { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/new" } },
    "orders.shop:80",
    "http://orders.shop/new/b?c",
  ],
  [
    { path: { type: "ReplaceFullPath", replaceFullPath: "/new" } },
    "[::1]:9000",
    "http://[::1]:9000/new?c",
  ],
  // HTTP/1.0 without Host.
  [{ statusCode: 302 }, "", "/a/b?c"],
];

void t.test("Location follows the rules of HTTPRequestRedirectFilter", (t) => {
  for (const [filter, authority, location] of REDIRECTS) {
    const request = {
      scheme: "http",
      host: authority.replace(/:[0-9]+$/, ""),
      authority,
      path: "/a/b",
      target: "/a/b?c",
    };
    t.equal(
      locationOf(compileRedirect(filter, "/a"), request, 8080),
      location,
      `${JSON.stringify(filter)} of ${authority}`,
    );
  }
  t.equal(compileRedirect({ port: 1 }, "/").status, 302, "by default");
  t.equal(compileRedirect({ statusCode: 308 }, "/").status, 308);
  t.end();
});
