/**
 * Whether a port takes mesh mTLS only: PeerAuthentication from the narrowest scope to the widest (Istio).
 *
 * ```
 *   portLevelMtls of the workload's → the workload's (selector) → its namespace's → the root namespace's → the Mesh
 * ```
 * UNSET goes on to the next. In each scope the oldest object counts and the others do not (trap 13).
 */
import { parseTimestamp } from "../core/clock.ts";
import { formatName, ROOT_NAMESPACE, selects } from "../resources/envelope.ts";
import type { MtlsMode } from "../resources/mesh/schema.ts";
import type {
  PeerAuthenticationResource,
  PeerMtlsMode,
} from "../resources/peer-authentication/schema.ts";

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
  readonly overruled: readonly { readonly loser: string; winner: string }[];
}

export interface AuthenticatedWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

export function compileAuthentication(
  policies: readonly PeerAuthenticationResource[],
  workload: AuthenticatedWorkload,
  meshMode: MtlsMode,
): Authentication {
  const scopes = scopesOf(policies, workload);
  const chain = scopes.flatMap(([oldest]) =>
    oldest === undefined ? [] : [oldest],
  );
  const decides = (workloadPort: number): number =>
    chain.findIndex((policy) => modeOf(policy, workloadPort) !== "UNSET");
  const overruled = scopes.flatMap(([winner, ...losers]) =>
    winner === undefined
      ? []
      : losers.map((loser) => ({
          loser: nameOf(loser),
          winner: nameOf(winner),
        })),
  );
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

/** The policies for the workload by scope, the narrowest scope first, and in each the oldest first. */
function scopesOf(
  policies: readonly PeerAuthenticationResource[],
  workload: AuthenticatedWorkload,
): readonly PeerAuthenticationResource[][] {
  const selecting = (namespace: string): PeerAuthenticationResource[] =>
    policies.filter(
      ({ metadata, spec }) =>
        metadata.namespace === namespace &&
        spec.selector !== undefined &&
        selects(spec.selector.matchLabels, workload.labels),
    );
  const general = (namespace: string): PeerAuthenticationResource[] =>
    policies.filter(
      ({ metadata, spec }) =>
        metadata.namespace === namespace && spec.selector === undefined,
    );
  const inRoot = workload.namespace === ROOT_NAMESPACE;
  return [
    selecting(workload.namespace),
    ...(inRoot ? [] : [selecting(ROOT_NAMESPACE)]),
    general(workload.namespace),
    ...(inRoot ? [] : [general(ROOT_NAMESPACE)]),
  ].map((scope) => scope.sort(byAge));
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

function nameOf({ metadata }: PeerAuthenticationResource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}

/** The oldest first, by the store's clock (trap 18); without a time, last; then by name. */
function byAge(
  left: PeerAuthenticationResource,
  right: PeerAuthenticationResource,
): number {
  const created = ({ metadata }: PeerAuthenticationResource): number =>
    metadata.creationTimestamp === undefined
      ? Number.MAX_SAFE_INTEGER
      : parseTimestamp(metadata.creationTimestamp);
  return (
    created(left) - created(right) || (nameOf(left) < nameOf(right) ? -1 : 1)
  );
}
