/** What is revoked, by the Revocations that there are. */
import { parseTimestamp } from "../../core/clock.ts";
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import {
  normalSerial,
  Revoked,
  type Revocation,
} from "../../identity/revoked.ts";
import { formatSpiffeId, parseSpiffeId } from "../../identity/spiffe.ts";
import type { RevocationResource } from "../../resources/revocation/schema.ts";

/** `trustDomains`: those that count as one. An identity of one is that of all: a peer chooses under which it comes. */
export function revokedOf(
  resources: Iterable<RevocationResource>,
  trustDomains: readonly string[],
): Revoked {
  const revocations = [...resources].flatMap((resource) => {
    const revocation = revocationOf(resource);
    return sameIdentities(revocation.identity, trustDomains).map(
      (identity) => ({ ...revocation, identity }),
    );
  });
  return revocations.length === 0 ? Revoked.NONE : new Revoked(revocations);
}

function sameIdentities(
  identity: SpiffeUri | undefined,
  trustDomains: readonly string[],
): readonly (SpiffeUri | undefined)[] {
  const id = identity === undefined ? undefined : parseSpiffeId(identity);
  return id === undefined || !trustDomains.includes(id.trustDomain)
    ? [identity]
    : trustDomains.map((trustDomain) => formatSpiffeId({ ...id, trustDomain }));
}

function revocationOf({ metadata, spec }: RevocationResource): Revocation {
  const { identity, instance, serial, beginsUpTo, until } = spec;
  return {
    name: metadata.name,
    identity,
    instance,
    serial: serial === undefined ? undefined : normalSerial(serial),
    beginsUpTo: timeOf(beginsUpTo),
    until: timeOf(until),
  };
}

function timeOf(text: string | undefined): WallMs | undefined {
  return text === undefined ? undefined : parseTimestamp(text);
}
