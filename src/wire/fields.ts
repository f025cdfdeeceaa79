/**
 * Header fields as both codecs share them: one immutable object a field, with what must be known of its name computed once.
 *
 * Interning keeps the cost of a repeated field at one map look-up: the object remembers its encodings for both protocols.
 * Credentials and cookies are never interned: the cache outlives the request.
 */
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

/** How HPACK is to represent the field: the sender's choice is mirrored when it is passed on (RFC 7541 6.2). */
export type Indexing = "incremental" | "without" | "never";

export interface Field {
  /** Lower-case. */
  readonly name: string;
  /** Without leading or trailing white space; latin-1, one character a byte. */
  readonly value: string;
  /** Bits of `FieldClass`. */
  readonly bits: number;
  readonly indexing: Indexing;
  /** The line "name: value\r\n" for HTTP/1, made at first use. */
  line: string | undefined;
  /** The HPACK literal (name and value, without the first byte that says how it is indexed), made at first use. */
  literal: Buffer | undefined;
}

export type Fields = readonly Field[];

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
  // CGI and WSGI make the same variable of both (RFC 3875 4.1.18).
  const dashed = name.includes("_") ? classOf(name.replaceAll("_", "-")) : 0;
  return credential | (dashed & FORWARDED);
});

/**
 * Whether a field may be kept beyond its request, in a cache that all callers share. Credentials may not; nor may a value with a
 * query in it (a path, a Referer, a Location), since tokens travel there too (RFC 6750 2.3).
 */
export function mayOutlive(bits: number, value: string): boolean {
  return (bits & SENSITIVE) === 0 && !value.includes("?");
}

/**
 * Whether a lower-case name is that of a framing or mesh field to a recipient that takes "_" for "-", as CGI's meta-variables
 * do (RFC 3875 4.1.18): `content_length` frames a message for it, and `x_forwarded_client_cert` is an identity that nobody removed.
 */
export function isLookalike(name: string): boolean {
  return (
    name.includes("_") &&
    (classOf(name.replaceAll("_", "-")) & (FRAMING | MESH)) !== 0
  );
}

/** A field that is not shared with other messages. `name` must be lower-case and both must be valid (RFC 9110 5.5, 5.6.2). */
export function makeField(
  name: string,
  value: string,
  indexing?: Indexing,
): Field {
  return makeFieldOf(name, classOf(name), value, indexing);
}

/** As `makeField`, of a name whose class bits are known. */
export function makeFieldOf(
  name: string,
  bits: number,
  value: string,
  indexing?: Indexing,
): Field {
  return {
    name,
    value,
    bits,
    indexing: indexing ?? ((bits & SENSITIVE) !== 0 ? "never" : "incremental"),
    line: undefined,
    literal: undefined,
  };
}

/** The value of the first field of that lower-case name. */
export function fieldValue(fields: Fields, name: string): string | undefined {
  for (const field of fields) if (field.name === name) return field.value;
  return undefined;
}

/** All values of that lower-case name, joined as RFC 9110 5.3 allows; undefined where there is none. */
export function joinedValue(fields: Fields, name: string): string | undefined {
  let joined: string | undefined;
  for (const field of fields) {
    if (field.name !== name) continue;
    if (joined === undefined) joined = field.value;
    else joined += (name === "cookie" ? "; " : ", ") + field.value;
  }
  return joined;
}
