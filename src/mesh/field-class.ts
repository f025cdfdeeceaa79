/** What the name of a header field says of it, to the codecs and to policies: a table of names, as bits. */
import { memo } from "../core/memo.ts";

/** Bits of a field's name, so that validation and forwarding are a test on an integer. */
export const FieldClass = {
  /** Means something to one connection only; never crosses the proxy (RFC 9110 7.6.1, RFC 9113 8.2.2). */
  CONNECTION: 1,
  /** Decides where a message ends: content-length, transfer-encoding, host. The codecs alone read and write these. */
  FRAMING: 2,
  /** Credentials and cookies: never interned, never indexed by HPACK. */
  SENSITIVE: 4,
  /** Claims an identity or steers the mesh; removed from whatever an application or a stranger sends (law 5). */
  MESH: 8,
  /** Trace context, in W3C's form or B3's. */
  TRACE: 16,
  /** A trailer section may not have it (RFC 9110 6.5.1). */
  NO_TRAILER: 32,
  /** Says where a request comes from, or what it once asked for: only where the sender can be held to it (`proxy/exchange/forwarded.ts`). */
  FORWARDED: 64,
  /** Claims an identity, beside MESH: no caller of any kind may, and no policy sees it (law 5). */
  IDENTITY: 128,
} as const;

const { CONNECTION, FRAMING, SENSITIVE, MESH, TRACE, NO_TRAILER } = FieldClass;
const { FORWARDED, IDENTITY } = FieldClass;

const CLASSES: ReadonlyMap<string, number> = new Map([
  ["connection", CONNECTION | NO_TRAILER],
  ["keep-alive", CONNECTION | NO_TRAILER],
  ["proxy-connection", CONNECTION | NO_TRAILER],
  ["upgrade", CONNECTION | NO_TRAILER],
  ["http2-settings", CONNECTION | NO_TRAILER],
  ["te", CONNECTION | NO_TRAILER],
  ["transfer-encoding", CONNECTION | FRAMING | NO_TRAILER],
  ["content-length", FRAMING | NO_TRAILER],
  ["host", FRAMING | NO_TRAILER],
  ["trailer", NO_TRAILER],
  ["content-encoding", NO_TRAILER],
  ["content-type", NO_TRAILER],
  ["content-range", NO_TRAILER],
  ["cache-control", NO_TRAILER],
  ["expect", NO_TRAILER],
  ["max-forwards", NO_TRAILER],
  ["range", NO_TRAILER],
  ["authorization", SENSITIVE | NO_TRAILER],
  ["proxy-authorization", SENSITIVE | NO_TRAILER],
  ["proxy-authenticate", NO_TRAILER],
  ["www-authenticate", NO_TRAILER],
  ["cookie", SENSITIVE | NO_TRAILER],
  ["set-cookie", SENSITIVE | NO_TRAILER],
  ["x-api-key", SENSITIVE],
  ["x-forwarded-client-cert", MESH | IDENTITY | NO_TRAILER],
  ["traceparent", TRACE],
  ["tracestate", TRACE],
  ["b3", TRACE],
  ["x-b3-traceid", TRACE],
  ["x-b3-spanid", TRACE],
  ["x-b3-parentspanid", TRACE],
  ["x-b3-sampled", TRACE],
  ["x-b3-flags", TRACE],
  ...[
    ...["forwarded", "x-forwarded", "x-real-ip", "x-client-ip", "client-ip"],
    ...["x-cluster-client-ip", "x-remote-ip", "x-remote-addr"],
    // What the large networks in front of a site say of its visitors.
    ...["true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6"],
    ...["fastly-client-ip", "x-azure-clientip", "x-azure-socketip"],
    ...["x-appengine-user-ip", "x-originating-ip"],
    // What a proxy says that the connection to it was, and whose certificate it saw (RFC 9440).
    ...["x-scheme", "x-url-scheme", "front-end-https"],
    ...["client-cert", "client-cert-chain"],
    // To some frameworks the path: policy has judged another one.
    ...["x-rewrite-url"],
  ].map((name) => [name, FORWARDED | NO_TRAILER] as const),
]);

const DESCRIBES_BODY: ReadonlySet<string> = new Set([
  ...["content-type", "content-encoding", "content-language"],
]);

/** The rest of them: `x-forwarded-for`, `-host`, `-user` …, `x-original-url`, `x-original-forwarded-for` …, and Envoy's own. */
const FORWARDED_PREFIXES = ["x-forwarded-", "x-original-"];
const ENVOY = "x-envoy-";

/** What people call fields that carry a credential, beside those that everybody knows: `x-auth-token`, `x-amz-security-token`, `api-key`. */
const CREDENTIAL =
  /auth(?!or$|ority|entic)|token|secret|passw|passphrase|credential|api-?key|session|cookie|jwt|signature|private-key|access-key/;

/** The class bits of a lower-case name. Every `x-wherry-` name is the mesh's own. */
export function classOf(name: string): number {
  return CLASSES.get(name) ?? classOfUnknown(name);
}

const classOfUnknown: (name: string) => number = memo((name) => {
  if (name.startsWith("x-wherry-")) return MESH | NO_TRAILER;
  const credential = CREDENTIAL.test(name) ? SENSITIVE : 0;
  if (FORWARDED_PREFIXES.some((prefix) => name.startsWith(prefix)))
    return credential | FORWARDED | NO_TRAILER;
  if (name.startsWith(ENVOY)) return credential | FORWARDED;
  const spelled = dashed(name);
  return credential | (spelled === name ? 0 : classOf(spelled) & FORWARDED);
});

/** Whether a lower-case name says how the body beside it is to be read (RFC 9110 8.3 to 8.5): it goes where that body goes. */
export function describesBody(name: string): boolean {
  return DESCRIBES_BODY.has(name);
}

/**
 * The one spelling of names that are one name to some recipients: CGI and WSGI make the same variable of "-" and "_" (RFC 3875 4.1.18), and PHP
 * of "." besides.
 */
export function dashed(name: string): string {
  return name.includes("_") || name.includes(".")
    ? name.replaceAll(/[_.]/g, "-")
    : name;
}

/**
 * Whether a lower-case name is that of a framing or mesh field to a recipient that takes "_" or "." for "-": `content_length` frames a
 * message for it, and `x_forwarded_client_cert` is an identity that nobody removed.
 */
export function isLookalike(name: string): boolean {
  const spelled = dashed(name);
  return spelled !== name && (classOf(spelled) & (FRAMING | MESH)) !== 0;
}
