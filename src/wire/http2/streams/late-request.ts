/** A request that waits until the peer has said whether it takes such requests (RFC 8441 3); what is asked of it meanwhile is done then. */
import type { MeshError } from "../../../mesh/errors.ts";
import type { ClientStream, ResponseReceiver } from "../../exchange.ts";
import type { Fields } from "../../fields.ts";

export class LateRequest implements ClientStream {
  readonly #receiver: ResponseReceiver;
  readonly #request: () => ClientStream;
  #stream: ClientStream | undefined;
  /** One piece, as a rule: the first write says to wait. */
  #early: Buffer[] = [];
  #ending = false;
  #trailers: Fields | undefined;
  #paused = false;
  #over = false;

  constructor(receiver: ResponseReceiver, request: () => ClientStream) {
    this.#receiver = receiver;
    this.#request = request;
  }

  /** The peer has spoken, or the connection is over. */
  open(): void {
    if (this.#over) return;
    const stream = this.#request();
    this.#stream = stream;
    const early = this.#early;
    this.#early = [];
    let room = true;
    for (const chunk of early) room = stream.write(chunk);
    if (this.#paused) stream.pause();
    if (this.#ending) stream.end(this.#trailers);
    else if (early.length > 0 && room) this.#receiver.drained();
  }

  write(chunk: Buffer): boolean {
    if (this.#stream !== undefined) return this.#stream.write(chunk);
    this.#early.push(chunk);
    return false;
  }

  end(trailers?: Fields): void {
    this.#ending = true;
    this.#trailers = trailers;
    this.#stream?.end(trailers);
  }

  abort(error: MeshError): void {
    this.#over = true;
    this.#early = [];
    this.#stream?.abort(error);
  }

  pause(): void {
    this.#paused = true;
    this.#stream?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#stream?.resume();
  }
}
