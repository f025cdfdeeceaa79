/** What the schema of Mesh cannot state: one name, bounds of durations, and providers. */
import { durationOf, formatDuration } from "../../core/duration.ts";
import type { Resource } from "../envelope.ts";
import type { Problem } from "../kind.ts";
import { error, quote } from "../problems.ts";
import { checkHostClaims, type HostClaims } from "./host-claims.ts";
import { checkPrivateFetch, type PrivateFetchSpec } from "./private-fetch.ts";
import { checkProviders, type ProviderSpec } from "./providers.ts";

/** Shorter ones would be renewed without pause, longer ones outlive a theft. */
const LEAST_TTL = 60_000;
export const LONGEST_TTL: number = 90 * 86_400_000;
/** After a longer absence a person enrols the instance again. */
export const LONGEST_RENEWAL: number = 90 * 86_400_000;

const PROVIDERS_AT = ["spec", "authorization", "providers"];

interface CheckedMesh {
  readonly authorization: { readonly providers?: readonly ProviderSpec[] };
  readonly mtls?: {
    readonly certificateTTL?: string;
    readonly renewExpiredFor?: string;
  };
  readonly privateFetch?: PrivateFetchSpec;
  readonly hostClaims?: HostClaims;
  readonly defaults?: { readonly timeouts?: { readonly connect?: string } };
}

/** `name`: of the only Mesh there is. */
export function checkMesh(
  { metadata, spec }: Resource<CheckedMesh>,
  name: string,
): Problem[] {
  const problems: Problem[] = [];
  if (metadata.name !== name)
    problems.push(
      error(
        ["metadata", "name"],
        `must be "${name}": there is one Mesh, not ${quote(metadata.name)} besides`,
      ),
    );
  const ttl = spec.mtls?.certificateTTL;
  if (ttl !== undefined) {
    const ms = durationOf(ttl);
    if (ms < LEAST_TTL || ms > LONGEST_TTL)
      problems.push(
        error(
          ["spec", "mtls", "certificateTTL"],
          `must be from ${formatDuration(LEAST_TTL)} to ${formatDuration(LONGEST_TTL)}, not ${ttl}`,
        ),
      );
  }
  const late = spec.mtls?.renewExpiredFor;
  if (late !== undefined && durationOf(late) > LONGEST_RENEWAL)
    problems.push(
      error(
        ["spec", "mtls", "renewExpiredFor"],
        `must be from 0s to ${formatDuration(LONGEST_RENEWAL)}, not ${late}`,
      ),
    );
  problems.push(
    ...checkPrivateFetch(spec.privateFetch),
    ...checkHostClaims(spec.hostClaims),
  );
  problems.push(
    ...checkProviders(spec.authorization.providers ?? [], PROVIDERS_AT),
  );
  const connect = spec.defaults?.timeouts?.connect;
  if (connect !== undefined && durationOf(connect) === 0)
    problems.push(
      error(
        ["spec", "defaults", "timeouts", "connect"],
        "must be above 0: a connection that is never given up holds its request for ever",
      ),
    );
  return problems;
}
