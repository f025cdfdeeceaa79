/** An application that responds to each case with that case's bytes, good or bad, and notices who comes back on a connection that has spoken out of turn. */
import type { Socket } from "node:net";
import { AppServers } from "./app-servers.ts";
import type { AppUnderFuzz } from "../outcome.ts";
import type { FuzzResponse } from "../responses/response.ts";
import { readByLetter } from "../responses/response-by-letter.ts";

const CASE = /\r\nx-case: #(\d{8})\./;

export class HostileApp implements AppUnderFuzz {
  readonly violations: string[] = [];
  readonly #responses: (index: number) => FuzzResponse;
  readonly #servers = new AppServers();

  constructor(responses: (index: number) => FuzzResponse) {
    this.#responses = responses;
  }

  take(): readonly never[] {
    return [];
  }

  listen(): Promise<number> {
    return this.#servers.listen((socket) => this.#serve(socket), {
      allowHalfOpen: true,
    });
  }

  close(): void {
    this.#servers.close();
  }

  #serve(socket: Socket): void {
    let text = "";
    let odd: FuzzResponse | undefined;
    socket.on("end", () => socket.end());
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
