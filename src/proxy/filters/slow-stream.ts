/** A caller's stream that takes the body of its answer no faster than so many octets a second. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type {
  BodyReceiver,
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";

/** Milliseconds between two pieces. */
const TICK = 50;

/**
 * What comes faster waits here, a few chunks at most: after the first that has to wait, `write` says to stop. Whoever writes is told by
 * `drained` to go on, as with any stream.
 */
export class SlowStream implements ServerStream {
  readonly #inner: ServerStream;
  readonly #clock: Clock;
  /** Octets of one tick. */
  readonly #piece: number;
  #queue: Buffer[] = [];
  #receiver: BodyReceiver | undefined;
  #cancel: Cancel | undefined;
  #ending = false;
  #over = false;
  #trailers: Fields | undefined;
  /** The stream itself is full: its own `drained` comes first. */
  #full = false;

  constructor(inner: ServerStream, clock: Clock, octetsPerSecond: number) {
    this.#inner = inner;
    this.#clock = clock;
    this.#piece = Math.max(1, Math.round((octetsPerSecond * TICK) / 1000));
  }

  get head(): RequestHead {
    return this.#inner.head;
  }
  get ended(): boolean {
    return this.#inner.ended;
  }
  get connection(): ServerConnectionInfo {
    return this.#inner.connection;
  }

  receive(receiver: BodyReceiver): void {
    this.#receiver = receiver;
    this.#inner.receive({
      data: (chunk) => receiver.data(chunk),
      end: (trailers) => receiver.end(trailers),
      abort: (error) => {
        this.#stop();
        receiver.abort(error);
      },
      drained: () => {
        this.#full = false;
        if (this.#queue.length === 0) receiver.drained();
        else this.#wait();
      },
    });
  }

  informational(head: ResponseHead): void {
    this.#inner.informational(head);
  }
  respond(head: ResponseHead, ended: boolean): void {
    this.#inner.respond(head, ended);
  }
  pause(): void {
    this.#inner.pause();
  }
  resume(): void {
    this.#inner.resume();
  }

  write(chunk: Buffer): boolean {
    if (this.#over) return true;
    if (chunk.length > 0) this.#queue.push(chunk);
    this.#wait();
    return false;
  }

  end(trailers?: Fields): void {
    this.#ending = true;
    this.#trailers = trailers;
    if (this.#queue.length === 0) this.#finish();
  }

  abort(error: MeshError): void {
    this.#stop();
    this.#inner.abort(error);
  }

  #wait(): void {
    if (this.#full) return;
    this.#cancel ??= this.#clock.after(TICK, () => {
      this.#cancel = undefined;
      this.#send();
    });
  }

  #send(): void {
    let room = this.#piece;
    while (room > 0) {
      const chunk = this.#queue[0];
      if (chunk === undefined) break;
      const part = chunk.subarray(0, room);
      if (part.length === chunk.length) this.#queue.shift();
      else this.#queue[0] = chunk.subarray(room);
      room -= part.length;
      if (!this.#inner.write(part)) this.#full = true;
    }
    if (this.#queue.length > 0) this.#wait();
    else if (this.#ending) this.#finish();
    else if (!this.#full) this.#receiver?.drained();
  }

  #finish(): void {
    this.#stop();
    this.#inner.end(this.#trailers);
  }

  #stop(): void {
    this.#over = true;
    this.#queue = [];
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
