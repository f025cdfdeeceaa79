/** The keys that a rule's `when` may have (Istio's conditions). */

export const CONDITION_KEYS = [
  "source.ip",
  "remote.ip",
  "source.namespace",
  "source.principal",
  "source.serviceAccount",
  "source.trustDomain",
  "destination.ip",
  "destination.port",
  "connection.sni",
  "request.auth.principal",
  "request.auth.audiences",
  "request.auth.presenter",
] as const;

export type ConditionKey = (typeof CONDITION_KEYS)[number];

/** Undefined of a key that is of a header, or of none. */
export function conditionKeyOf(key: string): ConditionKey | undefined {
  return CONDITION_KEYS.find((known) => known === key);
}

/** The name in `request.headers[NAME]`; undefined of any other key. */
export function headerOf(key: string): string | undefined {
  return /^request\.headers\[([^[\]]+)\]$/.exec(key)?.[1];
}

/** The names in `request.auth.claims[NAME][NAME]`; undefined of any other key. */
export function claimPathOf(key: string): readonly string[] | undefined {
  const names = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/.exec(key)?.[1];
  return names?.slice(1, -1).split("][");
}
