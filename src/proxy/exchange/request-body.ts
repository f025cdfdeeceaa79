/** The body of a request on its way to the attempts: kept for a repeat, held while there is no attempt, passed on. */
import type { ClientStream, ServerStream } from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import { Replay, type ReplayBudget } from "./replay.ts";

export class RequestBody {
  readonly #stream: ServerStream;
  #replay: Replay | undefined;
  #ended: boolean;
  #trailers: Fields | undefined;
  /** The caller's flow is stopped. */
  #paused = false;

  constructor(stream: ServerStream) {
    this.#stream = stream;
    this.#ended = stream.ended;
  }

  /** From now on what comes is kept. */
  begin(budget: ReplayBudget): void {
    if (!this.#ended) this.#replay = new Replay(budget);
  }

  /** All of it has come. */
  get ended(): boolean {
    return this.#ended;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Nothing of it was let go of: the request can be sent again. */
  get complete(): boolean {
    return this.#replay === undefined || this.#replay.complete;
  }

  /** The whole request is its head. */
  get bodyless(): boolean {
    return (
      this.#ended &&
      this.#trailers === undefined &&
      (this.#replay === undefined || this.#replay.bytes === 0)
    );
  }

  data(chunk: Buffer, sink: ClientStream | undefined): void {
    const replay = this.#replay;
    if (sink === undefined) {
      if (replay === undefined || replay.keep(chunk)) return;
      // There is no attempt to send it to yet: what was read is held, and nothing more is read.
      replay.hold(chunk);
      this.pause();
      return;
    }
    if (replay?.complete === true && !replay.keep(chunk)) replay.release();
    if (!sink.write(chunk)) this.pause();
  }

  end(trailers: Fields | undefined, sink: ClientStream | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
    sink?.end(trailers);
  }

  /** The head of an attempt went out to `sink`; what has been read of the body follows. */
  sendTo(sink: ClientStream): void {
    const replay = this.#replay;
    let room = true;
    if (replay !== undefined) {
      const bare = this.bodyless;
      for (const chunk of replay.chunks) room = sink.write(chunk);
      if (!replay.complete || this.#paused) replay.release();
      if (this.#ended && !bare) sink.end(this.#trailers);
    }
    if (this.#ended) return;
    if (room) this.resume();
    else this.pause();
  }

  /** Gives up what was kept: the request is not sent again. */
  release(): void {
    this.#replay?.release();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#stream.resume();
  }
}
