/** Resolves a host whose name somebody else chose: every address that it leads to is judged, and the connection goes to a judged one. */
import { lookup, type LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { isPublic, isWithin } from "../../core/text/network.ts";

/** What may be reached beside public addresses. */
export interface Reach {
  /** Hosts in lower case, whatever they resolve to. */
  readonly hosts: readonly string[];
  /** CIDR ranges, whatever host leads there. */
  readonly ranges: readonly string[];
}

/** Node's `dns.lookup` gives an error alone, though its types promise addresses beside it. */
export type ResolveHost = (
  host: string,
  done: (error: Error | null, addresses?: readonly LookupAddress[]) => void,
) => void;

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

export const systemLookup: ResolveHost = (host, done) =>
  lookup(host, { all: true, order: "verbatim" }, done);

/** One address that may not be reached refuses the host: an honest one has none. */
export function guardedLookup(
  resolve: ResolveHost,
  allows: AllowsAddress,
): LookupFunction {
  return (host, { all }, done) =>
    resolve(host, (error, addresses = []) => {
      if (error !== null) {
        done(error, "");
        return;
      }
      const [first] = addresses;
      const bad = addresses.find(({ address }) => !allows(address));
      if (bad !== undefined)
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
