/** Who has which ADDRESS:PORT: each belongs to one identity at a time, and the first to come has it. */
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

export function makeAddressBook(): AddressBook {
  /** By place: the accounts of its Workloads, by their names. */
  const places = new Map<string, Map<string, string>>();
  const claims = new Map<string, readonly string[]>();

  const remove = (name: string): void => {
    for (const place of claims.get(name) ?? []) {
      const holders = places.get(place);
      holders?.delete(name);
      if (holders?.size === 0) places.delete(place);
    }
    claims.delete(name);
  };

  return {
    conflict(workload) {
      const name = nameOf(workload);
      const account = accountOf(workload);
      for (const place of placesOf(workload))
        for (const [holder, other] of places.get(place) ?? [])
          if (holder !== name && other !== account)
            return { place, workload: holder, account: other };
      return undefined;
    },
    put(workload) {
      const name = nameOf(workload);
      remove(name);
      const claimed = placesOf(workload);
      claims.set(name, claimed);
      for (const place of claimed) {
        const holders = places.get(place) ?? new Map<string, string>();
        places.set(place, holders.set(name, accountOf(workload)));
      }
    },
    remove,
  };
}

function nameOf({ metadata }: WorkloadResource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}
