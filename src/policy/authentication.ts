/**
 * Whether a port takes mesh mTLS only: PeerAuthentication from the narrowest scope to the widest (Istio).
 *
 * ```
 *   portLevelMtls of the workload's → the workload's (selector) → its namespace's → the root namespace's → the Mesh
 * ```
 * UNSET goes on to the next. In each scope the oldest object counts and the others do not (trap 13).
 */
import type { Steps } from "../core/slices.ts";
import type { MtlsMode } from "../resources/mesh/schema.ts";
import type {
  PeerAuthenticationResource,
  PeerMtlsMode,
} from "../resources/peer-authentication/schema.ts";
import {
  overruledIn,
  scopedName as nameOf,
  scopesOf,
  type Overruled,
  type ScopedWorkload,
} from "../resources/scopes.ts";

export interface MtlsDecision {
  readonly mode: MtlsMode;
  /** "NAMESPACE/NAME" of the PeerAuthentication that decided; absent: the Mesh did. */
  readonly policy?: string;
}

export interface Authentication {
  /** By the application's port. */
  port(workloadPort: number): MtlsDecision;
  /** "NAMESPACE/NAME" of those that are for the workload and do not decide, and why. */
  passedOver(
    workloadPort: number,
  ): readonly { readonly policy: string; readonly why: string }[];
  /** "NAMESPACE/NAME" of those that an older one of the same scope puts out of force. */
  readonly overruled: readonly Overruled[];
}

/** By steps: a mesh may have thousands of policies. */
export function* compileAuthentication(
  policies: readonly PeerAuthenticationResource[],
  workload: ScopedWorkload,
  meshMode: MtlsMode,
): Steps<Authentication> {
  const scopes = yield* scopesOf(policies, workload);
  const chain = scopes.flatMap(([oldest]) =>
    oldest === undefined ? [] : [oldest],
  );
  const decides = (workloadPort: number): number =>
    chain.findIndex((policy) => modeOf(policy, workloadPort) !== "UNSET");
  const overruled = yield* overruledIn(scopes);
  return {
    port(workloadPort) {
      const policy = chain[decides(workloadPort)];
      const mode =
        policy === undefined ? "UNSET" : modeOf(policy, workloadPort);
      return policy === undefined || mode === "UNSET"
        ? { mode: meshMode }
        : { mode, policy: nameOf(policy) };
    },
    passedOver(workloadPort) {
      const at = decides(workloadPort);
      const before = at < 0 ? chain.length : at;
      return [
        ...chain.flatMap((policy, index) =>
          index === at
            ? []
            : [
                {
                  policy: nameOf(policy),
                  why:
                    index < before
                      ? "it leaves the mode of this port unset"
                      : "a narrower one decides",
                },
              ],
        ),
        ...overruled.map(({ loser, winner }) => ({
          policy: loser,
          why: `${winner}, for the same workloads, is older`,
        })),
      ];
    },
    overruled,
  };
}

function modeOf(
  policy: PeerAuthenticationResource,
  workloadPort: number,
): PeerMtlsMode {
  const { selector, portLevelMtls, mtls } = policy.spec;
  // Ports are a workload's, so a policy that selects none says nothing of them.
  const level =
    selector === undefined
      ? undefined
      : portLevelMtls?.[String(workloadPort)]?.mode;
  return level === undefined || level === "UNSET"
    ? (mtls?.mode ?? "UNSET")
    : level;
}
