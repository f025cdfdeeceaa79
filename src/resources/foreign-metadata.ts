/** What Istio reads beside the spec: refused where to ignore it would open something or change who is seen, else warned of. */
import { AUTHORIZATION_POLICY } from "./authorization-policy/schema.ts";
import { DRY_RUN } from "./authorization-policy/trial.ts";
import { ROOT_NAMESPACE, type Resource } from "./envelope.ts";
import { isKind, type Problem } from "./kind.ts";
import { TELEMETRY } from "./telemetry/schema.ts";
import { error, quote, warning } from "./problems.ts";

const SECURITY_GROUP = "security.istio.io/";

/** Istio's root namespace unless it was told otherwise. */
const ISTIO_ROOT = "istio-system";

interface Foreign {
  /** Undefined: of every kind. */
  readonly of?: (resource: Resource) => boolean;
  /** A value that asks for nothing but what happens here anyway. */
  readonly harmless?: string;
  readonly advice: string;
}

const isSecurity = ({ apiVersion }: Resource): boolean =>
  apiVersion.startsWith(SECURITY_GROUP);

/** Whether its kind acts on the whole mesh from the root namespace. */
const isRooted = (resource: Resource): boolean =>
  isSecurity(resource) || isKind(TELEMETRY, resource);

/** By key, of annotations and labels alike: Istio has moved some from one to the other. */
const REFUSED: Readonly<Record<string, Foreign>> = {
  [DRY_RUN]: {
    of: isSecurity,
    harmless: "false",
    advice:
      "is supported as an annotation of an AuthorizationPolicy alone, so the policy would be in force here: remove it, and try the policy with wherry test or wherry explain before you apply it",
  },
  "istio.io/rev": {
    of: isSecurity,
    advice:
      "is not supported, so the policy would be in force here, whichever control plane it is for: remove it, and apply only what this mesh is to enforce",
  },
  "networking.istio.io/exportTo": {
    // A Workload has the labels of its token, and nobody sees it by itself.
    of: ({ kind }) => kind !== "Workload",
    advice:
      "is not supported, so more namespaces would see it: use spec.exportTo",
  },
};

export function checkForeignMetadata(resource: Resource): Problem[] {
  const { metadata } = resource;
  const problems: Problem[] = [];
  if (isRooted(resource) && metadata.namespace === ISTIO_ROOT)
    problems.push(
      error(
        ["metadata", "namespace"],
        `${quote(ISTIO_ROOT)} is Istio's root namespace, and a ${resource.kind} there would not act on the mesh: the root namespace is ${ROOT_NAMESPACE}; move it there`,
      ),
    );
  for (const field of ["annotations", "labels"] as const)
    for (const [key, value] of Object.entries(metadata[field] ?? {})) {
      // Its own check judges the value.
      if (
        key === DRY_RUN &&
        field === "annotations" &&
        isKind(AUTHORIZATION_POLICY, resource)
      )
        continue;
      const path = ["metadata", field, key];
      const foreign = Object.hasOwn(REFUSED, key) ? REFUSED[key] : undefined;
      if (foreign !== undefined && foreign.of?.(resource) !== false) {
        if (value !== foreign.harmless)
          problems.push(error(path, foreign.advice));
      } else if (belongsToIstio(key))
        problems.push(
          warning(path, "is Istio's and has no effect in this mesh"),
        );
    }
  return problems;
}

/** A key with the prefix istio.io, or one that ends so. */
function belongsToIstio(key: string): boolean {
  const slash = key.indexOf("/");
  const prefix = key.slice(0, Math.max(slash, 0));
  return prefix === "istio.io" || prefix.endsWith(".istio.io");
}
