/** Who listens on which of the sockets that were handed over: every socket has a worker, for connections wait in each, and every worker has one of each place. */
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import { duplicateDescriptor } from "../../runtime/unix/pass-descriptors.ts";

export interface Handed {
  /** The admin and the metrics port, which no worker listens on. */
  readonly pages: readonly ListeningSocket[];
  /** The sockets of the resolver, which is the first worker's alone. */
  readonly naming: readonly ListeningSocket[];
  /** By the worker's number. */
  readonly workers: readonly (readonly ListeningSocket[])[];
}

const PAGES: ReadonlySet<string> = new Set(["admin", "metrics"]);
const NAMING: ReadonlySet<string> = new Set(["dns", "dns datagrams"]);

export function takeApart(
  sockets: readonly ListeningSocket[],
  workers: number,
): Handed {
  const others = sockets.filter(
    ({ key }) => !PAGES.has(key) && !NAMING.has(key),
  );
  return {
    pages: sockets.filter(({ key }) => PAGES.has(key)),
    naming: sockets.filter(({ key }) => NAMING.has(key)),
    workers: shareOut(others, workers, duplicateDescriptor),
  };
}

/** `duplicate` makes another descriptor of the same socket, where there are more workers than sockets of a place. */
export function shareOut(
  sockets: readonly ListeningSocket[],
  workers: number,
  duplicate: (descriptor: number) => number,
): readonly (readonly ListeningSocket[])[] {
  const shares: ListeningSocket[][] = Array.from({ length: workers }, () => []);
  const places = Map.groupBy(sockets, ({ host, port }) => `${host} ${port}`);
  for (const place of places.values()) {
    for (const [index, socket] of place.entries())
      shares[index % workers]?.push(socket);
    for (let worker = place.length; worker < workers; worker += 1) {
      const socket = place[worker % place.length];
      if (socket === undefined) continue;
      const descriptor = duplicate(socket.descriptor);
      shares[worker]?.push({ ...socket, descriptor });
    }
  }
  return shares;
}
