/** Ends a socket so that the peer gets our last words, and in bounded time. */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Sender } from "./write/sender.ts";

export class SocketCloser {
  readonly #socket: Socket;
  readonly #sender: Sender;
  readonly #clock: Clock;
  /** Milliseconds. */
  readonly #timeout: number;
  #closing = false;
  #timer: Cancel | undefined;

  constructor(socket: Socket, sender: Sender, clock: Clock, timeout: number) {
    this.#socket = socket;
    this.#sender = sender;
    this.#clock = clock;
    this.#timeout = timeout;
  }

  /** Sends what is written, then FIN, and does not wait for ever for the peer's; unless `patient`, nor for it to read. */
  close(patient: boolean): void {
    if (this.#closing) return;
    this.#closing = true;
    // What still comes must be read away, or the kernel responds with RST and the peer loses our last words.
    this.#socket.resume();
    if (!patient) this.#startTimer();
    this.#sender.flush();
    this.drained();
  }

  /** The socket has taken what it was given. */
  drained(): void {
    const { output } = this.#sender;
    if (this.#closing && !output.busy && output.size === 0)
      this.#socket.end(() => this.#startTimer());
  }

  /** The socket is closed. */
  closed(): void {
    this.#closing = true;
    this.#timer?.();
  }

  #startTimer(): void {
    if (!this.#socket.destroyed)
      this.#timer ??= this.#clock.after(this.#timeout, () =>
        this.#socket.destroy(),
      );
  }
}
