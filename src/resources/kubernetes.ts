/** What Kubernetes writes around a resource that means nothing here, taken off before the resource is judged. */
import { isObject } from "../core/text/json.ts";
import { AUTHORIZATION_POLICY } from "./authorization-policy/schema.ts";
import type { KindDefinition } from "./kind.ts";
import { PEER_AUTHENTICATION } from "./peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "./request-authentication/schema.ts";
import { TELEMETRY } from "./telemetry/schema.ts";

/** Kinds whose version before is the same but for its name (Istio serves both). */
const SAME_AS_BEFORE: ReadonlyMap<string, KindDefinition> = new Map(
  (
    [
      [AUTHORIZATION_POLICY, "v1beta1"],
      [PEER_AUTHENTICATION, "v1beta1"],
      [REQUEST_AUTHENTICATION, "v1beta1"],
      [TELEMETRY, "v1alpha1"],
    ] as const
  ).map(([definition, before]) => [
    `${definition.group}/${before} ${definition.kind}`,
    definition,
  ]),
);

/** What the API server and kubectl keep for themselves in the metadata. */
const BOOKKEEPING = [
  "managedFields",
  "ownerReferences",
  "finalizers",
  "selfLink",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
] as const;

/** The value itself where there is nothing to take off; else a copy, which shares what did not change. */
export function withoutKubernetes(value: unknown): unknown {
  if (!isObject(value)) return value;
  const { apiVersion, kind, metadata } = value;
  const newer = SAME_AS_BEFORE.get(`${String(apiVersion)} ${String(kind)}`);
  const kept = BOOKKEEPING.filter(
    (name) => isObject(metadata) && Object.hasOwn(metadata, name),
  );
  if (newer === undefined && kept.length === 0) return value;
  const copy = { ...value };
  if (newer !== undefined) copy["apiVersion"] = newer.apiVersion;
  if (isObject(metadata))
    copy["metadata"] = Object.fromEntries(
      Object.entries(metadata).filter(
        ([name]) => !kept.some((each) => each === name),
      ),
    );
  return copy;
}
