/** One request of ours, and what is heard of its answer (RFC 9113 8.1, 8.7). */
import { MeshError } from "../../../mesh/errors.ts";
import type {
  ClientStream,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from "../../exchange.ts";
import type { Fields } from "../../fields.ts";
import { ErrorCode, errorName } from "../frames/frames.ts";
import { readResponseHead } from "../parse/response-head.ts";
import type { WireField } from "../hpack/names.ts";
import type { Http2Limit } from "../limits.ts";
import { opensDialogue, opensExtended } from "../../websocket/handshake.ts";
import { Stream, type Exchange, type StreamHost } from "./stream.ts";

/** What an exchange needs of the client whose connection it goes over. */
export interface ClientHost {
  readonly interimLimit: number;
  limited(limit: Http2Limit): void;
}

export class ClientExchange implements ClientStream, Exchange {
  readonly stream: Stream;
  readonly #host: StreamHost;
  readonly #client: ClientHost;
  readonly #head: RequestHead;
  #responses: ResponseReceiver | undefined;
  /** 1xx answers so far. */
  #interim = 0;

  constructor(
    host: StreamHost,
    client: ClientHost,
    id: number,
    now: number,
    head: RequestHead,
    receiver: ResponseReceiver,
  ) {
    this.#host = host;
    this.#client = client;
    this.#head = head;
    const stream = new Stream(host, id, now, this);
    this.stream = stream;
    stream.awaitsHead = true;
    stream.receiver = this.#responses = receiver;
  }

  write(chunk: Buffer): boolean {
    return this.stream.write(chunk);
  }

  end(trailers?: Fields): void {
    this.stream.end(trailers);
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  abort(_error: MeshError): void {
    const { stream } = this;
    if (stream.over) return;
    stream.receiver = this.#responses = undefined;
    this.#host.reset(stream, ErrorCode.CANCEL);
  }

  onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void {
    if (tooLarge) {
      this.#client.limited("header_list");
      this.#reject("the response's head is over the limit");
    } else if (this.stream.awaitsHead) this.#onHead(fields, ends);
    else if (!ends)
      this.#reject("a second field section without END_STREAM (8.1)");
    else this.#host.endWithTrailers(this.stream, fields);
  }

  #onHead(fields: readonly WireField[], ends: boolean): void {
    const head = readResponseHead(fields);
    if (typeof head === "string") {
      this.#reject(head);
      return;
    }
    const { status, contentLength } = head;
    if (status < 200) {
      this.#onInterim(head, ends);
      return;
    }
    const { stream } = this;
    const responses = this.#responses;
    stream.awaitsHead = false;
    // No content follows whatever content-length says (RFC 9110 6.4.1, 8.6).
    const { method, protocol } = this.#head;
    const switched = protocol !== undefined && opensExtended(head);
    if (method === "HEAD" || status === 204 || status === 304)
      stream.expected = switched ? -1 : 0;
    else if (method !== "CONNECT" && !switched)
      stream.expected = contentLength ?? -1;
    if (ends && stream.expected > 0) {
      this.#reject("content-length without content");
      return;
    }
    if (ends) stream.receivedEnd();
    const told = switched
      ? { ...head, status: 101, contentLength: undefined }
      : head;
    stream.tunnel = opensDialogue(this.#head, told.status);
    this.#guarded(() => responses?.head(told, ends));
    if (ends && !stream.over) stream.settle();
  }

  #onInterim(head: ResponseHead, ends: boolean): void {
    const responses = this.#responses;
    const { interimLimit } = this.#client;
    if (ends) this.#reject("an interim response with END_STREAM (8.1)");
    else if (++this.#interim > interimLimit) {
      this.#client.limited("informational");
      this.#reject(`more than ${interimLimit} interim responses`);
    } else this.#guarded(() => responses?.informational(head));
  }

  #guarded(tell: () => void): void {
    try {
      tell();
    } catch (thrown) {
      this.#host.failed(this.stream, thrown);
    }
  }

  #reject(detail: string): void {
    this.#host.malformed(this.stream, ErrorCode.PROTOCOL_ERROR, detail);
  }

  onEarlyData(): void {
    // There is a receiver, unless the exchange was broken off.
  }

  onEarlyEnd(): void {
    // As above.
  }

  onReset(code: number): void {
    const { stream } = this;
    // 8.1: a server may end a stream so when it has answered and does not want the rest of the request. In a
    // tunnel that rest is a direction of its own (8.5), and its sender must hear that it is cut off.
    if (
      stream.remoteEnded &&
      !stream.tunnel &&
      (code === ErrorCode.NO_ERROR || code === ErrorCode.CANCEL)
    )
      return;
    if (code === ErrorCode.REFUSED_STREAM && stream.awaitsHead)
      stream.deliverAbort(
        new MeshError("STREAM_REFUSED", "the peer refused the stream", {
          source: "upstream",
          unprocessed: true,
        }),
      );
    else
      stream.deliverAbort(
        new MeshError(
          code === ErrorCode.PROTOCOL_ERROR
            ? "UPSTREAM_PROTOCOL"
            : "UPSTREAM_RESET",
          `the peer reset the stream: ${errorName(code)}`,
          {
            source: "upstream",
            cancelled: code === ErrorCode.CANCEL && !stream.awaitsHead,
          },
        ),
      );
  }

  onMalformed(detail: string): void {
    this.stream.deliverAbort(
      new MeshError("UPSTREAM_PROTOCOL", detail, { source: "upstream" }),
    );
  }

  onLost(error: MeshError): void {
    this.stream.deliverAbort(error);
  }

  onDropped(): void {
    // Nothing is kept here.
  }
}

/** A stream that was never opened: its receiver hears of it, but not from within `request`. */
export function stillborn(
  receiver: ResponseReceiver,
  error: MeshError,
): ClientStream {
  let aborted = false;
  setImmediate(() => {
    if (!aborted) receiver.abort(error);
  });
  return {
    write: () => true,
    end: () => undefined,
    abort: () => (aborted = true),
    pause: () => undefined,
    resume: () => undefined,
  };
}
