/** What both ends of a push must agree on: type URLs, the names of resources, and the digest that closes a push. */
import { hash } from "node:crypto";
import { ROOT_NAMESPACE, type ResourceKey } from "../resources/envelope.ts";

const PREFIX = "type.googleapis.com/";

export const RESOURCE_TYPE: string = `${PREFIX}wherry.push.v1.Resource`;
export const REVISION_TYPE: string = `${PREFIX}wherry.push.v1.Revision`;
/** A SignedTrust, in a message of its own: the roots that the mesh trusts from now on. */
export const TRUST_TYPE: string = `${PREFIX}wherry.push.v1.SignedTrust`;
/** The type inside a resource that resolves a question (`interest.ts`); it travels in messages of RESOURCE_TYPE. */
export const LOOKUP_TYPE: string = `${PREFIX}wherry.push.v1.Lookup`;
/** The type of a resource that came packed (`packing.ts`): it is not said on the wire, and its value is JSON. */
export const PACKED_TYPE: string = `${PREFIX}wherry.push.v1.PackedResource`;

/** The control plane's identity, in whichever trust domain: spiffe://TD/ns/wherry-system/sa/control-plane. */
export const CONTROL_PLANE: {
  readonly namespace: string;
  readonly serviceAccount: string;
} = { namespace: ROOT_NAMESPACE, serviceAccount: "control-plane" };

/** The name of the one resource of type Revision. */
export const REVISION_NAME = "revision";

/** Goes up when a sidecar must know a field that an older one does not. */
export const SCHEMA_VERSION = 5;

/** The first schema with packed resources, and with the Revision in the last message of a push. */
export const PACKED_SINCE = 3;

/** The first schema that takes roots over the stream. An older sidecar gets them with its next certificate. */
export const TRUST_SINCE = 5;

/** The first schema whose sidecars know the mesh's trust domain by its aliases, and by "cluster.local". Older ones get each name of it. */
export const DOMAINS_MEANT_SINCE = 5;

/** The name of the one resource of type SignedTrust. */
export const TRUST_NAME = "trust";

/** Bytes of a request; what is longer is refused before it is read, so that what one peer can fill is bounded. */
export const LONGEST_REQUEST: number = 4 * 1024 * 1024;

/** Bytes of all that a stream says to hold, in however many requests, as `statedBytes` counts them. */
export const MOST_STATED: number = 32 * 1024 * 1024;

/** Workloads in each list of a report. */
export const MOST_REPORTED = 64;

/** Milliseconds for which calls that came in are remembered. */
export const OBSERVED_FOR = 3_600_000;
/** Rows of them that a sidecar keeps. */
export const MOST_OBSERVED = 1024;

/** What one name and version take of the memory where they are kept. */
export function statedBytes(name: string, version: string): number {
  return 64 + name.length + version.length;
}

/** Keys of the node metadata that a sidecar states at the start of its stream. */
export const NODE = {
  /** SCHEMA_VERSION of the sidecar. */
  schema: "wherry.schema",
  /** Version of the software. */
  version: "wherry.version",
  /** The config in force, as its Revision said; absent without config. */
  store: "wherry.store",
  revision: "wherry.revision",
  /** Absent where the Revision named none. */
  branch: "wherry.branch",
  digest: "wherry.digest",
  /** Wall milliseconds at which that config was received. */
  receivedAt: "wherry.received-at",
  /** Serial of the signed bundle whose roots it trusts; absent: they came without one. */
  trust: "wherry.trust",
  /** How many requests that say what is held follow the first one, where that one cannot say all of it. */
  parts: "wherry.parts",
} as const;

/** "HTTPRoute/shop/reviews", "Mesh//default". */
export function resourceName(key: ResourceKey): string {
  return `${key.kind}/${key.namespace}/${key.name}`;
}

export function parseResourceName(name: string): ResourceKey | undefined {
  const [kind, namespace, last, ...rest] = name.split("/");
  if (!kind || namespace === undefined || !last || rest.length > 0)
    return undefined;
  return { kind, namespace, name: last };
}

/**
 * What one name and version are in a digest: SHA-256 as a number. A digest is the sum of these modulo 2^256, so that it
 * stays in step with a change, however large the set is. It finds a push that was incomplete; it proves nothing against a
 * peer that means harm, which the certificates of both ends are for.
 */
export function digestTerm(name: string, version: string): bigint {
  return BigInt(`0x${hash("sha256", `${name}\0${version}\n`, "hex")}`);
}

/** Adds a term; a negative one takes out what was added before. */
export function digestSum(sum: bigint, term: bigint): bigint {
  return BigInt.asUintN(256, sum + term);
}

/** A sum as a Revision has it: 64 digits in hex. */
export function formatDigest(sum: bigint): string {
  return sum.toString(16).padStart(64, "0");
}
