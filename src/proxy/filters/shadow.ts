/**
 * What is behind a mirrored request: a tee, which hears the request's body, and a shadow, which a copy takes for its caller.
 *
 * ```
 *   caller ─▶ Tee ─▶ relay ─▶ backend            the main exchange: nothing of it waits for the copies
 *              └─(≤ 64 KiB, once it is whole)─▶ Shadow ─▶ relay ─▶ shadow backend, whose response ends here
 * ```
 */
import type { MeshError } from "../../mesh/errors.ts";
import type {
  BodyReceiver,
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import type {
  BodyFilter,
  RequestBodyReceiver,
  ResponseBody,
} from "../exchange/body-filter.ts";

/** A request body that came to its end. */
export interface WholeBody {
  readonly chunks: readonly Buffer[];
  readonly trailers: Fields | undefined;
}

/** What becomes of the copies that a tee was made for. */
export interface Copies {
  /** False: it may not be kept, and there will be no copy. */
  keep(chunk: Buffer): boolean;
  /** The request is whole; at most once. */
  send(body: WholeBody): void;
  /** There will be no copy: the body is too long, or it broke off. At most once, and never with `send`. */
  drop(reason: "body" | "broken-off"): void;
}

const NO_BODY: WholeBody = { chunks: [], trailers: undefined };

/** Keeps the request's body on its way, for copies of it. */
export class Tee implements BodyFilter {
  readonly #copies: Copies;
  readonly #chunks: Buffer[] = [];
  #whole: WholeBody | undefined;
  #open = false;
  #over = false;

  /** `ended`: the request is its head alone. */
  constructor(ended: boolean, copies: Copies) {
    this.#copies = copies;
    if (ended) this.#whole = NO_BODY;
  }

  /** The main exchange is on its way: the copies may follow. */
  open(): void {
    this.#open = true;
    this.#send();
  }

  request(next: RequestBodyReceiver): RequestBodyReceiver {
    return {
      data: (chunk) => {
        this.#heard(chunk);
        next.data(chunk);
      },
      end: (trailers) => {
        next.end(trailers);
        this.#whole = { chunks: this.#chunks, trailers };
        this.#send();
      },
      abort: (error) => {
        next.abort(error);
        this.#brokenOff();
      },
      drained: () => next.drained(),
      refused: (error) => {
        next.refused(error);
        this.#brokenOff();
      },
    };
  }

  response(next: ResponseBody): ResponseBody {
    return {
      write: (chunk) => next.write(chunk),
      end: (trailers) => next.end(trailers),
      abort: (error) => {
        next.abort(error);
        this.#brokenOff();
      },
      retract: () => next.retract?.() ?? false,
    };
  }

  #brokenOff(): void {
    if (!this.#over && this.#whole === undefined) this.#drop("broken-off");
  }

  #heard(chunk: Buffer): void {
    if (this.#over) return;
    if (this.#copies.keep(chunk)) this.#chunks.push(chunk);
    else this.#drop("body");
  }

  #drop(reason: "body" | "broken-off"): void {
    this.#over = true;
    this.#chunks.length = 0;
    this.#copies.drop(reason);
  }

  #send(): void {
    if (!this.#open || this.#whole === undefined || this.#over) return;
    this.#over = true;
    this.#copies.send(this.#whole);
  }
}

/** A caller that is not there: it has a whole request, and throws every response away. */
export class Shadow implements ServerStream {
  readonly head: RequestHead;
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  readonly #body: WholeBody;
  readonly #onOver: () => void;
  #receiver: BodyReceiver | undefined;
  #over = false;

  constructor(
    head: RequestHead,
    connection: ServerConnectionInfo,
    body: WholeBody,
    onOver: () => void,
  ) {
    this.head = head;
    this.connection = connection;
    this.ended = body.chunks.length === 0 && body.trailers === undefined;
    this.#body = body;
    this.#onOver = onOver;
  }

  receive(receiver: BodyReceiver): void {
    this.#receiver = receiver;
    if (this.ended) return;
    for (const chunk of this.#body.chunks) receiver.data(chunk);
    receiver.end(this.#body.trailers);
  }

  /** Breaks the copy off. */
  stop(error: MeshError): void {
    if (this.#over) return;
    this.#receiver?.abort(error);
    this.#finish();
  }

  informational(): void {
    // Nobody waits for it.
  }

  respond(_head: ResponseHead, ended: boolean): void {
    if (ended) this.#finish();
  }

  write(): boolean {
    return true;
  }

  end(): void {
    this.#finish();
  }

  abort(): void {
    this.#finish();
  }

  pause(): void {
    // All of it is here.
  }

  resume(): void {
    // As above.
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#onOver();
  }
}
