/** Whether a connection is read: not as long as anybody has a reason to wait. */
import type { Socket } from "node:net";
import type { Buffers } from "../buffers.ts";

export class ReadGate {
  readonly #socket: Socket;
  readonly #buffers: Buffers;
  /** Reasons for which nothing is read. */
  #stops = 0;
  #waitsForRoom = false;
  #over = false;

  constructor(socket: Socket, buffers: Buffers) {
    this.#socket = socket;
    this.#buffers = buffers;
  }

  /** Nothing is read for now. */
  get stopped(): boolean {
    return this.#stops > 0;
  }

  stop(): void {
    if (++this.#stops === 1) this.#socket.pause();
  }

  /** One reason less. */
  goOn(): void {
    if (--this.#stops === 0 && !this.#over) this.#socket.resume();
  }

  /** The connection is over: what closes it reads the socket from now on. */
  leave(): void {
    this.#over = true;
  }

  /** Where the proxy holds as much as it may and some of it came on this connection, nothing more is read of it until there is room. */
  check(holds: boolean): void {
    if (!holds || !this.#buffers.crowded || this.#waitsForRoom) return;
    this.#waitsForRoom = true;
    this.stop();
    this.#buffers.whenRoom(() => {
      this.#waitsForRoom = false;
      this.goOn();
    });
  }
}
