/** How many connections there are: in all, on a listener, from an address, of an identity; and whether there may be one more. */
import type { SidecarLimits } from "./limits.ts";

type Caps = Pick<
  SidecarLimits,
  | "connections"
  | "connectionsPerListener"
  | "connectionsPerAddress"
  | "connectionsPerIdentity"
>;

/** Why there may not be one more; for the log and the metric. */
export interface Excess {
  readonly reason: ConnectionExcess;
  readonly detail: string;
}

export type ConnectionExcess =
  | "too many connections"
  | "too many connections on the listener"
  | "too many connections from one address"
  | "too many connections of one identity";

export interface ConnectionCounts {
  readonly total: number;
  /** Counts one more connection, or says why it may not be. `address` undefined: callers on this machine, which are one. */
  add(listener: string, address: string | undefined): Excess | undefined;
  /** The end of a connection that was counted. */
  remove(listener: string, address: string | undefined): void;
  addIdentity(identity: string): Excess | undefined;
  removeIdentity(identity: string): void;
}

export function countConnections(caps: Caps): ConnectionCounts {
  const listeners = new Map<string, number>();
  const addresses = new Map<string, number>();
  const identities = new Map<string, number>();
  let total = 0;
  return {
    get total() {
      return total;
    },
    add(listener, address) {
      const onListener = listeners.get(listener) ?? 0;
      const from = address === undefined ? "" : networkOf(address);
      const excess =
        over("too many connections", total, caps.connections) ??
        over(
          "too many connections on the listener",
          onListener,
          caps.connectionsPerListener,
        ) ??
        (address === undefined
          ? undefined
          : over(
              "too many connections from one address",
              addresses.get(from) ?? 0,
              caps.connectionsPerAddress,
            ));
      if (excess !== undefined) return excess;
      total += 1;
      listeners.set(listener, onListener + 1);
      if (address !== undefined) change(addresses, from, 1);
      return undefined;
    },
    remove(listener, address) {
      total -= 1;
      change(listeners, listener, -1);
      if (address !== undefined) change(addresses, networkOf(address), -1);
    },
    addIdentity(identity) {
      const excess = over(
        "too many connections of one identity",
        identities.get(identity) ?? 0,
        caps.connectionsPerIdentity,
      );
      if (excess === undefined) change(identities, identity, 1);
      return excess;
    },
    removeIdentity: (identity) => change(identities, identity, -1),
  };
}

function over(
  reason: ConnectionExcess,
  count: number,
  cap: number,
): Excess | undefined {
  return count < cap
    ? undefined
    : { reason, detail: `${count} are open, and no more are taken` };
}

function change(
  counts: Map<string, number>,
  key: string,
  difference: number,
): void {
  const count = (counts.get(key) ?? 0) + difference;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** Whoever has one IPv6 address has the 2^64 of its network. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [front = "", back] = address.replace(/%.*$/, "").split("::");
  const groups = front === "" ? [] : front.split(":");
  if (back !== undefined) {
    const tail = back === "" ? [] : back.split(":");
    while (groups.length + tail.length < 8) groups.push("0");
    groups.push(...tail);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}
