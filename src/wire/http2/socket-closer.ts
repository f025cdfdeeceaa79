/** Ends a socket so that the peer gets our last words, and in bounded time. */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Http2Limits } from "./limits.ts";
import type { Sender } from "./write/sender.ts";

export class SocketCloser {
  readonly #socket: Socket;
  readonly #sender: Pick<Sender, "output" | "flush">;
  readonly #clock: Clock;
  readonly #limits: Http2Limits;
  #closing = false;
  #timer: Cancel | undefined;
  /** While the peer may take its time to read. */
  #patience: Cancel | undefined;

  constructor(
    socket: Socket,
    sender: Pick<Sender, "output" | "flush">,
    clock: Clock,
    limits: Http2Limits,
  ) {
    this.#socket = socket;
    this.#sender = sender;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Sends what is written, then FIN, and does not wait for ever for the peer's; unless `patient`, nor for it to read. A peer that reads slowly gets all of it, as long as it reads at all. */
  close(patient: boolean): void {
    if (this.#closing) return;
    this.#closing = true;
    // What still comes must be read away, or the kernel responds with RST and the peer loses our last words.
    this.#socket.resume();
    if (!patient) this.#startTimer();
    this.#sender.flush();
    if (patient) this.#awaitReader();
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
    this.#patience?.();
  }

  /** Nobody else looks after what stands still: the connection is over. */
  #awaitReader(): void {
    const { output } = this.#sender;
    const before = output.handedOver;
    this.#patience = this.#clock.after(this.#limits.writeTimeout, () => {
      if (output.handedOver === before) this.#socket.destroy();
      else this.#awaitReader();
    });
  }

  #startTimer(): void {
    this.#patience?.();
    if (!this.#socket.destroyed)
      this.#timer ??= this.#clock.after(this.#limits.closeTimeout, () =>
        this.#socket.destroy(),
      );
  }
}
