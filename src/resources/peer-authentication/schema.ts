/** PeerAuthentication: whether a workload takes mesh mTLS only, plaintext too, or plaintext only (Istio). */
import Type, { type TSchema } from "typebox";
import type { Resource } from "../envelope.ts";
import { defineKind, type KindDefinition, type Problem } from "../kind.ts";
import { error } from "../problems.ts";
import {
  CLOSED,
  describes,
  SELECTOR,
  type Selector,
  field,
} from "../schema-parts.ts";

export type PeerAuthenticationResource = Resource<PeerAuthenticationSpec>;

/** UNSET takes the next wider scope's: workload, namespace, root namespace, Mesh. */
export type PeerMtlsMode = "STRICT" | "PERMISSIVE" | "DISABLE" | "UNSET";

export interface PeerAuthenticationSpec {
  /** Absent: every workload of the namespace; of the mesh in the root namespace. */
  readonly selector?: Selector;
  /** Absent: UNSET. */
  readonly mtls?: { readonly mode: PeerMtlsMode };
  /** By the workload's own port, not the Service's. */
  readonly portLevelMtls?: Readonly<
    Record<string, { readonly mode: PeerMtlsMode }>
  >;
}

const mtls = Type.Object(
  {
    mode: field(
      "STRICT accepts mutual TLS alone, PERMISSIVE plaintext too, DISABLE plaintext alone. UNSET inherits.",
      Type.Enum(["STRICT", "PERMISSIVE", "DISABLE", "UNSET"]),
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<PeerAuthenticationSpec>()(
  Type.Object(
    {
      selector: field(
        "Workloads that it is for. Without it, all of the namespace.",
        Type.Optional(SELECTOR),
      ),
      mtls: field(
        "For every port. Without it, what the namespace, the root namespace or the Mesh says.",
        Type.Optional(mtls),
      ),
      portLevelMtls: field(
        "For single ports of the workload, by their numbers in quotes. Needs a selector.",
        Type.Optional(
          Type.Record(Type.String(), mtls, {
            propertyNames: {
              title: "Port",
              pattern: "^[1-9][0-9]{0,4}$",
              expected: "a workload's port number",
            },
            minProperties: 1,
            maxProperties: 64,
          }),
        ),
      ),
    },
    CLOSED,
  ),
);

export const PEER_AUTHENTICATION: KindDefinition<PeerAuthenticationSpec> =
  defineKind({
    kind: "PeerAuthentication",
    group: "security.istio.io",
    version: "v1",
    plural: "peerauthentications",
    shortNames: ["pa"],
    meaning:
      "Whether a workload accepts mutual TLS alone, plaintext too, or plaintext alone.",
    spec,
    check: checkPeerAuthentication,
  });

function checkPeerAuthentication({
  spec,
}: PeerAuthenticationResource): Problem[] {
  const at = ["spec", "portLevelMtls"];
  const ports = Object.keys(spec.portLevelMtls ?? {});
  const problems = ports
    .filter((port) => Number(port) > 65_535)
    .map((port) => error([...at, port], "is not a port number"));
  if (ports.length > 0 && spec.selector === undefined)
    problems.push(
      error(
        at,
        "needs a selector: the ports are those of the workloads that it selects",
      ),
    );
  return problems;
}
