/**
 * Which gRPC methods are known to respond with one message and to end there, as their responses have shown. Nothing on the wire says so of
 * a request, and a stream may be silent for as long as it likes: a call without a deadline is watched where its method is known.
 */
import type { MonotonicMs } from "../../core/units.ts";

/** Responses of one message that a method has to give before, with no other among them. */
export const SURE = 5;
/** Milliseconds from the head of such a response to its end: what takes longer may be a stream that had no more to say. */
export const AT_ONCE = 1000;
/** Methods that are kept, for the newest. */
export const MOST_METHODS = 256;
const STREAM = -1;

export class UnaryMethods {
  /** How many such responses each has given; STREAM once it gave another. */
  readonly #seen = new Map<string, number>();

  isSure(method: string): boolean {
    return (this.#seen.get(method) ?? 0) >= SURE;
  }

  /** A response of the method is followed from its head on. */
  response(method: string, now: MonotonicMs): GrpcResponse {
    return new GrpcResponse(this, method, now);
  }

  /** It gave a response of one message, as a whole. */
  unary(method: string): void {
    const seen = this.#seen.get(method) ?? 0;
    if (seen !== STREAM) this.#set(method, Math.min(seen + 1, SURE));
  }

  stream(method: string): void {
    this.#set(method, STREAM);
  }

  #set(method: string, seen: number): void {
    const [oldest] = this.#seen.keys();
    if (
      this.#seen.size >= MOST_METHODS &&
      oldest !== undefined &&
      !this.#seen.has(method)
    )
      this.#seen.delete(oldest);
    this.#seen.set(method, seen);
  }
}

/** Bytes before each message: a flag, and its length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX = 5;

export class GrpcResponse {
  readonly #methods: UnaryMethods;
  readonly #method: string;
  readonly #headedAt: MonotonicMs;
  #messages = 0;
  /** Bytes of the prefix that are here, its length so far, and bytes of the message that are not here. */
  #prefix = 0;
  #length = 0;
  #left = 0;

  constructor(methods: UnaryMethods, method: string, now: MonotonicMs) {
    this.#methods = methods;
    this.#method = method;
    this.#headedAt = now;
  }

  /** True where it is a stream. */
  received(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length && this.#messages < 2;) {
      if (this.#left === 0) {
        if (this.#prefix === 0) this.#messages += 1;
        if (this.#prefix > 0)
          this.#length = this.#length * 256 + (chunk[at] ?? 0);
        this.#prefix += 1;
        at += 1;
        if (this.#prefix < PREFIX) continue;
        this.#left = this.#length;
        this.#prefix = 0;
        this.#length = 0;
      }
      const taken = Math.min(this.#left, chunk.length - at);
      this.#left -= taken;
      at += taken;
    }
    if (this.#messages < 2) return false;
    this.#methods.stream(this.#method);
    return true;
  }

  /** The whole of it came, and says that the call succeeded. */
  ended(now: MonotonicMs): void {
    if (now - this.#headedAt > AT_ONCE) this.#methods.stream(this.#method);
    else if (this.#messages === 1 && this.#left + this.#prefix === 0)
      this.#methods.unary(this.#method);
  }
}
