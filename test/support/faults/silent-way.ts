/** A way to a server on which connections fall silent, as where a NAT forgets them: new ones are served. */
import { createServer, connect, type Socket } from "node:net";
import { splitHostPort } from "../../../src/core/text/host-port.ts";
import { listening } from "../meshes/pair.ts";

export interface SilentWay {
  readonly address: string;
  /** Connections that were made, and those that are open. */
  readonly made: number;
  readonly open: number;
  /** What comes on the connections that are open goes nowhere from here on. */
  fallSilent(): void;
  close(): void;
}

export async function silentWay(address: string): Promise<SilentWay> {
  const { host, port } = splitHostPort(address);
  const pairs = new Map<Socket, Socket>();
  let made = 0;
  const server = createServer((near) => {
    made += 1;
    const far = connect(port, host);
    pairs.set(near, far);
    for (const each of [near, far]) each.on("error", () => undefined);
    near.on("close", () => {
      pairs.delete(near);
      far.destroy();
    });
    near.pipe(far).pipe(near);
  });
  return {
    address: `127.0.0.1:${await listening(server)}`,
    get made() {
      return made;
    },
    get open() {
      return pairs.size;
    },
    fallSilent() {
      for (const [near, far] of pairs) {
        near.unpipe(far).resume();
        far.unpipe(near).resume();
      }
    },
    close() {
      server.close();
      for (const near of pairs.keys()) near.destroy();
    },
  };
}
