/** Resolves a host whose name somebody else chose: every address that it leads to is judged, and the connection goes to a judged one. */
import type { LookupFunction } from "node:net";
import { isPublic, isWithin } from "../../core/text/network.ts";
import { resolveHost, type ResolveHost } from "./host-lookups.ts";

/** What may be reached beside public addresses. */
export interface Reach {
  /** Hosts in lower case, whatever they resolve to. */
  readonly hosts: readonly string[];
  /** CIDR ranges, whatever host leads there. */
  readonly ranges: readonly string[];
}

type AllowsAddress = (address: string) => boolean;

/** The host leads where it may not. */
export class NotPublic extends Error {}

export function allowsFor(
  host: string,
  { hosts, ranges }: Reach,
): AllowsAddress {
  if (hosts.includes(host.replace(/\.$/, ""))) return () => true;
  return (address) => isPublic(address) || isWithin(address, ranges);
}

/** The look-up of a dial. `reach`: where the host may lead; absent: anywhere. */
export function lookupOf(
  host: string,
  reach: Reach | undefined,
): LookupFunction {
  return guardedLookup(
    resolveHost,
    reach === undefined ? () => true : allowsFor(host, reach),
  );
}

/** One address that may not be reached refuses the host: an honest one has none. */
export function guardedLookup(
  resolve: ResolveHost,
  allows: AllowsAddress,
): LookupFunction {
  return (host, { all }, done) =>
    resolve(host, (error, addresses = []) => {
      const [first] = addresses;
      const bad = addresses.find(({ address }) => !allows(address));
      if (error !== null) done(error, "");
      else if (bad !== undefined)
        done(
          new NotPublic(
            `${host} leads to ${bad.address}, not a public address`,
          ),
          "",
        );
      else if (first === undefined)
        done(new Error(`${host} has no address`), "");
      else if (all === true) done(null, [...addresses]);
      else done(null, first.address, first.family);
    });
}
