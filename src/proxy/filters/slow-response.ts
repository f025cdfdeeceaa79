/** A response that reaches its caller no faster than so many bytes a second. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { BodyReceiver } from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import type {
  BodyFilter,
  RequestBodyReceiver,
  ResponseBody,
} from "../exchange/body-filter.ts";

/** Milliseconds between two pieces. */
const TICK = 50;

/**
 * What comes faster waits here, a few chunks at most: after the first that has to wait, `write` says to stop. The writer is called by
 * `drained` to go on, as with any stream.
 */
export class SlowResponse implements BodyFilter {
  readonly #clock: Clock;
  /** Bytes of one tick. */
  readonly #piece: number;
  #queue: Buffer[] = [];
  #caller: ResponseBody | undefined;
  #receiver: BodyReceiver | undefined;
  #cancel: Cancel | undefined;
  #ending = false;
  #over = false;
  #trailers: Fields | undefined;
  /** The stream itself is full: its own `drained` comes first. */
  #full = false;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#piece = Math.max(1, Math.round((bytesPerSecond * TICK) / 1000));
  }

  request(next: RequestBodyReceiver): RequestBodyReceiver {
    this.#receiver = next;
    return {
      data: (chunk) => next.data(chunk),
      end: (trailers) => next.end(trailers),
      abort: (error) => {
        this.#stop();
        next.abort(error);
      },
      drained: () => {
        this.#full = false;
        if (this.#queue.length === 0) next.drained();
        else this.#wait();
      },
      refused: (error) => next.refused(error),
    };
  }

  response(next: ResponseBody): ResponseBody {
    this.#caller = next;
    return {
      write: (chunk) => this.#write(chunk),
      end: (trailers) => this.#end(trailers),
      abort: (error) => this.#abort(error),
    };
  }

  #write(chunk: Buffer): boolean {
    if (this.#over) return true;
    if (chunk.length > 0) this.#queue.push(chunk);
    this.#wait();
    return false;
  }

  #end(trailers: Fields | undefined): void {
    this.#ending = true;
    this.#trailers = trailers;
    if (this.#queue.length === 0) this.#finish();
  }

  #abort(error: MeshError): void {
    this.#stop();
    this.#caller?.abort(error);
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
      if (this.#caller?.write(part) === false) this.#full = true;
    }
    if (this.#queue.length > 0) this.#wait();
    else if (this.#ending) this.#finish();
    else if (!this.#full) this.#receiver?.drained();
  }

  #finish(): void {
    this.#stop();
    this.#caller?.end(this.#trailers);
  }

  #stop(): void {
    this.#over = true;
    this.#queue = [];
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
