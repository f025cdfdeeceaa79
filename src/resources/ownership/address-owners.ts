/** Which workload identity has an ADDRESS:PORT: one decision, which sidecars follow, registration keeps and conditions report. */
import { filterSteps, type Steps } from "../../core/slices.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { comparableAddress } from "../../core/text/network.ts";
import { formatName } from "../envelope.ts";
import {
  REGISTERED_BY,
  workloadSettings,
  type WorkloadResource,
} from "../workload/schema.ts";

/** A Workload that names a place which another identity has. */
export interface AddressLoss {
  readonly loser: WorkloadResource;
  readonly winner: WorkloadResource;
  /** "ADDRESS:PORT" */
  readonly place: string;
}

/** "NAMESPACE/SERVICE-ACCOUNT": what instances of one identity have in common. */
export function accountOf({ metadata, spec }: WorkloadResource): string {
  return formatName(
    metadata.namespace ?? "",
    workloadSettings(spec).serviceAccount,
  );
}

/** Each ADDRESS:PORT that the Workload claims, its sidecar's port among them. */
export function placesOf(workload: WorkloadResource): string[] {
  const { ports, link } = workload.spec;
  const claimed = new Set(Object.values(ports ?? {}));
  if (link !== undefined) claimed.add(link.port);
  return Array.from(claimed, (port) => placeOf(workload, port));
}

/** One of its ports, as everybody who claims it writes it. */
export function placeOf(workload: WorkloadResource, port: number): string {
  const { address } = workload.spec;
  // The control plane has written a registered one in its one form.
  return formatHostPort(
    isRegistered(workload) ? address : comparableAddress(address),
    port,
  );
}

/** What a sidecar registered was proven to the control plane, so it comes before what persons wrote. */
export function isRegistered({ metadata }: WorkloadResource): boolean {
  return metadata.annotations?.[REGISTERED_BY] !== undefined;
}

/** Whether the first to claim a place has it instead of `other`: a place is its first identity's, with all instances. */
export function takesFrom(
  first: WorkloadResource,
  other: WorkloadResource,
): boolean {
  return accountOf(first) !== accountOf(other);
}

/** `workloads` has the oldest first (trap 18): of the registered ones, and then of the others, the oldest has a place. */
export function* addressLosses(
  workloads: readonly WorkloadResource[],
): Steps<readonly AddressLoss[]> {
  const owners = new Map<string, WorkloadResource>();
  const losses: AddressLoss[] = [];
  for (const ranked of [
    yield* filterSteps(workloads, isRegistered),
    yield* filterSteps(workloads, (each) => !isRegistered(each)),
  ])
    for (const workload of ranked) {
      yield;
      for (const place of placesOf(workload)) {
        const winner = owners.get(place);
        if (winner === undefined) owners.set(place, workload);
        else if (takesFrom(winner, workload))
          losses.push({ loser: workload, winner, place });
      }
    }
  return losses;
}
