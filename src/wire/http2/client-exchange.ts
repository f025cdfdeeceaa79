/** One request of ours, and what is heard of its answer (RFC 9113 8.1, 8.7). */
import { MeshError } from "../../mesh/errors.ts";
import type { ClientStream, ResponseReceiver } from "../exchange.ts";
import { ErrorCode, errorName } from "./frames/frames.ts";
import { readResponseHead } from "./heads.ts";
import type { WireField } from "./hpack/names.ts";
import type { Http2Limit } from "./limits.ts";
import { Stream, type StreamHost } from "./stream.ts";

/** What an exchange needs of its connection. */
export interface ClientHost extends StreamHost {
  readonly interimLimit: number;
  limited(limit: Http2Limit): void;
  malformed(stream: Stream, code: number, detail: string): void;
  endWithTrailers(stream: Stream, fields: readonly WireField[]): void;
}

export class ClientExchange extends Stream implements ClientStream {
  /** Where the request's HEADERS begin in all that the connection has written. */
  readonly position: number;
  private readonly client: ClientHost;
  private readonly method: string;
  private responses: ResponseReceiver | undefined;
  /** The final head has come. */
  responded = false;
  /** 1xx answers so far. */
  private interim = 0;

  constructor(
    client: ClientHost,
    id: number,
    now: number,
    method: string,
    receiver: ResponseReceiver,
  ) {
    super(client, id, now);
    this.client = client;
    this.method = method;
    this.receiver = this.responses = receiver;
    this.position = client.sender.output.position;
  }

  abort(_error: MeshError): void {
    if (this.over) return;
    this.receiver = this.responses = undefined;
    this.client.reset(this, ErrorCode.CANCEL);
  }

  onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void {
    if (tooLarge) {
      this.client.limited("header_list");
      this.reject("the response's head is over the limit");
    } else if (!this.responded) this.onHead(fields, ends);
    else if (!ends)
      this.reject("a second field section without END_STREAM (8.1)");
    else this.client.endWithTrailers(this, fields);
  }

  private onHead(fields: readonly WireField[], ends: boolean): void {
    const head = readResponseHead(fields);
    if (typeof head === "string") {
      this.reject(head);
      return;
    }
    const { status, contentLength } = head;
    const { responses } = this;
    if (status < 200) {
      if (ends) this.reject("an interim response with END_STREAM (8.1)");
      else if (++this.interim > this.client.interimLimit) {
        this.client.limited("informational");
        this.reject(`more than ${this.client.interimLimit} interim responses`);
      } else this.guarded(() => responses?.informational(head));
      return;
    }
    this.responded = true;
    // No content follows whatever content-length says (RFC 9110 6.4.1, 8.6).
    if (this.method === "HEAD" || status === 204 || status === 304)
      this.expected = 0;
    else if (this.method !== "CONNECT") this.expected = contentLength ?? -1;
    if (ends && this.expected > 0) {
      this.reject("content-length without content");
      return;
    }
    if (ends) this.receivedEnd();
    this.guarded(() => responses?.head(head, ends));
    if (ends && !this.over) this.settle();
  }

  private guarded(tell: () => void): void {
    try {
      tell();
    } catch (thrown) {
      this.client.failed(this, thrown);
    }
  }

  override onData(chunk: Buffer): string | undefined {
    if (!this.responded) return "content before the response's head (8.1)";
    return super.onData(chunk);
  }

  private reject(detail: string): void {
    this.client.malformed(this, ErrorCode.PROTOCOL_ERROR, detail);
  }

  onReset(code: number): void {
    // 8.1: a server may end a stream so when it has answered and does not want the rest of the request.
    if (
      this.remoteEnded &&
      (code === ErrorCode.NO_ERROR || code === ErrorCode.CANCEL)
    )
      return;
    if (code === ErrorCode.REFUSED_STREAM && !this.responded)
      this.deliverAbort(
        new MeshError("STREAM_REFUSED", "the peer refused the stream", {
          source: "upstream",
          unprocessed: true,
        }),
      );
    else
      this.deliverAbort(
        new MeshError(
          code === ErrorCode.PROTOCOL_ERROR
            ? "UPSTREAM_PROTOCOL"
            : "UPSTREAM_RESET",
          `the peer reset the stream: ${errorName(code)}`,
          { source: "upstream" },
        ),
      );
  }

  onMalformed(detail: string): void {
    this.deliverAbort(
      new MeshError("UPSTREAM_PROTOCOL", detail, { source: "upstream" }),
    );
  }
}

/** A stream that was never opened: its receiver is told, but not from within `request`. */
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
    abort: () => void (aborted = true),
    pause: () => undefined,
    resume: () => undefined,
  };
}
