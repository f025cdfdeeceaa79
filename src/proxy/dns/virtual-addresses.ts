/**
 * Addresses that stand for names: a Service has none of its own, so that each name that is resolved here gets one that nobody else has.
 * A captured connection to it is a call by that name.
 */
import { createHash } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { Destination, Snapshot } from "../../policy/snapshot.ts";
import { serviceHost } from "../../mesh/service-key.ts";
import type { LocalUpstream } from "../destination.ts";

export type VirtualFamily = "ipv4" | "ipv6";

/** 240.0.0.0/4 is reserved (RFC 1112); this part of it is what Istio takes. 2001:2::/48 is for benchmarks (RFC 5180). */
const IPV4_PREFIX = "240.240.";
const IPV6_PREFIX = "2001:2:0:";
/** The first and last of the range stay free, as network and broadcast address. */
const IPV4_HOSTS = 0xfffe;
/** Names with an address: the one that was of no use for longest makes room. The range stays so empty that a free one is soon found. */
export const MOST_VIRTUAL = 32_768;

/** Names of the mesh that are passed over where one has to make room. */
const MOST_SPARED = 4096;

/** Addresses that were another's, one after the other, until one of them is taken all the same. */
const MOST_KEPT = 1024;
const NONE_KEPT: ReadonlyMap<string, string | undefined> = new Map();

/** What listeners ask of a captured connection's address. */
export interface VirtualNames {
  /** What a connection to it calls; undefined for an address that stands for no name at all. */
  upstreamOf(
    snapshot: Snapshot | undefined,
    address: string,
    port: number,
  ): LocalUpstream | undefined;
}

/** A host and the address that stands for it. */
export interface VirtualName {
  readonly host: string;
  readonly address: string;
}

export class VirtualAddresses implements VirtualNames {
  /** The one that was of no use for longest comes first. */
  readonly #byHost = new Map<string, string>();
  readonly #byAddress = new Map<string, string>();
  /** Told what has made room. */
  onForgotten: ((name: VirtualName) => void) | undefined;
  /** What the names of a snapshot had in the process before this one; undefined where several may have had it. */
  readonly #preferred = new WeakMap<
    Snapshot,
    Map<string, string | undefined>
  >();

  readonly #isOwn: (host: string) => boolean;

  /** `isOwn`: whether a Service of the mesh has the name. All others are of hosts outside, of which a wildcard takes in any number. */
  constructor(isOwn: (host: string) => boolean = () => false) {
    this.#isOwn = isOwn;
  }

  get size(): number {
    return this.#byHost.size;
  }

