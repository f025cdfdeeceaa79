/**
 * The older process's side of a restart in place: a socket in the state directory, by which a newer process of the same user gets the
 * listening sockets, and, once it is ready, all the rest. Until then nothing changes here, whatever becomes of the newer one.
 */
import { chmod, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import {
  MOST_DESCRIPTORS,
  sendDescriptors,
  whyNoPassing,
} from "../../runtime/unix/pass-descriptors.ts";
import { peerProcess } from "../../runtime/unix/peer-process.ts";
import { isListenedOn } from "./is-listened-on.ts";
import {
  FORMAT,
  lineOf,
  Lines,
  RESPOND_WITHIN,
  socketPathOf,
  type Reply,
  type SocketPath,
  type Wish,
} from "./messages.ts";

export interface OfferOptions {
  /** The state directory. */
  readonly directory: string;
  /** What is handed over. */
  readonly sidecar: {
    sockets(): Promise<readonly ListeningSocket[]>;
    /** Lets go of directory and control plane, and resolves; then accepts no more and ends. */
    handOver(): Promise<void>;
  };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Milliseconds that a newer process has until it is ready: another one may come then. */
const READY_WITHIN = 120_000;

/** Resolves with what withdraws it. Where it cannot be made, the sidecar runs without, and the log says so. */
export async function offerHandOver(
  options: OfferOptions,
): Promise<() => void> {
  const { directory, logger } = options;
  const fault = whyNoPassing();
  if (fault !== undefined) {
    logger.debug(
      { reason: fault },
      "this sidecar cannot be restarted in place",
    );
    return () => undefined;
  }
  let place: SocketPath | undefined;
  try {
    place = socketPathOf(directory);
    if (await isListenedOn(place.path)) {
      logger.warn(
        { directory },
        "another sidecar runs with this state directory, and both would write there: give each its own with --state, or replace the other with --take-over",
      );
      place.release();
      return () => undefined;
    }
    await rm(place.path, { force: true });
    const offer = new Offer(options, place);
    await offer.open();
    return () => offer.close();
  } catch (thrown) {
    place?.release();
    logger.warn(
      { directory, error: messageOf(thrown) },
      "this sidecar cannot be restarted in place: --take-over will not find it",
    );
    return () => undefined;
  }
}

/** A newer process that has connected. */
interface Successor {
  readonly socket: Socket;
  readonly pid: number;
  sockets: readonly ListeningSocket[];
  cancel: Cancel;
}

class Offer {
  readonly #options: OfferOptions;
  readonly #place: SocketPath;
  readonly #server: Server;
  #successor: Successor | undefined;
  #handedOver = false;
  #closed = false;

  constructor(options: OfferOptions, place: SocketPath) {
    this.#options = options;
    this.#place = place;
    this.#server = createServer((socket) => this.#connected(socket));
  }

  async open(): Promise<void> {
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#place.path, () => {
        server.off("error", reject);
        resolve();
      });
    });
    server.on("error", ({ message }) =>
      this.#options.logger.warn({ error: message }, "take-over"),
    );
    await chmod(this.#place.path, 0o600);
  }

  /** Removes the socket from the directory, too. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#server.close();
    this.#place.release();
    if (this.#successor !== undefined && !this.#handedOver)
      this.#refuse(this.#successor.socket, "it is about to end itself");
  }

  /** To be in the directory proves nothing: the kernel says whose process it is (law 13). */
  #connected(socket: Socket): void {
    const { logger, clock } = this.#options;
    // An error is followed by "close".
    socket.on("error", () => undefined);
    const peer = peerProcess(socket);
    if (peer === undefined || peer.uid !== process.geteuid?.()) {
      logger.warn({ ...peer }, "another user's process asked to take over");
      socket.destroy();
      return;
    }
    if (this.#successor !== undefined) {
      const { pid } = this.#successor;
      this.#refuse(socket, `process ${pid} is taking over already`);
      return;
    }
    const { pid } = peer;
    const late = (): void => this.#refuse(socket, "it took too long");
    const cancel = clock.after(RESPOND_WITHIN, late);
    const successor: Successor = { socket, pid, sockets: [], cancel };
    this.#successor = successor;
    const lines = new Lines();
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const wish of lines.take(chunk))
          this.#hear(successor, wish as Wish).catch((thrown: unknown) =>
            this.#refuse(socket, messageOf(thrown)),
          );
      } catch (thrown) {
        this.#refuse(socket, messageOf(thrown));
      }
    });
    socket.once("close", () => this.#left(successor));
  }

  async #hear(successor: Successor, wish: Wish): Promise<void> {
    const { socket } = successor;
    switch (wish.ask) {
      case "sockets":
        if (wish.format === FORMAT) await this.#send(successor, wish.from);
        else this.#refuse(socket, `it speaks format ${FORMAT} alone`);
        return;
      case "drain":
        await this.#drain(successor);
        return;
      default:
        this.#refuse(socket, "there is no such wish");
    }
  }

  async #send(successor: Successor, from: number): Promise<void> {
    const { sidecar, clock, logger } = this.#options;
    const { socket, pid } = successor;
    if (from === 0) {
      successor.sockets = await sidecar.sockets();
      successor.cancel();
      const late = (): void => this.#refuse(socket, "it took too long");
      successor.cancel = clock.after(READY_WITHIN, late);
      const count = successor.sockets.length;
      logger.info({ pid, sockets: count }, "a newer process is taking over");
    }
    const some = successor.sockets.slice(from, from + MOST_DESCRIPTORS);
    sendDescriptors(
      socket,
      lineOf({
        sockets: some.map(({ key, host, port }) => ({ key, host, port })),
        all: successor.sockets.length,
      }),
      some.map(({ descriptor }) => descriptor),
    );
  }

  async #drain(successor: Successor): Promise<void> {
    if (this.#closed) throw new Error("it is about to end itself");
    if (successor.sockets.length === 0) throw new Error("nothing was handed");
    this.#handedOver = true;
    successor.cancel();
    // The newer one makes its own in this place, once it hears the reply.
    this.close();
    await this.#options.sidecar.handOver();
    successor.socket.end(lineOf({ draining: true }));
  }

  #refuse(socket: Socket, refused: string): void {
    const reply: Reply = { refused };
    if (socket.writableEnded || socket.destroyed) return;
    socket.write(lineOf(reply));
    // It is not heard any more: it ends, and this process must not. One that stands still would keep others from coming.
    socket.destroySoon();
  }

  #left(successor: Successor): void {
    successor.cancel();
    if (this.#successor === successor) this.#successor = undefined;
    if (!this.#handedOver && successor.sockets.length > 0)
      this.#options.logger.warn(
        { pid: successor.pid },
        "the newer process has not taken over: this one goes on",
      );
  }
}
