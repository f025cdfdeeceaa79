/** An application that responds to each case with that case's bytes, good or bad, and notices who comes back on a connection that has spoken out of turn. */
import { createServer, type Server, type Socket } from "node:net";
import type { AppUnderFuzz } from "./outcome.ts";
import type { FuzzResponse } from "./response.ts";
import { readByLetter } from "./response-by-letter.ts";

const CASE = /\r\nx-case: #(\d{8})\./;

export class HostileApp implements AppUnderFuzz {
  readonly violations: string[] = [];
  readonly #responses: (index: number) => FuzzResponse;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(responses: (index: number) => FuzzResponse) {
    this.#responses = responses;
  }

  take(): readonly never[] {
    return [];
  }

  listen(): Promise<number> {
    const server = createServer(
      { noDelay: true, allowHalfOpen: true },
      (socket) => this.#serve(socket),
    );
    this.#servers.push(server);
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        if (address === null || typeof address === "string")
          throw new TypeError("the application has no TCP address");
        resolve(address.port);
      });
    });
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let text = "";
    let odd: FuzzResponse | undefined;
    socket.on("error", () => undefined);
    socket.on("end", () => socket.end());
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (;;) {
        const end = text.indexOf("\r\n\r\n");
        if (end === -1) return;
        const index = Number(CASE.exec(text)?.[1] ?? Number.NaN);
        text = text.slice(end + 4);
        if (odd !== undefined)
          this.violations.push(
            `case ${index} came on a connection on which case ${odd.index} had got ${JSON.stringify(odd.text.slice(-300))}`,
          );
        const response = this.#responses(index);
        const read = readByLetter(
          response.text,
          response.method,
          response.ends,
        );
        if (read.kind === "bad" || read.more) odd = response;
        if (response.ends) socket.end(response.text, "latin1");
        else socket.write(response.text, "latin1");
      }
    });
  }
}
