/** Which workload identity has an ADDRESS:PORT: one decision, which sidecars follow, registration keeps and conditions report. */
import { formatHostPort } from "../../core/text/host-port.ts";
import { canonicalAddress } from "../../core/text/network.ts";
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

export interface AddressOwners {
  /** Whether the Workload may have captured calls to the place: it is its identity's, or nobody's. */
  has(workload: string, address: string, port: number): boolean;
  readonly losses: readonly AddressLoss[];
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
  const { address, ports, link } = workload.spec;
  const claimed = new Set(Object.values(ports ?? {}));
  if (link !== undefined) claimed.add(link.port);
  // The control plane has written a registered one in its one form.
  const plain = isRegistered(workload) ? address : formOf(address);
  return Array.from(claimed, (port) => formatHostPort(plain, port));
}

/**
 * `workloads` has the oldest first (trap 18). What a sidecar registered was proven to the control plane, so it comes before what
 * persons wrote; then the oldest has a place, for its whole identity.
 */
export function addressOwners(
  workloads: readonly WorkloadResource[],
): AddressOwners {
  const owners = new Map<string, WorkloadResource>();
  const lost = new Set<string>();
  const losses: AddressLoss[] = [];
  const ranked = [
    ...workloads.filter(isRegistered),
    ...workloads.filter((workload) => !isRegistered(workload)),
  ];
  for (const workload of ranked)
    for (const place of placesOf(workload)) {
      const winner = owners.get(place);
      if (winner === undefined) owners.set(place, workload);
      else if (accountOf(winner) !== accountOf(workload)) {
        lost.add(`${nameOf(workload)} ${place}`);
        losses.push({ loser: workload, winner, place });
      }
    }
  return {
    losses,
    has: (workload, address, port) =>
      lost.size === 0 ||
      !lost.has(`${workload} ${formatHostPort(formOf(address), port)}`),
  };
}

function isRegistered({ metadata }: WorkloadResource): boolean {
  return metadata.annotations?.[REGISTERED_BY] !== undefined;
}

function nameOf({ metadata }: WorkloadResource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}

function formOf(address: string): string {
  return canonicalAddress(address) ?? address.toLowerCase();
}
