/** What both ends of a push must agree on: type URLs, the names of resources, and the digest that closes a push. */
import { createHash } from "node:crypto";
import { ROOT_NAMESPACE, type ResourceKey } from "../resources/envelope.ts";

const PREFIX = "type.googleapis.com/";

export const RESOURCE_TYPE: string = `${PREFIX}wherry.push.v1.Resource`;
export const REVISION_TYPE: string = `${PREFIX}wherry.push.v1.Revision`;

/** Who the control plane is, in whichever trust domain: spiffe://TD/ns/wherry-system/sa/control-plane. */
export const CONTROL_PLANE: {
  readonly namespace: string;
  readonly serviceAccount: string;
} = { namespace: ROOT_NAMESPACE, serviceAccount: "control-plane" };

/** The name of the one resource of type Revision. */
export const REVISION_NAME = "revision";

/** Goes up when a sidecar must know a field that an older one does not. */
export const SCHEMA_VERSION = 1;

/** Keys of the node metadata that a sidecar states at the start of its stream. */
export const NODE = {
  /** SCHEMA_VERSION of the sidecar. */
  schema: "wherry.schema",
  /** Version of the software. */
  version: "wherry.version",
  /** Of the config in force, as its Revision said; absent without config. */
  store: "wherry.store",
  revision: "wherry.revision",
  digest: "wherry.digest",
  /** Wall milliseconds at which that config was received. */
  receivedAt: "wherry.received-at",
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

/** SHA-256 in hex over every name and version, in the order of the names' UTF-16 code units. */
export function digestOf(
  versions: Iterable<readonly [name: string, version: string]>,
): string {
  const lines = Array.from(
    versions,
    ([name, version]) => `${name}\0${version}\n`,
  );
  const hash = createHash("sha256");
  for (const line of lines.sort()) hash.update(line);
  return hash.digest("hex");
}
