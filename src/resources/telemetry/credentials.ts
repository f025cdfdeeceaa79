/** Which headers and variables may hold a credential, by their names: none of them gets into a span or a log. */

/** Headers of RFC 9110, of cookies, and of proxies that name the caller. */
const HEADERS: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "authentication-info",
  "proxy-authentication-info",
  "cookie",
  "set-cookie",
  "x-forwarded-client-cert",
  "x-amzn-oidc-data",
  "x-goog-iap-jwt-assertion",
]);

/** Parts of a name, between its dashes, dots and underscores. */
const PARTS: ReadonlySet<string> = new Set(
  "assertion auth authorization bearer cookie cookies credential credentials jwt key keys passphrase passwd password private pwd secret secrets session sid signature token tokens".split(
    " ",
  ),
);

/** Why a header of that name may not be read for a span or a log; undefined where it may. */
export function headerFault(name: string): string | undefined {
  const lower = name.toLowerCase();
  // A caller may write either; some applications take them for the same.
  const dashed = lower.replaceAll("_", "-");
  if (dashed.startsWith("x-wherry-"))
    return `${lower} is the mesh's own, and goes into no span and no log`;
  return HEADERS.has(dashed) || holdsCredential(lower)
    ? `${lower} may hold a credential, and goes into no span and no log`
    : undefined;
}

/** The same of a variable of the sidecar's environment. */
export function variableFault(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (lower.startsWith("wherry_") || lower.startsWith("otel_"))
    return `${name} is one of the sidecar's own settings, and goes into no span and no log`;
  return holdsCredential(lower)
    ? `${name} may hold a credential, and goes into no span and no log`
    : undefined;
}

function holdsCredential(lower: string): boolean {
  return (
    lower.split(/[^a-z0-9]+/).some((part) => PARTS.has(part)) ||
    /token|secret|passw|credential|api.?key/.test(lower)
  );
}
