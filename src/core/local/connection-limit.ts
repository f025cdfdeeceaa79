/** Which connections a small HTTP server of ours keeps, and for how long: a new one always gets in, and the source with the most makes room. */
import type { RequestListener, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../clock.ts";
import { networkOf } from "../text/network.ts";

export interface ConnectionLimits {
  /** Connections at once. */
  readonly connections: number;
  /** Milliseconds from accepting a connection until its first request's head is whole. */
  readonly headTimeout: number;
  /** Milliseconds from a response until the next request's head is whole. */
  readonly idleTimeout: number;
  /** Milliseconds from a request's head until its response has been taken. */
  readonly takeTimeout: number;
}

interface Connection {
  readonly socket: Socket;
  readonly source: string;
  /** The response that is not out yet. */
  response: ServerResponse | undefined;
  /** Bytes of it that were read before it began to wait. */
  read: number;
  cancel: Cancel;
}

/**
 * Serves by `handle`, one request of a connection at a time, and ends connections that are held for nothing. Over the bound the one that
 * came first makes room, of the source that has most; one that waits for a request before one that waits for a response. So a probe gets
 * in, whatever a stranger holds. `stalled` tells a caller that began a request and did not end it.
 */
export function limitConnections(
  server: Server,
  clock: Clock,
  limits: ConnectionLimits,
  handle: RequestListener,
  stalled: (socket: Socket) => void,
): void {
  /** In the order in which they came. */
  const connections = new Map<Socket, Connection>();
  const wait = (connection: Connection, ms: number): void => {
    const { socket } = connection;
    connection.cancel();
    connection.read = socket.bytesRead;
    connection.cancel = clock.after(ms, () => {
      if (
        connection.response === undefined &&
        socket.bytesRead > connection.read
      )
        stalled(socket);
      else socket.destroy();
    });
  };

  // Counted and timed here: Node would turn away the last to come, and wait for ever for a silent one.
  server.maxConnections = Number.POSITIVE_INFINITY;
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.keepAliveTimeout = limits.idleTimeout;
  server.on("connection", (socket: Socket) => {
    const connection: Connection = {
      socket,
      source: networkOf(socket.remoteAddress ?? ""),
      response: undefined,
      read: 0,
      cancel: () => undefined,
    };
    connections.set(socket, connection);
    socket.once("close", () => {
      connection.cancel();
      connections.delete(socket);
    });
    wait(connection, limits.headTimeout);
    if (connections.size > limits.connections)
      toEvict(connections)?.socket.destroy();
  });
  const serve = oneAtATime(handle);
  server.on("request", (request, response) => {
    const { socket } = request;
    const connection = connections.get(socket);
    // What is sent ahead is not served, and its time is not another one.
    if (connection !== undefined && connection.response === undefined) {
      connection.response = response;
      wait(connection, limits.takeTimeout);
      response.once("close", () => {
        connection.response = undefined;
        if (connections.has(socket)) wait(connection, limits.idleTimeout);
      });
    }
    serve(request, response);
  });
}

/**
 * Serves one request of a connection at a time. Those that are sent ahead come by the thousand in one read, and Node would make a
 * response of each before the first is out: they are dropped, and the connection ends with the response in flight.
 */
export function oneAtATime(handle: RequestListener): RequestListener {
  const underWay = new WeakMap<Socket, ServerResponse>();
  return (request, response) => {
    const { socket } = request;
    const current = underWay.get(socket);
    if (current === undefined) {
      underWay.set(socket, response);
      response.once("close", () => underWay.delete(socket));
      handle(request, response);
    } else if (!current.headersSent) current.setHeader("connection", "close");
  };
}

function toEvict(
  connections: ReadonlyMap<Socket, Connection>,
): Connection | undefined {
  const counts = new Map<string, number>();
  for (const { source } of connections.values())
    counts.set(source, (counts.get(source) ?? 0) + 1);
  const most = Math.max(...counts.values());
  const theirs = [...connections.values()].filter(
    ({ source }) => counts.get(source) === most,
  );
  return theirs.find(({ response }) => response === undefined) ?? theirs[0];
}
