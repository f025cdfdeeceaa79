/** A relay in front of a TLS server that counts the bytes of its records, headers and tags included, as they go over the wire. */
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { Scope } from "./push-control-plane.ts";

/** Bytes of the records of each direction, in the order in which they came. */
export interface Records {
  /** From the server. */
  readonly down: readonly number[];
  readonly up: readonly number[];
}

export interface TlsRelay {
  /** "127.0.0.1:PORT" */
  readonly address: string;
  /** What has gone by since the last call. */
  take(): Records;
}

/** A PING of HTTP/2 or its acknowledgement, which are due to nobody's change. */
const PING = 39;

export async function startTlsRelay(
  t: Scope,
  target: string,
): Promise<TlsRelay> {
  const port = Number(target.slice(target.lastIndexOf(":") + 1));
  let down: number[] = [];
  let up: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    pass(near, far, (bytes) => up.push(bytes));
    pass(far, near, (bytes) => down.push(bytes));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    take() {
      const taken = { down: withoutPings(down), up: withoutPings(up) };
      down = [];
      up = [];
      return taken;
    },
  };
}

function withoutPings(records: readonly number[]): number[] {
  return records.filter((bytes) => bytes !== PING);
}

/** RFC 8446 5.1: five bytes of a header, the last two of which are the length of what follows. A record counts once it is whole. */
function pass(
  from: Socket,
  to: Socket,
  onRecord: (bytes: number) => void,
): void {
  let rest: Buffer = Buffer.alloc(0);
  from.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
      const bytes = 5 + rest.readUInt16BE(3);
      onRecord(bytes);
      rest = rest.subarray(bytes);
    }
    to.write(chunk);
  });
}
