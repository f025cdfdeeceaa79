/**
 * What a caller without an identity says of where its requests come from, and what is put in its place.
 *
 * Anybody can write `X-Forwarded-For: 10.0.0.1` (RFC 7239 8.1). Such fields are kept from a peer with a certificate, and from the local
 * application: they may be a gateway, and vouch for what they say by their identity. From anybody else they are taken out by the
 * codec, before policy sees the request, and the application gets what the socket says, as Envoy does at a mesh's edge.
 */
import { BlockList, isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { messageOf, UserError } from "../../core/errors.ts";
import { plainAddress } from "../../core/text/network.ts";
import type { Claims } from "../../wire/exchange.ts";
import { FieldClass } from "../../mesh/field-class.ts";
import { makeField } from "../../wire/fields.ts";

/** Every caller without an identity speaks plaintext. */
const PROTO = makeField("x-forwarded-proto", "http");
const DROPPED = FieldClass.FORWARDED | FieldClass.MESH;
/** Identity and steering of the mesh's own making are not believed of a proxy either. */
const PROXY: Claims = { dropped: FieldClass.MESH, known: [] };

/** What is not believed of anybody, the peer with a certificate and the local application included (law 5). */
export const NO_IDENTITY: Claims = {
  dropped: FieldClass.IDENTITY,
  known: [],
};

/** What becomes of the claims of a caller without an identity, by its address. Made once a connection. */
export type ClaimsOf = (remoteAddress: string) => Claims;

/** `trusted`: CIDR ranges of proxies, load balancers say, whose word on where a request comes from is taken. Throws UserError. */
export function trustedProxies(
  trusted: readonly string[],
): (remoteAddress: string) => boolean {
  if (trusted.length === 0) return () => false;
  const list = new BlockList();
  for (const range of trusted) {
    const [address, bits] = parsed(range);
    list.addSubnet(address.toString(), bits, address.kind());
  }
  return (remoteAddress) => isTrusted(list, plainAddress(remoteAddress));
}

/** As `trustedProxies`. */
export function strangersClaims(trusted: readonly string[]): ClaimsOf {
  const isProxy = trustedProxies(trusted);
  return (remoteAddress) => {
    if (isProxy(remoteAddress)) return PROXY;
    const address = plainAddress(remoteAddress);
    return {
      dropped: DROPPED,
      known: [makeField("x-forwarded-for", address, "without"), PROTO],
    };
  };
}

function isTrusted(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? "ipv6" : "ipv4");
}

function parsed(range: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  try {
    return ipaddr.parseCIDR(range);
  } catch (error) {
    throw new UserError(
      `invalid --trusted-proxy ${range}: ${messageOf(error)}; expected a range like 10.0.0.0/8 or fd00::/8`,
    );
  }
}
