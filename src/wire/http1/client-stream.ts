/** One request on a client connection: the writing of its body, and what the connection must know of it. */
import { MeshError } from "../../mesh/errors.ts";
import type {
  ClientStream,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from "../exchange.ts";
import { joinedValue, type Fields } from "../fields.ts";
import type { BodyWriter } from "./write/body-writer.ts";
import type { Output } from "../socket-output.ts";
import { Http1Fault } from "./fault.ts";
import {
  ACCEPT,
  acceptOf,
  isDialogue,
  keyed,
  keyOf,
} from "../websocket/handshake.ts";

/** What a stream needs of the connection that carries it. */
export interface ClientCarrier {
  readonly output: Output;
  readonly writer: BodyWriter;
  /** The stream was paused or resumed. */
  flow(): void;
  /** The last byte of the request is in the output. */
  requestEnded(): void;
  /** The sender's half of a tunnel is through. */
  endTunnel(): void;
  /** Ends the connection; with an error, the receiver hears of it. */
  breakOff(error: MeshError | undefined): void;
}

export class Http1ClientStream implements ClientStream {
  /** As it is sent. */
  readonly head: RequestHead;
  /** The fields as they were given. */
  readonly #asked: Fields;
  /** A CONNECT, or a change of protocol. */
  readonly dialogue: boolean;
  readonly receiver: ResponseReceiver;
  readonly #carrier: ClientCarrier;
  /** What was written to a tunnel that is not open yet: after a refusal it would be read as the next request. */
  #early: Buffer[] | undefined;
  #over = false;
  paused = false;
  requestEnded: boolean;
  responseEnded = false;

  constructor(
    carrier: ClientCarrier,
    head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ) {
    this.#carrier = carrier;
    this.head = head.protocol === undefined ? head : keyed(head);
    this.#asked = head.fields;
    this.dialogue = isDialogue(head);
    this.receiver = receiver;
    this.requestEnded = ended && !this.dialogue;
    if (this.dialogue) this.#early = [];
  }

  write(chunk: Buffer): boolean {
    if (this.#over || this.requestEnded) return true;
    if (this.#early !== undefined) {
      this.#early.push(chunk);
      return false;
    }
    const { output, writer } = this.#carrier;
    try {
      writer.write(chunk);
    } catch (fault) {
      this.#defect(fault);
      return true;
    }
    output.later();
    return !output.full;
  }

  end(trailers?: Fields): void {
    if (this.#over || this.requestEnded) return;
    if (this.dialogue) {
      this.requestEnded = true;
      if (this.#early === undefined) this.#carrier.endTunnel();
      return;
    }
    try {
      this.#carrier.writer.end(trailers);
    } catch (fault) {
      this.#defect(fault);
      return;
    }
    this.requestEnded = true;
    this.#carrier.requestEnded();
  }

  abort(_error: MeshError): void {
    if (this.#over) return;
    this.#over = true;
    this.#carrier.breakOff(undefined);
  }

  pause(): void {
    if (this.paused || this.#over) return;
    this.paused = true;
    this.#carrier.flow();
  }

  resume(): void {
    if (!this.paused || this.#over) return;
    this.paused = false;
    this.#carrier.flow();
  }

  /** The peer took it: what waited goes out. Throws `Http1Fault` where the response is not to this request. */
  opened(head: ResponseHead): void {
    this.receiver.head(this.#answer(head), false);
    if (this.#over) return;
    const early = this.#early ?? [];
    this.#early = undefined;
    const { output, writer } = this.#carrier;
    for (const chunk of early) writer.write(chunk);
    output.flush();
    if (this.requestEnded) this.#carrier.endTunnel();
    else if (early.length > 0 && !output.full) this.receiver.drained();
  }

  /** RFC 6455 4.1: a 101 proves that it is to this very handshake. */
  #answer(head: ResponseHead): ResponseHead {
    const { protocol, fields } = this.head;
    if (protocol === undefined) return head;
    const key = keyOf(this.head) ?? "";
    if (joinedValue(head.fields, ACCEPT) !== acceptOf(key))
      throw new Http1Fault(
        "grammar",
        "a 101 whose Sec-WebSocket-Accept does not belong to the key",
      );
    // A caller that sent no key has no use for it.
    return fields === this.#asked
      ? head
      : {
          ...head,
          fields: head.fields.filter(({ name }) => name !== ACCEPT),
        };
  }

  /** The connection has room again. */
  drained(): void {
    if (!this.#over && !this.requestEnded) this.receiver.drained();
  }

  /** The connection says that the exchange is over: whatever is called from here on does nothing. */
  complete(): void {
    this.#over = true;
    this.#early = undefined;
  }

  #defect(fault: unknown): void {
    if (!(fault instanceof Http1Fault)) throw fault;
    this.#carrier.breakOff(
      new MeshError("INTERNAL", fault.message, {
        source: "proxy",
        cause: fault,
      }),
    );
  }
}
