/** Which workloads a security policy is for: its `selector` or its `targetRefs` (Istio), with the one judgement of both. */
import Type, {
  type TEnum,
  type TOptional,
  type TString,
  type TUnsafe,
} from "typebox";
import {
  formatName,
  ROOT_NAMESPACE,
  selects,
  type Resource,
} from "./envelope.ts";
import type { Problem } from "./kind.ts";
import { duplicates, error } from "./problems.ts";
import { CLOSED, DNS_NAME, field, type Selector } from "./schema-parts.ts";

/** At most one of the two. Neither: every workload of the namespace; of the mesh in the root namespace. */
export interface PolicyTargets {
  readonly selector?: Selector;
  readonly targetRefs?: readonly PolicyTarget[];
}

/** A Service of the policy's own namespace. */
export interface PolicyTarget {
  readonly group?: "" | "core" | "mesh.wherry.dev";
  readonly kind: "Service";
  readonly name: string;
}

export interface TargetedWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Names of the Services of its namespace that lead to the port which is asked about. Absent: none does. */
  readonly services?: ReadonlySet<string>;
}

/** A Service that a policy names. */
export const SERVICE_TARGET: {
  readonly group: TOptional<TEnum<["", "core", "mesh.wherry.dev"]>>;
  readonly kind: TEnum<["Service"]>;
  readonly name: TString;
} = {
  group: field(
    "The API group of Service. All three mean the same.",
    Type.Optional(Type.Enum(["", "core", "mesh.wherry.dev"])),
  ),
  kind: field("Service.", Type.Enum(["Service"])),
  name: field("The name of the Service.", Type.String(DNS_NAME)),
};

export const POLICY_TARGETS: TUnsafe<readonly PolicyTarget[]> = Type.Unsafe(
  Type.Array(Type.Object(SERVICE_TARGET, CLOSED), {
    minItems: 1,
    maxItems: 16,
  }),
);

/** Fields of upstream that this version refuses, with advice. */
export function unsupportedTargets(
  kind: string,
): Readonly<Record<string, string>> {
  return {
    "spec.targetRef": "write targetRefs, with one entry",
    "spec.targetRefs[].namespace": `${kind === "AuthorizationPolicy" ? "an" : "a"} ${kind} acts on Services of its own namespace; set metadata.namespace`,
  };
}

export function checkTargets({
  selector,
  targetRefs,
}: PolicyTargets): Problem[] {
  return [
    ...(selector !== undefined && targetRefs !== undefined
      ? [
          error(
            ["spec", "targetRefs"],
            "must not stand beside selector; write either of them",
          ),
        ]
      : []),
    ...duplicates(
      targetRefs,
      ({ name }) => name,
      (index) => ["spec", "targetRefs", index],
      "the target",
    ),
  ];
}

/** "NAMESPACE/NAME" of the Services that the policy is for; empty where it names none. */
export function targetsOf({
  metadata: { namespace = "" },
  spec: { targetRefs = [] },
}: Resource<PolicyTargets>): readonly string[] {
  return targetRefs.map(({ name }) => formatName(namespace, name));
}

/** The root namespace's policies are for the whole mesh (trap 17), but for those that name Services: these are its own. */
export function isForWorkload(
  policy: Resource<PolicyTargets>,
  { namespace: home, labels, services }: TargetedWorkload,
): boolean {
  const { namespace } = policy.metadata;
  const { selector, targetRefs } = policy.spec;
  if (targetRefs !== undefined)
    return (
      namespace === home &&
      targetRefs.some(({ name }) => services?.has(name) === true)
    );
  return (
    (namespace === home || namespace === ROOT_NAMESPACE) &&
    (selector === undefined || selects(selector.matchLabels, labels))
  );
}
