/** Captured calls: the place that was dialled, and the name that a request says → the destination. No call leaves the identity that has the place. */
import { hostOf } from "../../core/text/authority.ts";
import type { CalledName, Destination } from "../snapshot.ts";
import {
  claimsOn,
  isLost,
  ownerOf,
  type AddressClaim,
  type Names,
} from "./destinations.ts";
import { namespaceOf } from "./held/held.ts";
import type { Indexes } from "./held/indexes.ts";
import { instanceOf, type Unit } from "./unit.ts";

/** What the snapshot was made of. */
export interface Compiled {
  readonly names: Names;
  readonly indexes: Pick<Indexes, "lost">;
  unitOf(name: string): Unit | undefined;
}

/** Bytes go to the very endpoint that was dialled: as the Service that is named, where that leads to the place, else as the oldest. */
export function byAddress(
  compiled: Compiled,
  address: string,
  port: number,
  host: string | undefined,
): Destination | undefined {
  const claims = claimsAt(compiled, address, port);
  const claim =
    (host === undefined
      ? undefined
      : claimOf(compiled, claims, { host, port: undefined })) ?? claims[0];
  if (claim === undefined) return undefined;
  const target = compiled.unitOf(claim.service.name)?.targets[claim.port];
  return target?.byEndpoint.get(claim.endpoint) ?? target?.destination;
}

/**
 * A request: the Service that it names, where that leads to the place, with its routes and balancing, as by name. Any other goes to
 * the very endpoint that was dialled, as the oldest Service there treats it, past its routes.
 */
export function byRequest(
  compiled: Compiled,
  address: string,
  port: number,
  named: CalledName | undefined,
): Destination | undefined {
  const claims = claimsAt(compiled, address, port);
  const [first] = claims;
  if (first === undefined) return undefined;
  const meant = named && claimOf(compiled, claims, named);
  if (meant !== undefined) {
    const { destination } =
      compiled.unitOf(meant.service.name)?.targets[meant.port] ?? {};
    if (destination !== undefined) return destination;
  }
  const unit = compiled.unitOf(first.service.name);
  return unit && instanceOf(unit, first.port, first.endpoint);
}

/** Those that are not lost to another identity, the first to be asked first. */
function claimsAt(
  { names, indexes }: Compiled,
  address: string,
  port: number,
): readonly AddressClaim[] {
  const { lost } = indexes;
  const claims = names.addresses.get(`${address} ${port}`);
  return lost.size === 0
    ? claims
    : claims.filter((claim) => !isLost(claim, lost));
}

/** The claim that the name is for. Where two ports of the Service lead to the place, the one that is named with it. */
function claimOf(
  compiled: Compiled,
  claims: readonly AddressClaim[],
  named: CalledName,
): AddressClaim | undefined {
  const [first] = claims;
  let found: AddressClaim | undefined;
  for (const claim of claims) {
    if (first === undefined || !haveOneOwner(first, claim)) continue;
    const number = claim.service.resource.spec.ports[claim.port]?.port;
    if (number === undefined || !isNamed(compiled, claim, number, named.host))
      continue;
    if (number === named.port) return claim;
    found ??= claim;
  }
  return found;
}

/** An external Service never has an address of the mesh's own, whatever is called; an address outside is its first namespace's. */
function haveOneOwner(first: AddressClaim, other: AddressClaim): boolean {
  return first.workload === undefined
    ? namespaceOf(first.service.resource) ===
        namespaceOf(other.service.resource)
    : other.workload !== undefined;
}

function isNamed(
  { names }: Compiled,
  { service }: AddressClaim,
  port: number,
  host: string,
): boolean {
  const name = hostOf(host);
  const own = names.own.get(name);
  if (own !== undefined) return own === service.name;
  return (
    ownerOf(claimsOn(names.hosts, name), port)?.service.name === service.name
  );
}
