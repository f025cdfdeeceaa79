/** The least proxy that joins the two codecs: what comes in at a port goes on to another, one connection a request at a time, reused. */
import { connect, createServer, type Socket } from "node:net";
import { systemClock } from "../../../src/core/clock.ts";
import type {
  ClientConnection,
  ClientStream,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import { connectHttp1 } from "../../../src/wire/http1/client.ts";
import { serveHttp1 } from "../../../src/wire/http1/server.ts";
import { INFO, type Teardown } from "./harness.ts";

export interface Relay {
  readonly port: number;
  /** Connections that were made upstream. */
  dialled(): number;
  /** Serves a socket that was accepted elsewhere. */
  serve(socket: Socket): void;
}

export function portOf(server: { address(): unknown }): number {
  const address = server.address();
  if (
    typeof address === "object" &&
    address !== null &&
    "port" in address &&
    typeof address.port === "number"
  )
    return address.port;
  throw new Error("not listening");
}

export async function startRelay(
  t: Teardown,
  upstreamPort: number,
  dial: () => Promise<Socket> = () => dialTcp(upstreamPort),
): Promise<Relay> {
  const idle: ClientConnection[] = [];
  const sockets = new Set<Socket>();
  let dialled = 0;

  const acquire = async (): Promise<ClientConnection> => {
    for (let pooled = idle.pop(); pooled !== undefined; pooled = idle.pop())
      if (pooled.capacity > 0) return pooled;
    const socket = await dial();
    sockets.add(socket);
    dialled += 1;
    const connection: ClientConnection = connectHttp1(
      socket,
      { clock: systemClock },
      {
        available: () => idle.push(connection),
        draining: () => undefined,
        closed: () => sockets.delete(socket),
      },
    );
    return connection;
  };

  const serve = (socket: Socket): void => {
    sockets.add(socket);
    serveHttp1(
      socket,
      { clock: systemClock, info: INFO },
      {
        request(stream) {
          void acquire().then((connection) => forward(stream, connection));
        },
      },
    );
  };
  const server = createServer({ noDelay: true }, serve);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: portOf(server), dialled: () => dialled, serve };
}

/** What each codec says goes to the other, call by call. */
export function forward(
  down: ServerStream,
  connection: ClientConnection,
): void {
  const up: ClientStream = connection.request(down.head, down.ended, {
    informational: (head) => down.informational(head),
    head: (head, ended) => down.respond(head, ended),
    data(chunk) {
      if (!down.write(chunk)) up.pause();
    },
    end: (trailers) => down.end(trailers),
    abort: (error) => down.abort(error),
    drained: () => down.resume(),
  });
  down.receive({
    data(chunk) {
      if (!up.write(chunk)) down.pause();
    },
    end: (trailers) => up.end(trailers),
    abort: (error) => up.abort(error),
    drained: () => up.resume(),
  });
}

function dialTcp(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => resolve(socket));
    socket.on("error", reject);
  });
}
