/**
 * Whether a port takes mesh mTLS only: PeerAuthentication from the narrowest scope to the widest (Istio).
 *
 * ```
 *   portLevelMtls of the workload's → the workload's (selector) → its namespace's → the root namespace's → the Mesh
 * ```
 * UNSET goes on to the next. In each scope the oldest object counts and the others do not (trap 13).
 */
import { parseTimestamp } from "../core/clock.ts";
import { filterSteps, pieces, sortSteps, type Steps } from "../core/slices.ts";
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

/** By steps: a mesh may have thousands of policies. */
export function* compileAuthentication(
  policies: readonly PeerAuthenticationResource[],
  workload: AuthenticatedWorkload,
  meshMode: MtlsMode,
): Steps<Authentication> {
  const scopes = yield* scopesOf(policies, workload);
  const chain = scopes.flatMap(([oldest]) =>
    oldest === undefined ? [] : [oldest],
  );
  const decides = (workloadPort: number): number =>
    chain.findIndex((policy) => modeOf(policy, workloadPort) !== "UNSET");
  const overruled: { readonly loser: string; winner: string }[] = [];
  for (const [winner, ...losers] of scopes)
    for (const piece of pieces(losers)) {
      yield;
      for (const loser of piece)
        if (winner !== undefined)
          overruled.push({ loser: nameOf(loser), winner: nameOf(winner) });
    }
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
function* scopesOf(
  policies: readonly PeerAuthenticationResource[],
  { namespace: own, labels }: AuthenticatedWorkload,
): Steps<readonly PeerAuthenticationResource[][]> {
  const scopes: PeerAuthenticationResource[][] = [];
  for (const selecting of [true, false])
    for (const namespace of new Set([own, ROOT_NAMESPACE])) {
      const scope = yield* filterSteps(
        policies,
        ({ metadata, spec: { selector } }) =>
          metadata.namespace === namespace &&
          (selector === undefined
            ? !selecting
            : selecting && selects(selector.matchLabels, labels)),
      );
      scopes.push(yield* oldestFirst(scope));
    }
  return scopes;
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

/** By the store's clock (trap 18); without a time, last; then by name. */
function* oldestFirst(
  policies: readonly PeerAuthenticationResource[],
): Steps<PeerAuthenticationResource[]> {
  const dated: Dated[] = [];
  for (const piece of pieces(policies)) {
    yield;
    for (const policy of piece)
      dated.push({ policy, at: createdAt(policy), name: nameOf(policy) });
  }
  const sorted = yield* sortSteps(
    dated,
    (left, right) => left.at - right.at || (left.name < right.name ? -1 : 1),
  );
  return sorted.map(({ policy }) => policy);
}

interface Dated {
  readonly policy: PeerAuthenticationResource;
  /** Wall milliseconds. */
  readonly at: number;
  readonly name: string;
}

function createdAt({ metadata }: PeerAuthenticationResource): number {
  return metadata.creationTimestamp === undefined
    ? Number.MAX_SAFE_INTEGER
    : parseTimestamp(metadata.creationTimestamp);
}
