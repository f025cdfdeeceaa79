/** What is known of a call, as the rules of an AuthorizationPolicy read it. */
import { memo } from "../../core/memo.ts";
import { plainAddress } from "../../core/text/network.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { VerifiedClaims } from "../../identity/jwt/claims.ts";
import { parseSpiffeId } from "../../identity/spiffe.ts";
import type { HeaderLines } from "../../mesh/header-readings.ts";
import { forwardedAddress } from "./forwarded-address.ts";

/** Identity comes from the verified peer certificate of the call's own connection only (law 5, trap 4). */
export interface AuthorizationFacts {
  /** SPIFFE id of the peer, as a URI; undefined on plaintext. */
  readonly peer: SpiffeUri | undefined;
  /** The application's port. */
  readonly port: number;
  readonly connection: AuthorizedConnection;
  /** Undefined for TCP: what only HTTP has is missing then (trap 3). */
  readonly request: AuthorizedRequest | undefined;
  /** Claims of the request's token, once it is verified; undefined where it has none. */
  readonly claims?: VerifiedClaims | undefined;
}

/** The ends of the connection that the call came on. `ServerConnectionInfo` satisfies it. */
export interface AuthorizedConnection {
  /** IP address of the caller; undefined where that is not known. */
  readonly remoteAddress: string | undefined;
  /** IP address of the workload that was called; undefined where that is not known. */
  readonly localAddress: string | undefined;
  /** The host that TLS of the connection names, in its canonical form; undefined where it names none, or there is no TLS. */
  readonly serverName?: string | undefined;
}

/** What authorization reads of a request; `RequestFacts` satisfies it. */
export interface AuthorizedRequest {
  readonly method: string;
  /** Lower-case, without port. */
  readonly host: string;
  /** Normalised, without query: the very path that is forwarded (law 6). */
  readonly path: string;
  /** By lower-case name; several values joined as RFC 9110 5.3 says. */
  header(name: string): string | undefined;
  /** The same, line by line. */
  lines(name: string): HeaderLines;
}

/** The facts with the peer's name taken apart once, for all rules. */
export interface Call extends Caller {
  readonly port: string;
  readonly connection: AuthorizedConnection;
  readonly request: AuthorizedRequest | undefined;
  readonly claims: VerifiedClaims | undefined;
}

/** A peer's name taken apart; undefined on plaintext. */
interface Caller {
  /** "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT" */
  readonly principal: string | undefined;
  readonly trustDomain: string | undefined;
  readonly namespace: string | undefined;
  /** "NAMESPACE/ACCOUNT" */
  readonly serviceAccount: string | undefined;
}

const NOBODY: Caller = {
  principal: undefined,
  trustDomain: undefined,
  namespace: undefined,
  serviceAccount: undefined,
};

/** All requests of a connection have the same peer, and to take its name apart is most of what a simple policy costs. */
const callerOf: (peer: SpiffeUri) => Caller = memo((peer) => {
  const id = parseSpiffeId(peer);
  // Nobody has a name that is not an identity of a mesh.
  if (id === undefined) return NOBODY;
  return {
    principal: peer.slice("spiffe://".length),
    trustDomain: id.trustDomain,
    namespace: id.namespace,
    serviceAccount: `${id.namespace}/${id.serviceAccount}`,
  };
});

export function callOf(facts: AuthorizationFacts): Call {
  const { peer, port, connection, request, claims } = facts;
  const { principal, trustDomain, namespace, serviceAccount } =
    peer === undefined ? NOBODY : callerOf(peer);
  return {
    principal,
    trustDomain,
    namespace,
    serviceAccount,
    port: String(port),
    connection,
    request,
    claims,
  };
}

export function sourceAddress({ connection }: Call): string | undefined {
  return addressOf(connection.remoteAddress);
}

export function destinationAddress({ connection }: Call): string | undefined {
  return addressOf(connection.localAddress);
}

/** Where the call comes from by the word of the `trustedHops` proxies before the mesh; without them, or over TCP, the connection's own. */
export function remoteAddress(
  call: Call,
  trustedHops: number,
): string | undefined {
  const said =
    trustedHops > 0 ? call.request?.header("x-forwarded-for") : undefined;
  return said === undefined
    ? sourceAddress(call)
    : (forwardedAddress(said, trustedHops) ?? sourceAddress(call));
}

function addressOf(address: string | undefined): string | undefined {
  return address === undefined || address === ""
    ? undefined
    : plainAddress(address);
}
