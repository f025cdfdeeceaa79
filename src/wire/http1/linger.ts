/**
 * The end of a server connection after our last word (RFC 9112 9.6): our FIN, and then what still comes is read and dropped for
 * a while. To close with bytes unread would send a reset, which can overtake the response and erase it.
 */
import type { Socket } from "node:net";
import type { Http1Limits } from "./limits.ts";

export class Linger {
  readonly #socket: Socket;
  readonly #limits: Http1Limits;
  readonly #wait: (ms: number) => void;
  #dropped = 0;
  /** Bytes that had not left when we last looked. */
  #unsent = 0;

  /** `wait`: has `overdue` called after so many milliseconds. */
  constructor(socket: Socket, limits: Http1Limits, wait: (ms: number) => void) {
    this.#socket = socket;
    this.#limits = limits;
    this.#wait = wait;
  }

  start(): void {
    this.#socket.end();
    this.#unsent = this.#socket.writableLength;
    this.#wait(this.#limits.lingerTimeout);
  }

  /** So much has come and was dropped. */
  drop(octets: number): void {
    this.#dropped += octets;
    if (this.#dropped > this.#limits.drainBytes) this.#socket.destroy();
  }

  /** The deadline has passed. A peer that reads slowly gets all of it, as long as it reads at all. */
  overdue(): void {
    const unsent = this.#socket.writableLength;
    if (unsent >= this.#unsent) {
      this.#socket.destroy();
      return;
    }
    this.#unsent = unsent;
    const { headTimeout, lingerTimeout } = this.#limits;
    this.#wait(unsent > 0 ? headTimeout : lingerTimeout);
  }
}
