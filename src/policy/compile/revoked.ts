/** What is revoked, of the Revocations that there are. */
import { parseTimestamp } from "../../core/clock.ts";
import type { WallMs } from "../../core/units.ts";
import {
  normalSerial,
  Revoked,
  type Revocation,
} from "../../identity/revoked.ts";
import type { RevocationResource } from "../../resources/revocation/schema.ts";

export function revokedOf(resources: Iterable<RevocationResource>): Revoked {
  const revocations = [...resources].map(revocationOf);
  return revocations.length === 0 ? Revoked.NONE : new Revoked(revocations);
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
