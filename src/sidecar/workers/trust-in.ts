/** What a worker's connections are judged by: roots, what is revoked, and the trust domains that count as the own. */
import { isDeepStrictEqual } from "node:util";
import { watchSource, type Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { Revoked } from "../../identity/revoked.ts";
import type { TrustSet } from "../../identity/trust.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import { trustDomainsOf } from "../../resources/mesh/schema.ts";
import { domainsLike } from "../../wire/tls/tls-context.ts";

/** The roots come with the credentials, and what is revoked with the config. */
export function trustIn(
  credentials: Watch<Credentials | undefined>,
  snapshot: Watch<Pick<Snapshot, "revoked" | "mesh"> | undefined>,
): Watch<TrustSet | undefined> {
  const trust = watchSource<TrustSet | undefined>(undefined);
  const look = (): void => {
    if (credentials.value === undefined) return;
    const { trustBundle, spiffeId } = credentials.value;
    const revoked = snapshot.value?.revoked ?? Revoked.NONE;
    const equal = trustDomainsOf(snapshot.value?.mesh);
    const trustDomains = domainsLike(spiffeId.trustDomain, equal);
    const { value } = trust;
    if (
      value?.trustBundle !== trustBundle ||
      value.revoked !== revoked ||
      !isDeepStrictEqual(value.trustDomains, trustDomains)
    )
      trust.set({ trustBundle, revoked, trustDomains });
  };
  credentials.subscribe(look);
  snapshot.subscribe(look);
  return trust;
}
