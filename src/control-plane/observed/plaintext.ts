/** Callers that still come in plaintext, as sidecars have seen them. */
import { inSlices, type Pause } from "../../core/slices.ts";
import { compileAuthentication } from "../../policy/authentication.ts";
import { PEER_AUTHENTICATION } from "../../resources/peer-authentication/schema.ts";
import {
  kinIn,
  settingsIn,
  type MeshView,
} from "../push/catalogue/mesh-view.ts";
import type { ObservedCalls, SeenCall } from "./observed-calls.ts";
import { added, type ObservingWorkload } from "./reported-calls.ts";
import { mergeCalls } from "./views.ts";

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

export interface PlaintextCallers {
  /** Sorted by workload, then by how many calls. */
  readonly callers: readonly PlaintextCaller[];
  /** Calls, of whichever caller, that found no room: some may have come in plaintext. */
  readonly dropped: number;
}

export async function plaintextCallers(
  observed: ObservedCalls,
  mesh: MeshView,
  isMeant: (workload: ObservingWorkload) => boolean,
  pause: Pause,
): Promise<PlaintextCallers> {
  const { mtls } = settingsIn(mesh);
  const policies = kinIn(mesh, PEER_AUTHENTICATION);
  const callers: PlaintextCaller[] = [];
  let dropped = 0;
  for (const seen of observed.at(isMeant)) {
    dropped = added(dropped, seen.dropped);
    const { namespace, name } = seen.workload;
    const plain = seen.calls.filter(isPlaintext);
    if (plain.length === 0) continue;
    const modes = await inSlices(
      compileAuthentication(policies, seen.workload, mtls.mode),
      pause,
    );
    const merged = mergeCalls(
      plain.filter(({ port }) => modes.port(port).mode === "PERMISSIVE"),
      ({ address, port }) => `${address} ${port}`,
    );
    for (const { address, port, count, first, last } of merged)
      callers.push({
        ...{ namespace, workload: name, address, port },
        ...{ calls: count, first, last },
      });
  }
  const pathOf = ({ namespace, workload }: PlaintextCaller): string =>
    `${namespace}/${workload}`;
  // The most frequent come first within one workload already.
  callers.sort((left, right) =>
    pathOf(left) < pathOf(right) ? -1 : pathOf(left) > pathOf(right) ? 1 : 0,
  );
  return { callers, dropped };
}

/** The call itself, and not what a policy would have done to it. */
export function isPlaintext({ policy, peer }: SeenCall): boolean {
  return policy === "" && peer === "";
}
