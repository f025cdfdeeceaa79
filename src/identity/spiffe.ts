/** SPIFFE IDs as the mesh uses them: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, read strictly. */
import type { SpiffeUri } from "../core/units.ts";

export interface SpiffeId {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** SPIFFE-ID 2.1: lower-case letters, digits, dots, dashes and underscores; 255 bytes at most. */
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
/** SPIFFE-ID 2.2: the characters of a path segment; "." and ".." are refused apart. */
const SEGMENT = /^[A-Za-z0-9._-]{1,253}$/;
/** SPIFFE-ID 2.3: 2048 bytes at most. */
const LONGEST = 2048;

export function isTrustDomain(text: string): boolean {
  return TRUST_DOMAIN.test(text);
}

/** The URI of an identity. Throws RangeError where a part could not be read back as it is. */
export function formatSpiffeId(id: SpiffeId): SpiffeUri {
  const uri = `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`;
  if (parseSpiffeId(uri) === undefined)
    throw new RangeError(
      `no SPIFFE ID can be made of trust domain "${id.trustDomain}", namespace "${id.namespace}" and service account "${id.serviceAccount}"`,
    );
  return uri;
}

/** The parts of a URI of exactly our shape; undefined for every other text. No case folding, no percent-encoding, no normalisation. */
export function parseSpiffeId(uri: string): SpiffeId | undefined {
  if (uri.length > LONGEST || !uri.startsWith("spiffe://")) return undefined;
  const [trustDomain, ns, namespace, sa, serviceAccount, ...rest] = uri
    .slice("spiffe://".length)
    .split("/");
  if (ns !== "ns" || sa !== "sa" || rest.length > 0) return undefined;
  if (trustDomain === undefined || !isTrustDomain(trustDomain))
    return undefined;
  if (!isSegment(namespace) || !isSegment(serviceAccount)) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

function isSegment(text: string | undefined): text is string {
  return (
    text !== undefined && SEGMENT.test(text) && text !== "." && text !== ".."
  );
}
