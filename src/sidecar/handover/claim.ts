/**
 * The newer process's side of a restart in place:
 *
 * ```
 *   connect ─▶ sockets ─▶ (config and certificate from disk, ready) ─▶ listen on them, too ─▶ "drain" ─▶ the older has let go: our turn
 * ```
 * Whatever fails before the last step ends this process alone: the older one serves as before.
 */
import { Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { keepAlive } from "../../core/keep-alive.ts";
import { messageOf, systemCode, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import {
  waitFor,
  watchSource,
  type Watch,
  type WatchSource,
} from "../../core/watch.ts";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import {
  closeDescriptor,
  receiveDescriptors,
  whyNoPassing,
} from "../../runtime/unix/pass-descriptors.ts";
import { peerProcess } from "../../runtime/unix/peer-process.ts";
import {
  FORMAT,
  lineOf,
  Lines,
  RESPOND_WITHIN,
  socketPathOf,
  type Named,
  type Reply,
  type SocketPath,
  type Wish,
} from "./messages.ts";

/** The process that is replaced. */
export interface Predecessor {
  /** Undefined where the machine does not tell. */
  readonly pid: number | undefined;
  readonly sockets: readonly ListeningSocket[];
  /** Whether directory and control plane are this process's alone. */
  readonly turn: Watch<boolean>;
  /** It drains from now on. Resolves with `turn`, or where that takes long, and the log says so. */
  drain(): Promise<void>;
  /** It goes on as before, and nothing here waits for it any more. */
  abandon(): void;
  /** Rejects where the older one will not go after all; never resolves. */
  readonly refused: Promise<never>;
}

/** Milliseconds between two looks for what was sent: Node has no event for a socket that it does not read. */
const LOOK = 5;
/** Sockets that one process may hand over. */
const MOST_SOCKETS = 20_000;

/** Undefined where no process runs with that directory. Throws UserError where one does and does not hand over. */
export async function claim(
  directory: string,
  clock: Clock,
  logger: Logger,
): Promise<Predecessor | undefined> {
  let place: SocketPath;
  try {
    place = socketPathOf(directory);
  } catch {
    return undefined;
  }
  const socket = new Socket();
  // What comes has descriptors with it, which Node would lose.
  socket.pause();
  const connected = await connectTo(socket, place.path);
  place.release();
  if (!connected) return undefined;
  const fault = whyNoPassing();
  if (fault !== undefined)
    throw new UserError(`--take-over cannot be done here: ${fault}`);
  const before = new OlderProcess(socket, directory, clock, logger);
  try {
    await before.receive();
    return before;
  } catch (thrown) {
    before.abandon();
    if (thrown instanceof UserError) throw thrown;
    throw new UserError(
      `the sidecar of ${directory} (process ${before.pid ?? "unknown"}) does not hand over: ${messageOf(thrown)}. It goes on; restart it without --take-over`,
      { cause: thrown },
    );
  }
}

function connectTo(socket: Socket, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", (error) => {
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ECONNREFUSED") resolve(false);
      else
        reject(
          new UserError(`--take-over: ${messageOf(error)}`, { cause: error }),
        );
    });
    socket.connect(path);
  });
}

class OlderProcess implements Predecessor {
  readonly pid: number | undefined;
  readonly sockets: ListeningSocket[] = [];
  readonly turn: WatchSource<boolean> = watchSource(false);
  readonly #socket: Socket;
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #refused = Promise.withResolvers<never>();
  readonly #lines = new Lines();
  #abandoned = false;

  constructor(socket: Socket, directory: string, clock: Clock, logger: Logger) {
    this.#socket = socket;
    this.#directory = directory;
    this.#clock = clock;
    this.#logger = logger;
    const peer = peerProcess(socket);
    this.pid = peer?.pid;
    socket.on("error", () => undefined);
    this.#refused.promise.catch(() => undefined);
    // Whoever else could put a socket there would be given all that comes in.
    if (peer === undefined || peer.uid !== process.geteuid?.()) {
      socket.destroy();
      throw new UserError(
        `--take-over: the sidecar of ${directory} is another user's (uid ${peer?.uid ?? "unknown"}): start as that user`,
      );
    }
  }

