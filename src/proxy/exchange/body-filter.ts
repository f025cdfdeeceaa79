/**
 * A policy that acts on the bodies of one exchange: it stands between the caller's stream and the relay, in both directions.
 *
 * ```
 *   caller ─▶ request(relay)  ─▶ relay          data, end, abort, drained
 *   caller ◀─ response(caller) ◀─ relay         write, end, abort
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

/** The part of a stream that the response's body goes through. */
export type ResponseBody = Pick<
  ServerStream,
  "write" | "end" | "abort" | "retract"
>;

/** The relay's side of a request's body, or a filter before it. */
export interface RequestBodyReceiver extends BodyReceiver {
  /** A filter refuses what comes; its caller is still there to be told. Once, in place of `end`. */
  refused(error: MeshError): void;
}

/** Each side is absent where the filter leaves it alone. */
export interface BodyFilter {
  /** What takes the request's body in place of `next`. It may refuse it by `next.refused`, once, and then passes nothing on. */
  request?(next: RequestBodyReceiver): RequestBodyReceiver;
  /** What takes the response's body in place of `next`. `write` keeps the promise of any sink: after false comes `drained`. */
  response?(next: ResponseBody): ResponseBody;
}

/** The stream with the filter before it; to the relay it is a caller's stream as any other. */
export class FilteredStream implements ServerStream {
  readonly head: RequestHead;
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  readonly #stream: ServerStream;
  readonly #filter: BodyFilter;
  readonly #response: ResponseBody;

  constructor(stream: ServerStream, filter: BodyFilter) {
    this.head = stream.head;
    this.ended = stream.ended;
    this.connection = stream.connection;
    this.#stream = stream;
    this.#filter = filter;
    this.#response = filter.response?.(stream) ?? stream;
  }

  /** `receiver`: the relay, or a filter before it. */
  receive(receiver: RequestBodyReceiver): void {
    this.#stream.receive(this.#filter.request?.(receiver) ?? receiver);
  }

  informational(head: ResponseHead): void {
    this.#stream.informational(head);
  }

  respond(head: ResponseHead, ended: boolean): void {
    this.#stream.respond(head, ended);
  }

  write(chunk: Buffer): boolean {
    return this.#response.write(chunk);
  }

  end(trailers?: Fields): void {
    this.#response.end(trailers);
  }

  abort(error: MeshError): void {
    this.#response.abort(error);
  }

  /** False where the filter has no way back: it may hold a part of the response. */
  retract(): boolean {
    return this.#response.retract?.() ?? false;
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }
}
