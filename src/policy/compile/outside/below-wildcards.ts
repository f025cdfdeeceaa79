/** The hosts below the wildcards of an external Service, on one port: each is a cluster of its own, made when it is called, and so many at most. */
import { isWildcard, wildcardsOver } from "../../../core/text/wildcards.ts";
import {
  targetPortOf,
  type ServicePort,
  type ServiceSpec,
} from "../../../resources/service/schema.ts";
import type { Cluster, Endpoint } from "../../snapshot.ts";
import { externalEndpoint, externalKey } from "../endpoints.ts";

/**
 * Hosts of one port; the one that was called the longest ago makes room. The proxy keeps the states of as many, in all: it closes those
 * whose clusters are forgotten here.
 */
export const MOST_HOSTS = 512;

/** What all of them have in common. */
interface Common {
  readonly wildcards: ReadonlySet<string>;
  readonly port: ServicePort;
  /** That of the hosts that are known beforehand. */
  readonly cluster: Cluster;
  /** Addresses that are not public, and may be called all the same. */
  readonly reach: NonNullable<Endpoint["reach"]>;
}

export class HostsBelow {
  readonly #common: Common;
  /** By the keys of their endpoints, those called lately at the end. */
  readonly #clusters = new Map<string, Cluster>();

  constructor(common: Common, before: HostsBelow | undefined) {
    this.#common = common;
    if (before === undefined) return;
    for (const [key, { endpoints }] of before.#clusters)
      for (const endpoint of endpoints)
        if (this.#takes(endpoint.address)) this.#put(key, endpoint.address);
  }

  isFor({ wildcards, port, cluster, reach }: Common): boolean {
    const own = this.#common;
    return (
      own.cluster === cluster &&
      targetPortOf(own.port) === targetPortOf(port) &&
      JSON.stringify([...own.wildcards]) === JSON.stringify([...wildcards]) &&
      JSON.stringify(own.reach) === JSON.stringify(reach)
    );
  }

  /** The cluster of a host that a wildcard takes in. */
  of(host: string): Cluster {
    const key = externalKey(host, this.#common.port);
    const known = this.#clusters.get(key);
    if (known !== undefined) {
      this.#clusters.delete(key);
      this.#clusters.set(key, known);
      return known;
    }
    const made = this.#put(key, host);
    if (this.#clusters.size > MOST_HOSTS) {
      const [oldest = ""] = this.#clusters.keys();
      this.#clusters.delete(oldest);
    }
    return made;
  }

  /** Undefined where it was not called lately. */
  known(key: string): Cluster | undefined {
    return this.#clusters.get(key);
  }

  #takes(host: string): boolean {
    const { wildcards } = this.#common;
    return wildcardsOver(host).some((wildcard) => wildcards.has(wildcard));
  }

  #put(key: string, host: string): Cluster {
    const { cluster, port, reach } = this.#common;
    const made = {
      ...cluster,
      key: `${cluster.destination}@${key}`,
      endpoints: [{ ...externalEndpoint(host, port), reach }],
      belowWildcard: true as const,
    };
    this.#clusters.set(key, made);
    return made;
  }
}

export function wildcardsOf({ hosts = [] }: ServiceSpec): ReadonlySet<string> {
  return new Set(hosts.filter(isWildcard));
}
