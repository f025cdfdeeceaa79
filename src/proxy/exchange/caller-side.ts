/**
 * The caller's side of an exchange: the body of its request, kept for a repeat and held while there is no attempt, and what it has
 * got of the response. What the exchange waits for follows from both.
 */
import { MeshError } from "../../mesh/errors.ts";
import type {
  ClientStream,
  ResponseHead,
  ServerStream,
} from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import { Replay, type ReplayBudget } from "./replay.ts";

/** What is asked of the caller's stream. */
type CallersStream = Pick<
  ServerStream,
  | "ended"
  | "pause"
  | "resume"
  | "informational"
  | "respond"
  | "retract"
  | "write"
>;

export class CallerSide {
  readonly #stream: CallersStream;
  #replay: Replay | undefined;
  #ended: boolean;
  #trailers: Fields | undefined;
  /** The caller's flow is stopped. */
  #paused = false;
  /** It does not read as fast as the response comes. */
  #full = false;
  #responded = false;
  #committed = false;

  constructor(stream: CallersStream) {
    this.#stream = stream;
    this.#ended = stream.ended;
  }

  // ── its request ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** From now on what comes is kept. */
  begin(budget: ReplayBudget): void {
    if (!this.#ended) this.#replay = new Replay(budget);
  }

  /** All of its request has come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Nothing of the body was let go of: the request can be sent again. */
  get replayable(): boolean {
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
      this.#pause();
      return;
    }
    if (replay?.complete === true && !replay.keep(chunk)) replay.release();
    if (!sink.write(chunk)) this.#pause();
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
    else this.#pause();
  }

  /** Gives up what was kept: the request is not sent again. */
  release(): void {
    this.#replay?.release();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#stream.resume();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#stream.pause();
  }

  // ── its response ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The response has begun. */
  get responded(): boolean {
    return this.#responded;
  }

  /** Anything of a response was passed on (law 2), be it a 1xx. */
  get committed(): boolean {
    return this.#committed;
  }

  informational(head: ResponseHead): void {
    this.#committed = true;
    this.#stream.informational(head);
  }

  respond(head: ResponseHead, ended: boolean): void {
    this.#committed = true;
    this.#responded = true;
    this.#stream.respond(head, ended);
  }

  /** False: it takes no more until `drained`. */
  write(chunk: Buffer): boolean {
    const room = this.#stream.write(chunk);
    if (!room) this.#full = true;
    return room;
  }

  drained(): void {
    this.#full = false;
  }

  /** Makes way for a response of our own; false where too much of another has left. */
  yields(): boolean {
    // What is given up in the turn in which its response began has none yet: a body at fault right behind its head, say.
    if (this.#responded && this.#stream.retract?.() !== true) return false;
    this.#responded = true;
    return true;
  }

  // ── what is waited for ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Some of its request or of its response is held, since one side does not take it. */
  get holds(): boolean {
    return this.#full || this.#paused;
  }

  /** It has got some of its response, or sends on. Where neither is so, all may be over with the response. */
  get goesOn(): boolean {
    return this.#responded || !this.#ended;
  }

  /** Nothing can move until it sends, or reads. */
  get isAwaited(): boolean {
    return this.#responded ? this.#full : !this.#ended && !this.#paused;
  }
}

/** What an upstream hears that still gets the request of a caller that has its whole response. */
export function superfluous(): MeshError {
  return new MeshError(
    "CLIENT_CLOSED",
    "the response was complete before the request was",
    { source: "proxy" },
  );
}