  get refused(): Promise<never> {
    return this.#refused.promise;
  }

  /** Takes all sockets; from then on Node reads what is said. */
  async receive(): Promise<void> {
    const names: Named[] = [];
    const descriptors: number[] = [];
    // Neither the clock's timers nor a socket that nobody reads do.
    const letGo = keepAlive();
    try {
      let all = 1;
      while (names.length < all) {
        this.#say({ ask: "sockets", from: names.length, format: FORMAT });
        const reply = await this.#next(descriptors);
        if ("refused" in reply) throw new Error(reply.refused);
        if (!("sockets" in reply)) throw new Error("it says something else");
        ({ all } = reply);
        names.push(...reply.sockets);
        if (reply.sockets.length === 0 || names.length > MOST_SOCKETS)
          throw new Error("it has nothing to hand over");
      }
      if (names.length !== descriptors.length)
        throw new Error(`${names.length} sockets, ${descriptors.length} came`);
    } catch (thrown) {
      for (const each of descriptors) closeDescriptor(each);
      throw thrown;
    } finally {
      letGo();
    }
    for (const [index, { key, host, port }] of names.entries()) {
      const descriptor = descriptors[index] ?? -1;
      this.sockets.push({ key, host, port, descriptor });
    }
    const socket = this.#socket;
    socket.on("data", (chunk: Buffer) => this.#heard(chunk));
    // It has ended without a word: everything is ours, unless it was we that ended.
    socket.once("close", () => {
      if (!this.#abandoned) this.turn.set(true);
    });
    socket.resume();
    // Where this process cannot start, it ends, and the older one hears of it.
    socket.unref();
  }

  async drain(): Promise<void> {
    const { pid } = this;
    this.#say({ ask: "drain" });
    const late = new AbortController();
    const cancel = this.#clock.after(RESPOND_WITHIN, () => {
      this.#logger.error(
        { pid },
        `the older process does not respond. This one serves; nothing is written to ${this.#directory}, and the control plane is not followed, until that one has ended: kill -9 ${pid ?? "PID"}`,
      );
      late.abort();
    });
    try {
      const mine = waitFor(this.turn, (is) => is, late.signal);
      await Promise.race([mine.catch(() => undefined), this.refused]);
    } finally {
      cancel();
    }
  }

  abandon(): void {
    this.#abandoned = true;
    this.#socket.destroy();
  }

  #say(wish: Wish): void {
    this.#socket.write(lineOf(wish));
  }

  #heard(chunk: Buffer): void {
    try {
      for (const reply of this.#lines.take(chunk) as readonly Reply[])
        if ("refused" in reply) this.#refuse(reply.refused);
        else if ("draining" in reply) this.turn.set(true);
    } catch (thrown) {
      this.#refuse(messageOf(thrown));
    }
  }

  #refuse(reason: string): void {
    this.#refused.reject(
      new UserError(
        `the sidecar of ${this.#directory} (process ${this.pid ?? "unknown"}) does not hand over: ${reason}`,
      ),
    );
  }

  /** The next line, with the descriptors that come along. */
  #next(descriptors: number[]): Promise<Reply> {
    const { pid } = this;
    return new Promise((resolve, reject) => {
      const stops: Cancel[] = [];
      const end = (settle: () => void): void => {
        for (const stop of stops) stop();
        settle();
      };
      const look = (): void => {
        try {
          const received = receiveDescriptors(this.#socket);
          if (received === undefined) return;
          descriptors.push(...received.descriptors);
          if (received.bytes.length === 0)
            throw new Error("it has ended the connection");
          const [line] = this.#lines.take(received.bytes);
          if (line !== undefined) end(() => resolve(line as Reply));
        } catch (thrown) {
          const error =
            thrown instanceof Error ? thrown : new Error(messageOf(thrown));
          end(() => reject(error));
        }
      };
      const hung = `the sidecar of ${this.#directory} (process ${pid ?? "unknown"}) does not respond: end it with "kill -9 ${pid ?? "PID"}", and start again`;
      stops.push(
        this.#clock.every(LOOK, look),
        this.#clock.after(RESPOND_WITHIN, () =>
          end(() => reject(new UserError(hung))),
        ),
      );
    });
  }
}
