/** What is shown of the calls that sidecars have seen: what policies on trial would have done, and callers that still come in plaintext. */
import { timestamp } from "../../core/clock.ts";
import { atOnce } from "../../core/slices.ts";
import { compileAuthentication } from "../../policy/authentication.ts";
import type { Resource, ShadowStatus } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import { MESH, meshSettings, MESH_NAME } from "../../resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../resources/peer-authentication/schema.ts";
import type { MeshView } from "../push/catalogue/mesh-view.ts";
import type {
  ObservedCalls,
  ObservingWorkload,
  SeenCall,
} from "./observed-calls.ts";

/** Callers that are named; the others are counted. */
const MOST_NAMED = 100;

/** Tells what a policy "NAMESPACE/NAME" would have done that changes no verdict; one look at all calls serves for many policies. */
export function shadowStatuses(
  observed: ObservedCalls,
): (policy: string) => ShadowStatus {
  const rows = new Map<string, SeenCall[]>();
  const sidecars = new Map<string, Set<object>>();
  for (const { workload, calls } of observed.at(() => true))
    for (const call of calls)
      if (call.policy !== "") {
        add(rows, call.policy).push(call);
        const known = sidecars.get(call.policy) ?? new Set();
        sidecars.set(call.policy, known.add(workload));
      }
  return (policy) =>
    statusOf(rows.get(policy) ?? [], sidecars.get(policy)?.size ?? 0);
}

function statusOf(rows: readonly SeenCall[], sidecars: number): ShadowStatus {
  const merged = mergeCalls(
    rows,
    ({ effect, peer, address, port, method, path }) =>
      [effect, peer, address, port, method, path].join(" "),
  );
  const first = rows.reduce(
    (least, row) => Math.min(least, row.first),
    Infinity,
  );
  return {
    calls: rows.reduce((sum, { count }) => sum + count, 0),
    sidecars,
    ...(rows.length === 0 ? {} : { since: timestamp(first) }),
    callers: merged.slice(0, MOST_NAMED).map((call) => ({
      effect: call.effect,
      caller: callerOf(call),
      port: call.port,
      ...(call.method === "" ? {} : { method: call.method }),
      ...(call.path === "" ? {} : { path: call.path }),
      calls: call.count,
      firstSeen: timestamp(call.first),
      lastSeen: timestamp(call.last),
    })),
    more: Math.max(0, merged.length - MOST_NAMED),
  };
}

function add<T>(lists: Map<string, T[]>, key: string): T[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

/** Calls in plaintext to a port that takes mTLS as well. */
export interface PlaintextCaller {
  readonly namespace: string;
  /** The workload that was called. */
  readonly workload: string;
  readonly address: string;
  readonly port: number;
  readonly calls: number;
  /** Wall milliseconds. */
  readonly first: number;
  readonly last: number;
}

/** Sorted by workload, then by how many calls. */
export function plaintextCallers(
  observed: ObservedCalls,
  mesh: MeshView,
  isMeant: (workload: ObservingWorkload) => boolean,
): readonly PlaintextCaller[] {
  const found: PlaintextCaller[] = [];
  for (const { workload, calls } of observed.at(isMeant)) {
    const plain = calls.filter(
      ({ policy, peer }) => policy === "" && peer === "",
    );
    if (plain.length === 0) continue;
    const modeOf = modes(mesh, workload);
    const { namespace, name } = workload;
    const merged = mergeCalls(
      plain.filter(({ port }) => modeOf(port) === "PERMISSIVE"),
      ({ address, port }) => `${address} ${port}`,
    );
    for (const { address, port, count, first, last } of merged)
      found.push({
        ...{ namespace, workload: name, address, port },
        ...{ calls: count, first, last },
      });
  }
  const pathOf = ({ namespace, workload }: PlaintextCaller): string =>
    `${namespace}/${workload}`;
  // The most frequent come first within one workload already.
  return found.sort((left, right) =>
    pathOf(left) < pathOf(right) ? -1 : pathOf(left) > pathOf(right) ? 1 : 0,
  );
}

/** The mTLS mode of each port of a workload, as it is now. */
function modes(
  mesh: MeshView,
  workload: ObservingWorkload,
): (port: number) => string {
  const stated = mesh.find({
    kind: MESH.kind,
    namespace: "",
    name: MESH_NAME,
  });
  const settings = meshSettings(
    stated !== undefined && isKind(MESH, stated) ? stated.spec : undefined,
  );
  const policies = mesh
    .list(PEER_AUTHENTICATION.kind)
    .filter((each) => isKind(PEER_AUTHENTICATION, each))
    .toSorted(byAge);
  const authentication = atOnce(
    compileAuthentication(policies, workload, settings.mtls.mode),
  );
  return (port) => authentication.port(port).mode;
}

/** The oldest first, as snapshots have them. */
function byAge(left: Resource, right: Resource): number {
  const age = ({ metadata }: Resource): string =>
    `${metadata.creationTimestamp ?? "~"} ${metadata.name}`;
  return age(left) < age(right) ? -1 : 1;
}

/** Those of one key together; the most frequent first. */
export function mergeCalls(
  rows: readonly SeenCall[],
  keyOf: (row: SeenCall) => string,
): readonly SeenCall[] {
  const merged = new Map<string, SeenCall>();
  for (const row of rows) {
    const key = keyOf(row);
    const known = merged.get(key);
    merged.set(
      key,
      known === undefined
        ? row
        : {
            ...known,
            count: known.count + row.count,
            first: Math.min(known.first, row.first),
            last: Math.max(known.last, row.last),
          },
    );
  }
  return [...merged.values()].sort((left, right) => right.count - left.count);
}

/** The principal, as policies name it; the address of a caller in plaintext. */
export function callerOf({
  peer,
  address,
}: Pick<SeenCall, "peer" | "address">): string {
  if (peer !== "") return peer.replace(/^spiffe:\/\//, "");
  return address === "" ? "plaintext" : `plaintext ${address}`;
}
