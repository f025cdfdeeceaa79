/**
 * A caller's stream whose request waits for a verdict: what comes of its body is held, within what the stream's source may send unasked,
 * and that the caller goes away is heard. Afterwards it is to the relay a caller's stream as any other, with the fields that the checks gave it.
 *
 * ```
 *   caller ─▶ held: the first piece, or as much as a check has to see; then no more is read ─▶ receive(relay) ─▶ relay
 * ```
 */
import type { MeshError } from "../../mesh/errors.ts";
import {
  applyEdits,
  type HeaderEdits,
} from "../../policy/routing/header-edits.ts";
import type { Buffers } from "../../wire/buffers.ts";
import { ChunkQueue } from "../../wire/chunk-queue.ts";
import type {
  BodyReceiver,
  Notifier,
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../../wire/exchange.ts";
import { makeField, type Fields } from "../../wire/fields.ts";
import type { RequestBodyReceiver } from "../exchange/body-filter.ts";

/** Hears what happens while the request waits. */
export interface HeldObserver {
  /** More of the body is there, or its end. */
  arrived(): void;
  /** The caller went away. */
  gone(error: MeshError): void;
}

export class HeldStream implements ServerStream {
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  readonly notifier?: Notifier;
  readonly #stream: ServerStream;
  readonly #buffers: Buffers;
  readonly #body = new ChunkQueue();
  #head: RequestHead;
  #responseEdits: HeaderEdits[] = [];
  #observer: HeldObserver | undefined;
  #receiver: BodyReceiver | undefined;
  /** Bytes that are held, and up to which more is read. */
  #bytes = 0;
  #room = 1;
  #complete: boolean;
  #trailers: Fields | undefined;
  /** Which names only checks write: a trailer is never theirs. */
  #reserved: ((name: string) => boolean)[] = [];
  #failure: MeshError | undefined;
  /** The source's flow is stopped: by us, or by what the body goes to. */
  #paused = false;

  constructor(stream: ServerStream, buffers: Buffers) {
    this.#stream = stream;
    this.#buffers = buffers;
    this.#head = stream.head;
    this.ended = stream.ended;
    this.#complete = stream.ended;
    this.connection = stream.connection;
    if (stream.notifier !== undefined) this.notifier = stream.notifier;
  }

  get head(): RequestHead {
    return this.#head;
  }

  // ── while it waits ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** From now on what comes is held. */
  hold(observer: HeldObserver): void {
    this.#observer = observer;
    this.#stream.receive({
      data: (chunk) => this.#data(chunk),
      end: (trailers) => this.#end(trailers),
      abort: (error) => this.#abort(error),
      drained: () => this.#receiver?.drained(),
    });
  }

  /** Bytes of the body that are held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What is held is all of the body. */
  get complete(): boolean {
    return this.#complete;
  }

  get body(): readonly Buffer[] {
    return this.#body.chunks;
  }

  /** Reads on until more than `bytes` are held: the byte beyond tells that there are more. */
  readUpTo(bytes: number): void {
    this.#room = Math.max(this.#room, bytes + 1);
    if (this.#paused && this.#bytes < this.#room) this.resume();
  }

  /** Changes the request's fields, and its path where there is one, for all that comes after. */
  edit(edits: HeaderEdits, path: string = this.#head.path): void {
    const fields = applyEdits(this.#head.fields, edits, makeField);
    this.#head = { ...this.#head, path, fields };
  }

  /** Its caller's trailers of these names go no further: some applications read them as they read headers. */
  reserve(isReserved: (name: string) => boolean): void {
    this.#reserved.push(isReserved);
  }

  #unreserved(trailers: Fields | undefined): Fields | undefined {
    if (trailers === undefined || trailers.length === 0) return trailers;
    const left = trailers.filter(
      ({ name }) => !this.#reserved.some((isReserved) => isReserved(name)),
    );
    return left.length === 0 ? undefined : left;
  }

  /** Changes the fields of the response that the caller gets. */
  editResponse(edits: HeaderEdits): void {
    this.#responseEdits.push(edits);
  }

  #data(chunk: Buffer): void {
    if (this.#receiver !== undefined) {
      this.#receiver.data(chunk);
      return;
    }
    this.#body.push(chunk, this.#buffers.waste);
    this.#bytes += chunk.length;
    this.#buffers.change(chunk.length);
    if (this.#bytes >= this.#room) this.pause();
    this.#observer?.arrived();
  }

  #end(trailers: Fields | undefined): void {
    this.#complete = true;
    this.#trailers = trailers;
    if (this.#receiver === undefined) this.#observer?.arrived();
    else this.#receiver.end(this.#unreserved(trailers));
  }

  #abort(error: MeshError): void {
    this.#failure = error;
    if (this.#receiver !== undefined) {
      this.#receiver.abort(error);
      return;
    }
    this.#release();
    this.#observer?.gone(error);
  }

  #release(): readonly Buffer[] {
    this.#buffers.change(-this.#bytes);
    this.#bytes = 0;
    return this.#body.chunks.splice(0);
  }

  // ── afterwards ───────────────────────────────────────────────────────────────────────────────────────────────────────

  receive(receiver: BodyReceiver | RequestBodyReceiver): void {
    if (this.#observer === undefined) {
      this.#stream.receive(
        this.#reserved.length === 0 ? receiver : this.#bare(receiver),
      );
      return;
    }
    this.#observer = undefined;
    const stopped = this.#paused;
    this.#paused = false;
    this.#receiver = receiver;
    const held = this.#release();
    if (this.#failure !== undefined) {
      receiver.abort(this.#failure);
      return;
    }
    for (const chunk of held) receiver.data(chunk);
    if (this.#complete && !this.ended)
      receiver.end(this.#unreserved(this.#trailers));
    // It may have stopped the flow again meanwhile.
    if (stopped && !this.#isPaused()) this.#stream.resume();
  }

  #bare(receiver: BodyReceiver): BodyReceiver {
    return {
      data: (chunk) => receiver.data(chunk),
      end: (trailers) => receiver.end(this.#unreserved(trailers)),
      abort: (error) => receiver.abort(error),
      drained: () => receiver.drained(),
    };
  }

  #isPaused(): boolean {
    return this.#paused;
  }

  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#stream.resume();
  }

  informational(head: ResponseHead): void {
    this.#stream.informational(head);
  }

  respond(head: ResponseHead, ended: boolean): void {
    let { fields } = head;
    for (const edits of this.#responseEdits)
      fields = applyEdits(fields, edits, makeField);
    this.#stream.respond(
      fields === head.fields ? head : { ...head, fields },
      ended,
    );
  }

  write(chunk: Buffer): boolean {
    return this.#stream.write(chunk);
  }

  end(trailers?: Fields): void {
    this.#stream.end(trailers);
  }

  abort(error: MeshError): void {
    this.#stream.abort(error);
  }

  retract(): boolean {
    return this.#stream.retract?.() ?? false;
  }

  conclude(error: MeshError): boolean {
    return this.#stream.conclude?.(error) ?? false;
  }
}
