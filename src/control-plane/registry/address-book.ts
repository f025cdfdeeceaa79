/** The owners of ADDRESS:PORT: each belongs to one identity at a time, and the first to come has it. */
import { Multimap } from "../../core/multimap.ts";
import {
  accountOf,
  placesOf,
} from "../../resources/ownership/address-owners.ts";
import { formatName } from "../../resources/envelope.ts";
import type { WorkloadResource } from "../../resources/workload/schema.ts";

export interface AddressBook {
  /** Whose place it is that the Workload claims, where it is another identity's. */
  conflict(workload: WorkloadResource): AddressConflict | undefined;
  /** Writes the Workload in, in place of what it claimed before. */
  put(workload: WorkloadResource): void;
  /** `workload` is "NAMESPACE/NAME". */
  remove(workload: string): void;
}

export interface AddressConflict {
  /** "ADDRESS:PORT" */
  readonly place: string;
  /** "NAMESPACE/NAME" of the Workload that has it. */
  readonly workload: string;
  /** "NAMESPACE/SERVICE-ACCOUNT" of that one. */
  readonly account: string;
}

/** What one Workload claims. */
interface Claimant {
  readonly workload: string;
  readonly account: string;
  readonly places: readonly string[];
}

export function makeAddressBook(): AddressBook {
  const places = new Multimap<string, Claimant>();
  const claimants = new Map<string, Claimant>();

  const remove = (name: string): void => {
    const claimant = claimants.get(name);
    if (claimant === undefined) return;
    for (const place of claimant.places) places.delete(place, claimant);
    claimants.delete(name);
  };

  return {
    conflict(workload) {
      const name = nameOf(workload);
      const account = accountOf(workload);
      for (const place of placesOf(workload))
        for (const holder of places.get(place))
          if (holder.workload !== name && holder.account !== account)
            return {
              place,
              workload: holder.workload,
              account: holder.account,
            };
      return undefined;
    },
    put(workload) {
      const name = nameOf(workload);
      remove(name);
      const claimant = {
        workload: name,
        account: accountOf(workload),
        places: placesOf(workload),
      };
      claimants.set(name, claimant);
      for (const place of claimant.places) places.add(place, claimant);
    },
    remove,
  };
}

function nameOf({ metadata }: WorkloadResource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}
