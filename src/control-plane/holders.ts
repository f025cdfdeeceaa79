/** Connections of peers and tokens that were verified: capped for each, so that one certificate or token does not take them all. */
import type { Socket } from "node:net";

export interface Holders {
  /** Counts the connection as the holder's until it closes; again and again makes no difference. */
  add(holder: string, socket: Socket): void;
}

/** A holder that opens one connection too many loses its oldest: that may be a dead one that nobody has missed yet. */
export function limitHolders(
  most: number,
  onExcess: (holder: string) => void,
): Holders {
  const holders = new Map<string, Set<Socket>>();
  return {
    add(holder, socket) {
      const open = holders.get(holder) ?? new Set();
      if (open.has(socket)) return;
      holders.set(holder, open.add(socket));
      socket.once("close", () => {
        open.delete(socket);
        if (open.size === 0 && holders.get(holder) === open)
          holders.delete(holder);
      });
      const [oldest] = open;
      if (open.size <= most || oldest === undefined) return;
      open.delete(oldest);
      oldest.destroy();
      onExcess(holder);
    },
  };
}
