/** The listening sockets of an application under fuzz, and the connections that came to them. */
import { createServer, type Server, type Socket } from "node:net";
import { listening } from "../../meshes/pair.ts";

export class AppServers {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Opens one more port and resolves with it. */
  listen(
    serve: (socket: Socket) => void,
    options: { readonly allowHalfOpen?: boolean } = {},
  ): Promise<number> {
    const server = createServer({ noDelay: true, ...options }, (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      serve(socket);
    });
    this.#servers.push(server);
    return listening(server);
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