  /**
   * The address of the name; the same for as long as it is in use, and most often in the next process, too. `others`: their names may have
   * had theirs from the process before this one, and applications may know them by these still.
   */
  addressOf(host: string, family: VirtualFamily, others?: Snapshot): string {
    const known = this.#byHost.get(keyOf(host, family));
    if (known !== undefined) {
      this.set(host, known);
      return known;
    }
    const kept = others === undefined ? NONE_KEPT : this.#preferredIn(others);
    const isTaken = (it: string): boolean =>
      kept.has(it) && kept.get(it) !== host;
    const from = isTaken(preferred(host, family, 0)) ? elsewhere(host) : 0;
    let address: string;
    for (let tries = 0; ; tries += 1) {
      address = preferred(host, family, from + tries);
      // A mesh may have more names than there are addresses.
      const may = !isTaken(address) || tries > MOST_KEPT;
      if (may && !this.#byAddress.has(address)) break;
    }
    this.set(host, address);
    return address;
  }

  /** Another worker, or process, has given it that address: what stood there stands there no more. */
  set(host: string, address: string): void {
    const family = familyOf(address);
    const key = keyOf(host, family);
    const had = this.#byHost.get(key);
    const other = this.#byAddress.get(address);
    if (other !== undefined && other !== host)
      this.#byHost.delete(keyOf(other, family));
    if (had !== undefined && had !== address) this.#byAddress.delete(had);
    this.#byHost.delete(key);
    this.#byHost.set(key, address);
    this.#byAddress.set(address, host);
    if (this.#byHost.size > MOST_VIRTUAL) this.#makeRoom();
  }

  /**
   * A name of the mesh stays where another one can go: applications go by its address for as long as they like, and that address could
   * be had for a host outside by having one of them resolve enough names below a wildcard.
   */
  #makeRoom(): void {
    const [oldest] = this.#byHost;
    const going = this.#oldestOutside() ?? oldest;
    if (going === undefined) return;
    const [key, address] = going;
    const host = this.#byAddress.get(address);
    this.#byHost.delete(key);
    this.#byAddress.delete(address);
    if (host !== undefined) this.onForgotten?.({ host, address });
  }

  /** Undefined where the first ones, and there may be more, are all of the mesh. */
  #oldestOutside(): readonly [key: string, address: string] | undefined {
    let looked = 0;
    for (const [key, address] of this.#byHost) {
      const host = this.#byAddress.get(address);
      if (host === undefined || !this.#isOwn(host)) return [key, address];
      if ((looked += 1) > MOST_SPARED) break;
      // As if it was asked for now: the next one that makes room does not look at it again.
      this.#byHost.delete(key);
      this.#byHost.set(key, address);
    }
    return undefined;
  }

  hostOf(snapshot: Snapshot | undefined, address: string): string | undefined {
    return (
      this.#byAddress.get(address) ??
      (snapshot && this.#preferredIn(snapshot).get(address))
    );
  }

  upstreamOf(
    snapshot: Snapshot | undefined,
    address: string,
    port: number,
  ): LocalUpstream | undefined {
    if (!isVirtual(address)) return undefined;
    const host = this.hostOf(snapshot, address) ?? address;
    return { host, port, virtual: true };
  }

  /** An application may know an address still that the process before this one gave it. */
  #preferredIn(snapshot: Snapshot): ReadonlyMap<string, string | undefined> {
    const known = this.#preferred.get(snapshot);
    if (known !== undefined) return known;
    const hosts = new Set<string>();
    for (const destination of snapshot.destinations)
      for (const host of hostsOf(destination, snapshot.mesh.trustDomain))
        hosts.add(host);
    const found = new Map<string, string | undefined>();
    for (const family of ["ipv4", "ipv6"] as const)
      for (const [address, host] of expected(hosts, family))
        found.set(address, host);
    this.#preferred.set(snapshot, found);
    return found;
  }
}

/**
 * The addresses that the names can have had, and whose each was. Where several prefer one address, the first to be asked for got it and the
 * others got the next free ones: by which of them an application knows it is not for us to guess, and each is undefined.
 */
function expected(
  hosts: Iterable<string>,
  family: VirtualFamily,
): ReadonlyMap<string, string | undefined> {
  const found = new Map<string, string | undefined>();
  const crowds = new Map<string, string[]>();
  for (const host of hosts) {
    const address = preferred(host, family, 0);
    const other = found.get(address);
    if (other === undefined) found.set(address, host);
    else {
      const crowd = crowds.get(address);
      if (crowd === undefined) crowds.set(address, [other, host]);
      else crowd.push(host);
    }
  }
  const doubtful = new Set<string>();
  for (const [address, crowd] of crowds) {
    const [host = ""] = crowd;
    doubtful.add(address);
    // A name that has to move on may push out the next one.
    for (let moved = crowd.length - 1, tries = 1; moved > 0; tries += 1) {
      const next = preferred(host, family, tries);
      const there = crowds.get(next)?.length ?? (found.has(next) ? 1 : 0);
      doubtful.add(next);
      moved += there - 1;
    }
  }
  for (const address of doubtful) found.set(address, undefined);
  return found;
}

export function isVirtual(address: string): boolean {
  return address.startsWith(IPV4_PREFIX) || address.startsWith(IPV6_PREFIX);
}

/** The one name of all that a Service of the mesh has. */
export function fullName(
  { service }: Destination,
  trustDomain: string,
): string {
  const { name, namespace } = service;
  return `${serviceHost(name, namespace)}.svc.${trustDomain}`.toLowerCase();
}

/** Whether it is one of the names that the mesh gives its Services: no host outside can have such a one. */
export function isOwnName(
  host: string,
  snapshot: Snapshot | undefined,
): boolean {
  const domain = snapshot?.mesh.trustDomain.toLowerCase();
  return domain !== undefined && host.endsWith(`.svc.${domain}`);
}

function hostsOf(
  destination: Destination,
  trustDomain: string,
): readonly string[] {
  return destination.cluster.external
    ? destination.cluster.endpoints.map(
        ({ host, workload }) => host ?? workload,
      )
    : [fullName(destination, trustDomain)];
}

function keyOf(host: string, family: VirtualFamily): string {
  return `${family} ${host}`;
}

export function familyOf(address: string): VirtualFamily {
  return address.includes(":") ? "ipv6" : "ipv4";
}

/** How far on a name goes on whose address may be another's: names that prefer one address part here, and go the same way in each process. */
function elsewhere(host: string): number {
  const hash = createHash("sha256").update(host).digest();
  return 1 + (hash.readUInt32BE(16) % IPV4_HOSTS);
}

/** The address that the name is to have; `tries`: so many others had theirs first. */
function preferred(host: string, family: VirtualFamily, tries: number): string {
  const hash = createHash("sha256").update(host).digest();
  if (family === "ipv4") {
    const index = 1 + ((hash.readUInt32BE(0) + tries) % IPV4_HOSTS);
    return `${IPV4_PREFIX}${index >> 8}.${index & 255}`;
  }
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(0x2001_0002, 0);
  hash.copy(bytes, 6, 4, 10);
  // Not 0, which would be written shorter than the prefix is.
  bytes[6] = hash.readUInt8(4) | 0x80;
  bytes.writeUInt32BE((hash.readUInt32BE(12) + tries) % 2 ** 32, 12);
  return new ipaddr.IPv6([...bytes]).toRFC5952String();
}
