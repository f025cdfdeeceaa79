/** The part of the Mesh that says which namespaces may claim which hosts outside: without it, the first namespace to claim one has it. */
import Type, { type TOptional, type TUnsafe } from "typebox";
import type { Problem } from "../kind.ts";
import { duplicates, quote } from "../problems.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME,
  field,
} from "../schema-parts.ts";

export interface HostClaimSpec {
  /** Names, or `*.NAME` for all names below one. */
  readonly hosts: readonly string[];
  /** Empty: nobody. */
  readonly namespaces: readonly string[];
}

/** As they are written: settings are compared as JSON. */
export type HostClaims = readonly HostClaimSpec[];

interface HostClaim {
  readonly namespaces: readonly string[];
  /** Where it is written. */
  readonly at: string;
}

/** By the host as it is written. */
type ByHost = ReadonlyMap<string, HostClaim>;

/** Made once for all that ask. */
const found = new WeakMap<HostClaims, ByHost>();

function byHostOf(claims: HostClaims): ByHost {
  const known = found.get(claims);
  if (known !== undefined) return known;
  const made: ByHost = new Map(
    claims.flatMap(({ hosts, namespaces }, index) =>
      hosts.map((host) => [
        host,
        { namespaces, at: `spec.hostClaims[${index}]` },
      ]),
    ),
  );
  found.set(claims, made);
  return made;
}

const entries: TUnsafe<HostClaims> = Type.Unsafe(
  describes<HostClaims>()(
    Type.Array(
      Type.Object(
        {
          hosts: field(
            "Names of hosts, or `*.NAME` for every host below one. The longest that fits a host counts.",
            Type.Array(
              Type.String({
                pattern: `^(\\*|(\\*\\.)?${DNS_NAME.pattern.slice(1, -1)})$`,
                maxLength: 253,
                expected:
                  'a host name in lower case, "*." before one, or "*" for every host',
              }),
              { minItems: 1, maxItems: 256 },
            ),
          ),
          namespaces: field(
            "The namespaces whose external Services may claim them. An empty list is nobody.",
            Type.Array(Type.String(DNS_LABEL), { maxItems: 256 }),
          ),
        },
        CLOSED,
      ),
      { minItems: 1, maxItems: 256 },
    ),
  ),
);

export const HOST_CLAIMS: TOptional<TUnsafe<HostClaims>> = field(
  "Which namespaces may claim which hosts outside, by external Services. Other hosts are those of the first namespace to claim them.",
  Type.Optional(entries),
);

export function checkHostClaims(
  spec: readonly HostClaimSpec[] | undefined,
): Problem[] {
  const hosts = (spec ?? []).flatMap((entry, index) =>
    entry.hosts.map((host, at) => ({
      host,
      path: ["spec", "hostClaims", index, "hosts", at],
    })),
  );
  return duplicates(
    hosts,
    ({ host }) => host,
    (index) => hosts[index]?.path ?? [],
    "the host",
  );
}

/** Why the namespace may not claim the host, with the owners' names; undefined where it may. */
export function claimRefusal(
  claims: HostClaims,
  host: string,
  namespace: string,
): string | undefined {
  if (claims.length === 0) return undefined;
  const byHost = byHostOf(claims);
  const claim = nearest(byHost, host);
  if (claim === undefined || claim.namespaces.includes(namespace))
    return below(byHost, host, namespace);
  return `${quote(host)} belongs to ${ownersText(claim)} by ${claim.at} of the Mesh, and this Service is in namespace ${namespace}`;
}

/** The host itself, then the nearest name above it. */
function nearest(claims: ByHost, host: string): HostClaim | undefined {
  const exact = claims.get(host);
  if (exact !== undefined) return exact;
  let name = host;
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".")) {
    name = name.slice(dot + 1);
    const claim = claims.get(`*.${name}`);
    if (claim !== undefined) return claim;
  }
  return claims.get("*");
}

/** A claim on all hosts below a name is one on each that the Mesh gives to somebody. */
function below(
  claims: ByHost,
  host: string,
  namespace: string,
): string | undefined {
  if (!host.startsWith("*")) return undefined;
  const end = host.slice(1);
  for (const [other, claim] of claims)
    if (other.endsWith(end) && !claim.namespaces.includes(namespace))
      return `${quote(host)} takes in ${quote(other)}, which belongs to ${ownersText(claim)} by ${claim.at} of the Mesh`;
  return undefined;
}

function ownersText({ namespaces }: HostClaim): string {
  return namespaces.length === 0
    ? "nobody"
    : `${namespaces.length === 1 ? "namespace" : "the namespaces"} ${namespaces.join(", ")}`;
}
