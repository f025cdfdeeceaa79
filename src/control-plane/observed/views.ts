/** What is shown of the calls that sidecars have seen: what policies would have done that change no verdict. */
import { timestamp } from "../../core/clock.ts";
import { applies, nameOf } from "../../policy/authorization/applies.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import type { ShadowStatus } from "../../resources/envelope.ts";
import type {
  LeadingServices,
  ObservedCalls,
  SeenCall,
} from "./observed-calls.ts";
import { added, type ObservingWorkload } from "./reported-calls.ts";

/** Callers that are named; the others are counted. */
const MOST_NAMED = 100;

/** Tells what a policy would have done that changes no verdict; one look at all calls serves for many policies. Only workloads that it is for are heard. */
export function shadowStatuses(
  observed: ObservedCalls,
  leadingFor: (policy: AuthorizationPolicyResource) => LeadingServices,
): (policy: AuthorizationPolicyResource) => ShadowStatus {
  const found = new Map<string, Finding[]>();
  for (const { workload, calls } of observed.at(() => true))
    for (const call of calls)
      if (call.policy !== "") add(found, call.policy).push({ workload, call });
  return (policy) => {
    const leading = leadingFor(policy);
    const findings = (found.get(nameOf(policy)) ?? []).filter(
      ({ workload, call }) =>
        applies(policy, {
          ...workload,
          services: leading(workload, call.port),
        }),
    );
    const sidecars = new Set(findings.map(({ workload }) => workload));
    return statusOf(
      findings.map(({ call }) => call),
      sidecars.size,
    );
  };
}

interface Finding {
  readonly workload: ObservingWorkload;
  readonly call: SeenCall;
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
    calls: rows.reduce((sum, { count }) => added(sum, count), 0),
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

/** The list of that key, which is begun where there is none. */
export function add<K, T>(lists: Map<K, T[]>, key: K): T[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
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
            count: added(known.count, row.count),
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
